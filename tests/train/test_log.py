"""The log of a run: how long its end may take."""

from pathlib import Path
from typing import Any

import pytest

from faal.train.log import Log


def test_tensorboard_holds_up_no_interrupted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an interrupt loses the wake-up of its thread, closing it waits for the next flush, by default 120 s."""
    board = pytest.importorskip("torch.utils.tensorboard")
    given: dict[str, Any] = {}

    class Writer:
        def __init__(self, folder: str, **settings: Any) -> None:
            given.update(settings)

        def close(self) -> None: ...

    monkeypatch.setattr(board, "SummaryWriter", Writer)
    with Log(tmp_path, every=1, title="run", steps=1, done=0, position=0, quiet=True):
        pass
    assert given["flush_secs"] <= 5
