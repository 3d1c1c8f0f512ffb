"""What an audit rejects and warns of, from the caller's side."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from faal.audit.run import audit
from faal.errors import InputError

QUICK: dict[str, Any] = {"attacks": "pgd5,cw5", "epsilon": 0.15, "block_size": 16}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 8}, r"did you mean 8/255\?"),
        ({"norm": "l1"}, "no norm .l1."),
        ({"attacks": "pgd20,autoatack"}, "did you mean 'autoattack'"),
        ({"engine": "fats"}, "no audit engine 'fats'"),
        ({"limit": 0}, "limit is a whole number, at least 1, not 0"),
        ({"classes": ["a", "b", "c", "d"]}, r"sample 4 has the label 4, out of range: the 4 classes are 0 to 3"),
        ({"classes": ["a", "b", "c", "d", "e", "f"]}, "5 outputs but there are 6 classes"),
        ({"classes": ["a", "b", "c", "b", "e"]}, "classes names 'b' twice"),
        ({"epsilon": "eight"}, "epsilon is a number .*, such as 8/255, not 'eight'"),
        ({"epsilon": "8"}, r"did you mean 8/255\?"),
        ({"trained": {"eps": 8 / 255}}, "no entry of trained 'eps'; did you mean 'epsilon'"),
    ],
)
def test_wrong_settings_are_refused(problem, change: dict[str, Any], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        audit(problem.net, problem.images, problem.labels, **{**QUICK, **change})


def test_wrong_data_are_refused_and_nothing_is_written(problem, tmp_path) -> None:  # type: ignore[no-untyped-def]
    net, images, labels = problem.net, problem.images, problem.labels

    def refused(message: str, net: nn.Module, images: Any, labels: Any) -> None:
        with pytest.raises(InputError, match=message):
            audit(net, images, labels, **QUICK, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    refused("image 20 has values from", net, images + (torch.arange(60) == 20).view(60, 1, 1, 1), labels)
    refused("divide by 255", net, images * 255, labels)
    for wrong in (torch.nan, torch.inf):
        spoilt = torch.where((torch.arange(60) == 33).view(60, 1, 1, 1), wrong, images)
        refused("image 33 has values that are NaN or infinite", net, spoilt, labels)
    loader = DataLoader(TensorDataset(images, labels), batch_size=10)
    refused(r"images is a DataLoader; .* images, labels = map\(torch.cat, zip\(\*loader\)\)", net, loader, labels)
    frozen = torch.jit.freeze(torch.jit.script(net))
    refused("frozen ScriptModule", frozen, images, labels)
    refused("60 images and 59 labels", net, images, labels[:-1])
    refused("label 7, out of range", net, images, torch.where(torch.arange(60) == 50, 7, labels))
    refused("must be integers", net, images, labels.float())
    refused(r"\(N, channels, H, W\)", net, images[:, 0], labels)
    refused("does not accept images of shape", net, images[:, :, :3], labels)
    broken = nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
    nn.init.constant_(broken[1].weight, torch.nan)  # type: ignore[arg-type]
    refused("NaN or infinite", broken, images, labels)


def test_training_images_that_are_no_images_are_refused_before_the_work(problem) -> None:  # type: ignore[no-untyped-def]
    loader = DataLoader(TensorDataset(problem.images, problem.labels), batch_size=10)
    begun: list[str] = []
    with pytest.raises(InputError, match="train_images is a DataLoader"):
        audit(
            problem.net,
            problem.images,
            problem.labels,
            **QUICK,
            train_images=loader,
            progress=lambda attack, done, total: begun.append(attack),
        )
    assert begun == []


def test_the_arrays_made_of_a_loader_as_its_message_advises_are_audited(problem) -> None:  # type: ignore[no-untyped-def]
    loader = DataLoader(TensorDataset(problem.images, problem.labels), batch_size=7)
    images, labels = map(torch.cat, zip(*loader, strict=True))
    expected = audit(problem.net, problem.images, problem.labels, **QUICK)
    assert audit(problem.net, images, labels, **QUICK).attacks["all"].classes == expected.attacks["all"].classes


def test_epsilon_may_be_text(problem) -> None:  # type: ignore[no-untyped-def]
    settings = {"attacks": "pgd2", "trained": {"epsilon": "2/255", "norm": "linf"}}
    result = audit(problem.net, problem.images, problem.labels, epsilon="40/255", **settings)
    assert result.threat == {"norm": "linf", "epsilon": 40 / 255}
    assert any("trained at epsilon 2/255 and audited at" in warning for warning in result.warnings)


@pytest.mark.parametrize("made", [torch.jit.script, lambda net: torch.jit.trace(net, torch.zeros(2, 1, 4, 4))])
def test_a_script_module_has_the_verdicts_of_its_network(problem, made) -> None:  # type: ignore[no-untyped-def]
    net = made(problem.net)
    net.train()
    result = audit(net, problem.images, problem.labels, **QUICK)
    expected = audit(problem.net, problem.images, problem.labels, **QUICK)
    assert {name: found.classes for name, found in result.attacks.items()} == {
        name: found.classes for name, found in expected.attacks.items()
    }
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_signs_of_misuse_are_warned_of(problem) -> None:  # type: ignore[no-untyped-def]
    soft = nn.Sequential(problem.net, nn.Softmax(dim=1)).eval()
    warnings = audit(soft, problem.images, problem.labels, attacks="clean").warnings
    assert [warning[:20] for warning in warnings] == ["The model's outputs ", "5 classes have fewer"]
    strange = nn.Sequential(nn.Flatten(), nn.Linear(16, 5)).eval()
    nn.init.zeros_(strange[1].weight)  # type: ignore[arg-type]
    assert any("near chance" in warning for warning in audit(strange, problem.images, problem.labels).warnings)


def test_below_four_classes_the_smaller_ensemble_is_named(problem_of) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(2, 8)
    result = audit(problem.net, problem.images, problem.labels, attacks="autoattack", epsilon=0.9)
    assert any("apgd-ce, fab, square" in warning for warning in result.warnings)
    assert result.attacks["autoattack"].average.value == 0
