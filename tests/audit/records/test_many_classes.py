"""Thousands of classes: figures, record, comparison and page without an array of classes by classes."""

import json
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from faal import confusion
from faal.audit.comparison.compare import compare
from faal.audit.estimates import attack_results
from faal.audit.misuse.class_order import class_order
from faal.audit.records.result import AuditResult
from faal.audit.records.verdicts import Verdicts, with_all
from faal.audit.terminal import comparison_table, table
from faal.report import write_report

CLASSES = 3000
DENSE = 4 * CLASSES**2
"""Bytes of an array of classes by classes in half the usual precision."""


def result_of(classes: int, samples: int, seed: int = 0) -> AuditResult:
    draw = np.random.default_rng(seed)
    label = np.arange(samples) % classes

    def predicted(accuracy: float) -> np.ndarray:
        right = draw.random(samples) < accuracy
        return np.where(right, label, draw.integers(0, classes, samples)).astype(np.int16)

    names = [f"class {c}" for c in range(classes)]
    verdicts = Verdicts(
        label=label,
        index=np.arange(samples),
        predicted=with_all(label, {"clean": predicted(0.8), "pgd20": predicted(0.4)}),
    )
    numbering = class_order(verdicts.predicted["clean"], label, names, seed=0)
    return AuditResult(
        model={"name": f"net {seed}", "weights": str(seed)},
        data={"name": "drawn", "split": "test", "n": samples, "classes": names},
        threat={"norm": "linf", "epsilon": 0.1},
        seed=0, engine="reference", block_size=250, level=0.95, interval_method="exact", warnings=(), environment={},
        attacks=attack_results(
            verdicts, {"clean": {}, "pgd20": {}}, {"clean": 1.0, "pgd20": 1.0}, classes=names, level=0.95
        ),
        probes={"numbering": numbering.values},
        verdicts=verdicts,
        examples=None,
    )  # fmt: skip


def plain_table(content: object) -> str:
    console = Console(width=200, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    console.print(content)
    return console.export_text()


@contextmanager
def peak_below(limit: int) -> Iterator[None]:
    """Assert that what is allocated within never exceeds `limit` bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def test_the_limit_holds_no_dense_array() -> None:
    with pytest.raises(AssertionError), peak_below(DENSE):
        np.ones((CLASSES, CLASSES), np.float32)


@pytest.mark.medium
def test_no_array_of_classes_by_classes_is_made(tmp_path: Path) -> None:
    with peak_below(DENSE):
        result_of(CLASSES, CLASSES).write(tmp_path)
        assert plain_table(table(AuditResult.read(tmp_path)))
    assert (tmp_path / "audit.json").stat().st_size < 2_000_000


@pytest.mark.medium
def test_nor_by_a_comparison() -> None:
    results = [result_of(CLASSES, CLASSES, seed) for seed in range(2)]
    with peak_below(DENSE):
        assert plain_table(comparison_table(compare("a", results[:1], "b", results[1:])))


@pytest.mark.slow
def test_nor_by_the_page(tmp_path: Path) -> None:
    result_of(CLASSES, CLASSES).write(tmp_path)
    with peak_below(DENSE):
        page = write_report([tmp_path])
    assert page.stat().st_size < 3_000_000


@pytest.mark.medium
@pytest.mark.parametrize("classes", [30, 250])
def test_both_forms_of_the_record_have_the_same_figures(
    classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result, the terminal's table and the page, of a file with all counts and of one without its zeros."""
    found = []
    for name, many in (("all", classes + 1), ("not-zero", classes)):
        monkeypatch.setattr(confusion, "MANY", many)
        result_of(classes, 2 * classes).write(tmp_path / name)
        result = AuditResult.read(tmp_path / name)
        page = write_report([tmp_path / name], names=["net"]).read_text()
        found.append((result.attacks, plain_table(table(result)), page))
    assert found[0] == found[1]
    schemas = [json.loads((tmp_path / name / "audit.json").read_text())["schema"] for name in ("all", "not-zero")]
    assert schemas == ["faal-audit/1", "faal-audit/2"]
