"""How many processors a process may use."""

import os
from pathlib import Path

import pytest

from faal.engine.processors import usable_processors


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to processors")
def test_those_that_the_process_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_processors() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("quota", "count"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("9900000 100000", 8), ("", 8)],
)
def test_a_containers_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("faal.engine.processors.QUOTA", tmp_path / "cpu.max")
    assert usable_processors() == 8
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_processors() == count
