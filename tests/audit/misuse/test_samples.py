import numpy as np
import pytest
import torch
from tests.helpers.subjects import subject_of

from faal.audit.blocks import Subject
from faal.audit.misuse.samples import draw


@pytest.fixture
def subject() -> Subject:
    images = torch.arange(40.0).view(40, 1, 1, 1) / 40
    return subject_of(torch.nn.Flatten(), images, torch.arange(20) % 4, index=torch.arange(20) * 2)


def test_samples_are_drawn_in_order_with_the_seed_from_those_allowed(subject: Subject) -> None:
    allowed = np.arange(20) % 2 == 0
    samples = draw(subject, allowed, 6)
    assert len(samples) == 6
    assert samples.rows.tolist() == sorted(set(samples.rows.tolist()))
    assert allowed[samples.rows.numpy()].all()
    assert torch.equal(samples.images.flatten(), samples.rows * 2 / 40)
    assert torch.equal(samples.labels, subject.labels[samples.rows])
    assert torch.equal(draw(subject, allowed, 6).rows, samples.rows)
    assert len(draw(subject, allowed, 100)) == 10


def test_a_part_of_them(subject: Subject) -> None:
    samples = draw(subject, np.ones(20, dtype=bool), 20)
    mask = samples.labels == 3
    for part in (samples[mask], samples[3::4]):
        assert part.rows.tolist() == [3, 7, 11, 15, 19]
        assert part.labels.tolist() == [3] * 5
        assert torch.equal(part.images.flatten(), part.rows * 2 / 40)
