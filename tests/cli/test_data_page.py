"""docs/data.md: its files are written and its commands run as they stand there."""

import re
import shlex
from pathlib import Path

import torch

from tests.cli.conftest import Faal

PAGE = Path(__file__).parents[2] / "docs" / "data.md"

MYMODELS = """
from torch import nn

def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, num_classes))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_pages_data_is_audited(work: Path, faal: Faal) -> None:
    arrays, function = blocks("python")
    exec(arrays, {})
    (work / "mydata.py").write_text(function)
    (work / "mymodels.py").write_text(MYMODELS)
    generator = torch.Generator().manual_seed(0)
    weights = {"1.weight": torch.randn(3, 768, generator=generator) / 20, "1.bias": torch.zeros(3)}
    torch.save(weights, work / "model.pth")
    commands = [shlex.split(block)[1:] for block in blocks("sh")]
    assert len(commands) == 2
    for place, command in enumerate(commands):
        said = faal(*command, "--attacks", "clean", "--out", f"out{place}")
        assert said.status == 0, said.err
        assert (work / f"out{place}" / "report.html").exists()
        assert "elk" in said.out


def test_the_page_is_linked() -> None:
    assert "docs/data.md" in (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
