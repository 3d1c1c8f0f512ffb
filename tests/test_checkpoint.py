"""Checkpoints: written atomically, read without running code, and the last readable one is found."""

import hashlib
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from torch import nn

from faal import checkpoint
from faal.errors import InputError

STATE: dict[str, Any] = {
    "classes": ["cat", "dog"],
    "weights": {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(7)},
    "recipe": {"beta": 6.0, "width": None, "flip": True, "lr": {"0": 0.1}},
    "training": {"generator": torch.get_rng_state(), "state": (1, 2.5, "x")},
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "last.pt"
    checkpoint.save(path, STATE)
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_loaded_as_saved(saved: Path) -> None:
    state = checkpoint.load(saved)
    assert state.pop("format") == checkpoint.FORMAT
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state["weights"][name], tensor) for name, tensor in STATE["weights"].items())
    assert torch.equal(state["training"].pop("generator"), STATE["training"]["generator"])
    assert state["training"] == {"state": (1, 2.5, "x")}
    assert (state["classes"], state["recipe"]) == (STATE["classes"], STATE["recipe"])
    assert files(saved.parent) == ["last.pt"]


@pytest.mark.medium
def test_networks_and_optimisers_fit_in(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "a.pt", {"net": net.state_dict(), "optimizer": optimizer.state_dict()})
    state = checkpoint.load(tmp_path / "a.pt")
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])


class TestWriting:
    @pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("write failed"), KeyboardInterrupt()])
    def test_a_crash_in_between_preserves_the_old_file(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        before = saved.read_bytes()

        def half(state: object, file: IO[bytes]) -> None:
            file.write(b"half of a checkpoint")
            raise error

        monkeypatch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else InputError):
            checkpoint.save(saved, {"weights": {}})
        assert saved.read_bytes() == before
        assert files(saved.parent) == ["last.pt"]

    def test_a_full_disk(self, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(file: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"last\.pt cannot be written .*No space left"):
            checkpoint.save(saved, STATE)
        assert files(saved.parent) == ["last.pt"]
        assert checkpoint.load(saved)["classes"] == ["cat", "dog"]

    def test_the_old_file_remains_until_the_new_one_is_on_the_disk(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []
        sync, put = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", lambda file: (order.append("on disk"), sync(file)))
        monkeypatch.setattr(os, "replace", lambda a, b: (order.append("in place"), put(a, b)))
        checkpoint.save(saved, STATE)
        checkpoint.write_atomically(saved.parent / "a.json", b"{}")
        assert order == ["on disk", "in place"] * 2
        assert (saved.parent / "a.json").read_bytes() == b"{}"

    @pytest.mark.parametrize(
        "write", [lambda path: checkpoint.save(path, STATE), lambda path: checkpoint.write_atomically(path, b"x")]
    )
    def test_an_unwritable_folder(self, tmp_path: Path, write: Callable[[Path], None]) -> None:
        """Below a regular file nobody can write, not even root."""
        (tmp_path / "file").write_text("a file")
        with pytest.raises(InputError, match=r"cannot be written .*--out") as caught:
            write(tmp_path / "file" / "run" / "last.pt")
        assert "\n" not in str(caught.value)
        assert (tmp_path / "file").read_text() == "a file"

    @pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
    def test_a_new_file_overwrites_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
        def missing(*_: object) -> None:
            raise OSError(95, "Operation not supported")

        if not links:
            monkeypatch.setattr(os, "link", missing)
        path = tmp_path / "weights.pth"
        checkpoint.write_atomically(path, b"first", new=True)
        with pytest.raises(InputError, match=r"weights\.pth exists and is not overwritten; name another file"):
            checkpoint.write_atomically(path, b"second", new=True)
        assert path.read_bytes() == b"first"
        assert files(tmp_path) == ["weights.pth"]


class _Trap:
    """Runs a command while it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


class TestReading:
    @pytest.mark.parametrize("write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
    def test_code_is_refused_and_does_not_run(self, tmp_path: Path, write: Callable[[object, Path], object]) -> None:
        state = {"format": checkpoint.FORMAT, "weights": _Trap(f"touch {tmp_path / 'trapped'}")}
        path = tmp_path / "last.pt"
        write(state, path)
        with pytest.raises(InputError, match="was not loaded") as caught:
            checkpoint.load(path)
        assert "\n" not in str(caught.value)
        assert files(tmp_path) == ["last.pt"]
        # The trap works: an unsafe reader runs it.
        pickle.loads(pickle.dumps(state))
        assert files(tmp_path) == ["last.pt", "trapped"]

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.pt"):
            checkpoint.load(tmp_path / "none.pt")
        with pytest.raises(InputError, match=r"checkpoint"):
            checkpoint.load(tmp_path)

    @pytest.mark.parametrize("content", [{"w": torch.ones(2)}, [torch.ones(2)], torch.ones(2), {"format": "other/1"}])
    def test_a_file_of_another_program(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "foreign.pt")
        with pytest.raises(InputError, match=r"foreign\.pt is not a checkpoint.*--model"):
            checkpoint.load(tmp_path / "foreign.pt")

    def test_damage_anywhere_is_a_sentence(self, saved: Path) -> None:
        """Cut at a hundred places and with bytes changed at random: it loads, or is rejected in one sentence."""
        intact, rng = saved.read_bytes(), random.Random(0)
        damaged = [intact[: len(intact) * k // 100] for k in range(100)]
        for _ in range(200):
            changed = bytearray(intact)
            for _ in range(rng.randint(1, 4)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            damaged.append(bytes(changed))
        messages = [self.refusal(saved, content) for content in damaged]
        assert all(sentence is None or ("\n" not in sentence and str(saved) in sentence) for sentence in messages)
        assert all(messages[:100])

    def refusal(self, path: Path, content: bytes) -> str | None:
        """The message for a file with this content; None where it loads."""
        path.write_bytes(content)
        try:
            checkpoint.load(path)
        except InputError as error:
            return str(error)
        return None


def test_digest(saved: Path) -> None:
    assert checkpoint.digest(saved) == hashlib.sha256(saved.read_bytes()).hexdigest()
