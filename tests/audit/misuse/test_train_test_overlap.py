from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.helpers.subjects import subject_of

from faal.audit.blocks import Subject, clean_blocks
from faal.audit.misuse import train_test_overlap as module
from faal.audit.misuse.train_test_overlap import duplicates, train_test_overlap
from faal.data.images import InMemory
from faal.engine import processes
from faal.errors import InputError

CLASSES = ["ant", "bee", "cat"]


def pixels(count: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=draw)


def audited(images: torch.Tensor) -> Subject:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    return subject_of(net, images, torch.arange(len(images)) % 3, block_size=8)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)


def test_leaked_images_are_counted_by_class_whatever_their_storage_type() -> None:
    test = pixels(30, 0)
    subject = audited(test)
    train = torch.cat([pixels(20, 1), test[[4, 7, 11]], pixels(20, 2), test[[4]]])
    calls: list[tuple[str, int, int]] = []
    for stored in (train, train.float() / 255, (train.double() / 255).float()):
        found = train_test_overlap(subject, InMemory(stored), CLASSES, progress=lambda *call: calls.append(call))
        assert found.values["leaked"] == 3
        assert found.values["per_class"] == [0, 2, 1]
        assert found.warning is not None
        assert "3 of 30 test images" in found.warning
        assert "bee (2), cat (1); the first is number 4" in found.warning
    assert calls[:7] == [("leakage", done, 7) for done in range(1, 8)]


def test_only_the_audited_images_count_by_their_places_in_the_data() -> None:
    test = pixels(30, 0)
    part = replace(audited(test), labels=torch.tensor([1, 2]), index=torch.tensor([4, 29]))
    found = train_test_overlap(part, InMemory(test[[4, 5, 6]]), CLASSES)
    assert (found.values["leaked"], found.values["first"]) == (1, [4])


def test_images_that_differ_in_one_level_do_not_match() -> None:
    test = pixels(30, 0)
    near = test.clone()
    near[:, 0, 0, 0] ^= 1
    found = train_test_overlap(audited(test), InMemory(near), CLASSES)
    assert (found.values["leaked"], found.warning) == (0, None)


def test_a_repeated_test_image_that_leaks_counts_as_often() -> None:
    test = pixels(10, 0)[[0, 1, 2, 1, 1]]
    assert train_test_overlap(audited(test), InMemory(pixels(10, 0)[[1]]), CLASSES).values["leaked"] == 3


def test_training_images_outside_the_range_are_refused() -> None:
    wrong = pixels(10, 1).float() / 255
    wrong[8, 0, 0, 0] = -2
    with pytest.raises(InputError, match="training images: image 8"):
        train_test_overlap(audited(pixels(10, 0)), InMemory(wrong), CLASSES)


def test_processes_share_the_training_images_and_join_their_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    test = pixels(30, 0)
    subject, train = audited(test), InMemory(torch.cat([pixels(20, 1), test[3:9]]))
    full = train_test_overlap(subject, train, CLASSES).values
    sent: list[Any] = []
    for rank in range(3):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(processes, "world_size", lambda: 3)
        monkeypatch.setattr(processes, "gather_objects", lambda own: sent.append(own) or [own])
        train_test_overlap(subject, train, CLASSES)
    assert sum(map(len, sent)) == full["leaked"] == 6
    monkeypatch.setattr(processes, "gather_objects", lambda own: sent)
    assert train_test_overlap(subject, train, CLASSES).values == full


@pytest.mark.parametrize(("extra", "warned"), [(0, False), (1, False), (4, True)])
def test_repetitions_among_the_test_images(extra: int, warned: bool) -> None:
    test = pixels(100, 0)
    found = duplicates(clean_blocks(audited(torch.cat([test, test[:extra]]))))
    assert found.values == {"samples": 100 + extra, "repeated": extra}
    assert (found.warning is not None) == warned
