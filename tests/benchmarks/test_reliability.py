"""The bench of reliability notices what it is made to notice, and its short form runs to its end."""

import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.benches import script

ROOT = Path(__file__).parents[2]
TRACEBACK = "Traceback (most recent call last):\n  File ...\nKeyError: 3\n"


class TestCommands:
    @pytest.fixture
    def ended(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
        """The outcome of a program that prints some errors and ends with a status, or by an exception."""
        commands = script("commands")

        def outcome(errors: str, end: object) -> Any:
            def main() -> None:
                sys.stderr.write(errors)
                raise end if isinstance(end, Exception) else SystemExit(end)

            monkeypatch.setattr(commands, "main", main)
            return commands.command(tmp_path, "audit")

        return outcome

    @pytest.mark.parametrize("status", [0, 1, 2])
    def test_a_traceback_is_a_failure(self, ended: Any, status: int) -> None:
        assert not ended(TRACEBACK, status).in_words

    def test_another_status_an_exception_and_silence_are_failures(self, ended: Any) -> None:
        assert not ended("faal: a sentence\n", 1).in_words
        assert not ended("", KeyError("x")).in_words
        assert not ended("", 2).in_words

    def test_success_and_a_sentence_are_none(self, ended: Any) -> None:
        assert ended("", 0).in_words
        assert ended("faal: a sentence\n", 2).in_words

    def test_a_call_that_raises_anything_but_a_sentence_or_hangs_is_a_failure(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commands = script("commands")

        def raised() -> None:
            raise TypeError("unhashable")

        assert not commands.call(raised).in_words
        assert commands.call(lambda: None).in_words
        monkeypatch.setattr(commands, "PATIENCE", 1)
        assert "HangingError" in commands.call(lambda: signal.pause()).message


def test_fuzz_counts_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fuzz, outcome = script("fuzz"), script("commands").Outcome
    for name in ("_recipe", "_words", "_arrays", "_arguments"):
        monkeypatch.setattr(fuzz, name, lambda rng, work: ("a case", outcome(2, "a sentence")))
    monkeypatch.setattr(fuzz, "_solver", lambda rng, work: ("a case", outcome(-1, "KeyError: 3")))
    found = fuzz.measure(None, tmp_path, 10, 1)
    assert (found["cases"], found["failures"]) == (10, 2)
    assert found["rows of failures"][0]["message"] == "KeyError: 3"


def test_of_two_writers_exactly_one_is_refused_in_a_sentence() -> None:
    judged = script("writers").judged
    sentence = "faal: out is being written by `faal train` (process 3); wait for it"
    assert judged([0, 2], ["", f"a note\n{sentence}\n"]) == (True, sentence)
    assert judged([2, 0], [sentence, ""])[0]
    assert not judged([0, 0], ["", ""])[0]
    assert not judged([2, 2], [sentence, sentence])[0]
    assert not judged([0, 2], ["", ""])[0]
    assert not judged([0, 2], ["", "faal: there is no file toy.npz"])[0]
    assert not judged([0, 2], [TRACEBACK, sentence])[0]
    assert not judged([0, 1], ["", sentence])[0]


class TestKills:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        torch.save({"weights": {"a": torch.arange(3.0)}, "epoch": 1}, tmp_path / "best.pt")
        (tmp_path / "metrics.jsonl").write_text('{"event": "batch", "loss": 0.5, "seconds": 1}\n')
        np.savez(tmp_path / "verdicts.npz", label=np.arange(4))
        (tmp_path / "audit.json").write_text('{"threat": {}, "attacks": {}}')
        return tmp_path

    def test_equal_endings(self, run: Path) -> None:
        kills = script("kills")
        before = kills.facts(run)
        (run / "metrics.jsonl").write_text('{"event": "batch", "loss": 0.5, "seconds": 2}\n')
        (run / "tensorboard").mkdir()
        (run / "tensorboard" / "events.1").touch()
        assert kills.differing(before, kills.facts(run)) == []

    @pytest.mark.parametrize("what", ["a weight", "a doubled line", "a verdict", "a file left over", "a lost file"])
    def test_unequal_endings(self, run: Path, what: str) -> None:
        kills = script("kills")
        before = kills.facts(run)
        if what == "a weight":
            torch.save({"weights": {"a": torch.tensor([0.0, 1.0, 2.0000002])}, "epoch": 1}, run / "best.pt")
        elif what == "a doubled line":
            (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text() * 2)
        elif what == "a verdict":
            np.savez(run / "verdicts.npz", label=np.array([0, 1, 2, 2]))
        elif what == "a file left over":
            (run / "best.pt.1234.tmp").touch()
        else:
            (run / "metrics.jsonl").unlink()
        assert kills.differing(before, kills.facts(run))

    @pytest.fixture
    def parent(self) -> Iterator["subprocess.Popen[bytes]"]:
        """A process with a child that does not end with it."""
        child = "import time; time.sleep(60)"
        code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '{child}']).pid, flush=True); "
        parent = subprocess.Popen([sys.executable, "-c", code + child], stdout=subprocess.PIPE)
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        yield parent
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        parent.stdout.close()

    def test_a_worker_that_goes_on_is_counted(
        self, parent: "subprocess.Popen[bytes]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kills = script("kills")
        monkeypatch.setattr(kills, "WORKERS_END", 0.2)
        assert kills._killed(parent, tmp_path, 0, 0.0) == (0, 1)
        assert parent.returncode == -signal.SIGKILL

    def test_a_process_that_ended_before_is_no_kill(self, tmp_path: Path) -> None:
        done = subprocess.Popen([sys.executable, "-c", ""])
        done.wait()
        assert script("kills")._killed(done, tmp_path, 1, 0.0) == (None, 0)


class TestFlips:
    def test_one_bit(self, tmp_path: Path) -> None:
        content = bytes(range(200))
        (tmp_path / "file").write_bytes(content)
        place = script("flips").flip(tmp_path / "file", random.Random(3))
        found = (tmp_path / "file").read_bytes()
        assert [at for at in range(200) if found[at] != content[at]] == [place]
        assert (found[place] ^ content[place]).bit_count() == 1

    def test_effects(self) -> None:
        effect, outcome = script("flips").effect, script("commands").Outcome
        assert effect(outcome(2, "faal: damaged"), None, "a")[0] == "rejected"
        assert effect(outcome(0, ""), "a", "a")[0] == "same"
        assert effect(outcome(0, "a note"), "b", "a")[0] == "changed"
        assert effect(outcome(1, "Traceback: KeyError"), "a", "a")[0] == "changed"
        assert effect(outcome(2, ""), "a", "a")[0] == "changed"

    def test_weights_that_load_changed(self, tmp_path: Path) -> None:
        """As of a program that compares no digest."""
        flips = script("flips")
        (tmp_path / "done").mkdir()
        sample = ROOT / "benchmarks" / "samples" / "run" / "best.pt"
        (tmp_path / "done" / "best.pt").write_bytes(sample.read_bytes())
        _, expected = flips.use_best(tmp_path)
        assert flips.effect(*flips.use_best(tmp_path), expected)[0] == "same"
        content = torch.load(sample, weights_only=True)
        name = next(key for key, value in content["weights"].items() if value.is_floating_point())
        content["weights"][name].view(-1)[0] += 1e-4
        content.pop("sha256", None)
        torch.save(content, tmp_path / "done" / "best.pt")
        assert flips.effect(*flips.use_best(tmp_path), expected)[0] == "changed"


@pytest.mark.parametrize(
    ("code", "rejected"),
    [
        ("sys.exit('faal: no')", 0),
        ("print('faal: no', file=sys.stderr); sys.exit(2)", 1),
        ("open('harmed', 'w'); print('faal: no', file=sys.stderr); sys.exit(2)", 0),
        ("print('Traceback\\nKeyError', file=sys.stderr); sys.exit(2)", 0),
        ("1 / 0", 0),
        ("", 0),
    ],
    ids=["status 1", "a sentence", "harm", "a traceback and status 2", "a traceback", "accepted"],
)
def test_hostile_files_and_a_program_that_is_no_match(code: str, rejected: int, tmp_path: Path) -> None:
    (tmp_path / "faal").mkdir()
    (tmp_path / "faal" / "__init__.py").touch()
    (tmp_path / "faal" / "__main__.py").write_text(f"import sys\n{code}\n")
    surface = SimpleNamespace(environment=os.environ | {"PYTHONPATH": str(tmp_path)})
    found = script("hostile").measure(surface, tmp_path / "work", 1, 1)
    assert (found["files"], found["rejected"]) == (1, rejected)


@pytest.mark.parametrize(
    ("part", "result"),
    [
        ("kills", {"endings": 40, "equal": 39, "processes left": 0}),
        ("kills", {"endings": 40, "equal": 40, "processes left": 1}),
        ("kills", {"endings": 0, "equal": 0, "processes left": 0}),
        ("writers", {"pairs": 20, "refused": 19, "whole": 19}),
        ("writers", {"pairs": 20, "refused": 20, "whole": 19}),
        ("flips", {"flips": 200, "changed": 1}),
        ("hostile", {"files": 22, "rejected": 21}),
        ("fuzz", {"cases": 5000, "failures": 1}),
    ],
)
def test_what_is_not_as_promised(part: str, result: dict[str, int]) -> None:
    main = importlib.import_module("benchmarks.reliability.__main__")
    assert not main.PROMISED[part](result)


@pytest.mark.slow
def test_the_short_form(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.reliability", "--short", "--to", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert found.keys() == {"kills", "writers", "flips", "hostile", "fuzz"}
    assert all(part["commit"] and part["command"] for part in found.values())


@pytest.mark.slow
def test_a_repair_that_is_killed_ends_as_one_that_is_not(tmp_path: Path) -> None:
    """The short form has three kills, of other commands."""
    surface = script("surface").Surface(ROOT)
    row = script("kills")._one(surface, tmp_path, "repair --frontier", 0, random.Random(1))
    assert (row["ended"], row["differ"], row["processes left"]) == (True, [], 0)
