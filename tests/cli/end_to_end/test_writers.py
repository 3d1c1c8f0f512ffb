"""Commands as processes: one writer per folder, workers that end with their parent, signals from outside."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import faal

pytestmark = pytest.mark.slow

MODULE = [sys.executable, "-m", "faal"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "faal"]
EPOCH = 28
"""Steps of an epoch of `train` in two processes."""
BUSY = "is being written by `faal "


def train(out: str = "run", epochs: int = 400) -> list[str]:
    """The words of a long run."""
    short = ["--width", "4", "--steps", "1", "--log-every", "1000", "--device", "cpu"]
    return ["train", "digits-small-pgd-at", "--data", "digits", "--out", out, "--epochs", str(epochs), *short]


class Command:
    """A command in a session of its own, ended with the test."""

    def __init__(self, folder: Path, *words: str, start: list[str] = MODULE) -> None:
        environment = os.environ | {"PYTHONPATH": str(Path(faal.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*start, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def end(self) -> tuple[int, str]:
        """Its status and its output."""
        said, _ = self.process.communicate(timeout=240)
        return self.process.returncode, said

    def stopped(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.end()


Start = Callable[..., Command]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Command] = []

    def begin(*words: str, **how: list[str]) -> Command:
        started.append(Command(tmp_path, *words, **how))
        return started[-1]

    yield begin
    for command in started:
        for process in (*descendants(command.process.pid), command.process.pid):
            if command.process.poll() is None or process != command.process.pid:
                os.kill(process, signal.SIGKILL)
        command.process.communicate()


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that these have started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def steps(run: Path) -> list[int]:
    """Those of a run's log."""
    log = run / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [row["step"] for row in rows if row["event"] == "batch"]


def assert_each_once(run: Path) -> None:
    assert steps(run) == list(range(len(steps(run))))


def test_two_runs_into_one_folder(start: Start, tmp_path: Path) -> None:
    """The second is refused, over two processes too, and before it waits for anything; the first goes on."""
    first = start(*train())
    until(lambda: len(steps(tmp_path / "run")) > 20)
    second, group = start(*train()), start(*train(), start=TORCHRUN)
    status, said = second.end()
    assert status == 2
    assert f"faal: run {BUSY}train digits-small-pgd-at" in said
    assert f"(process {first.process.pid} on {os.uname().nodename}, since " in said
    assert f"faal: run {BUSY}train" in group.end()[1]
    status, said = first.stopped(signal.SIGINT)
    assert status == 130
    assert re.search(r"\nfaal: saved at epoch \d+, step \d+; the same command continues\n$", said)
    assert_each_once(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").glob(".*")) == []


def test_processes_of_a_group_stop_at_one_step(start: Start, tmp_path: Path) -> None:
    """A signal to the launcher reaches them at different times."""
    run = tmp_path / "run"
    for number in (signal.SIGTERM, signal.SIGINT):
        before = len(steps(run))
        group = start(*train(), start=TORCHRUN)
        until(lambda before=before: len(steps(run)) > before + 20)
        said = group.stopped(number)[1]
        assert said.count("; the same command continues") == 1
        saved = re.search(r"saved at epoch (\d+), step (\d+)", said)
        assert saved is not None
        epoch, step = map(int, saved.groups())
        assert len(steps(run)) == epoch * EPOCH + step
        assert_each_once(run)


def test_two_audits_of_one_folder(start: Start, tmp_path: Path) -> None:
    assert start(*train(epochs=1)).end()[0] == 0
    audit = ["audit", "run", "--data", "digits", "--out", "audit", "--attacks", "pgd2,autoattack", "--epsilon"]
    first = start(*audit, "0.2")
    until((tmp_path / "audit" / "blocks").exists)
    status, said = start(*audit, "0.1").end()
    assert status == 2
    assert f"faal: audit {BUSY}audit run" in said
    status, said = first.stopped(signal.SIGTERM)
    assert status == 143
    assert re.search(r"\nfaal: [4-8] of 8 blocks are saved; the same command continues\n$", said), said
    assert start(*audit, "0.2").end()[0] == 0


def test_the_workers_of_a_killed_demo_end_and_the_next_one_continues(start: Start, tmp_path: Path) -> None:
    logs = [tmp_path / "demo" / f"seed-{seed}" / "base" for seed in (1, 2)]
    command = ["demo", "--out", "demo", "--seeds", "2"]
    before = [0, 0]
    for number in (signal.SIGKILL, signal.SIGINT):
        demo = start(*command)
        until(lambda before=before: all(len(steps(log)) > n + 10 for log, n in zip(logs, before, strict=True)))
        assert f"faal: demo {BUSY}demo" in start(*command).end()[1]
        workers = descendants(demo.process.pid)
        assert len(workers) >= 2
        demo.process.send_signal(number)  # to the parent alone
        status, said = demo.end()
        until(lambda workers=workers: not any(Path(f"/proc/{worker}").exists() for worker in workers))
        before = [len(steps(log)) for log in logs]
    assert status == 130
    assert "faal: train and repair: 0 of 2 are finished, and the progress of the others is saved; the same" in said
    for log in logs:
        assert_each_once(log)
    assert list((tmp_path / "demo").rglob(".*")) == []


@pytest.mark.parametrize(("workers", "number"), [("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_a_reproduction_that_is_stopped(workers: str, number: signal.Signals, start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["reproduce", "table2/pgd-at", "--scale", "tiny", "--out", "out", "--workers", workers, "--seeds", "2"]
    reproduction = start(*command)
    until(lambda: sum(len(steps(run)) for run in runs_in(out)) > 10)
    assert "is being written by `faal reproduce" in start(*train(str(runs_in(out)[0]))).end()[1]
    status, said = reproduction.stopped(number)
    assert status == 128 + number
    assert re.search(r"\nfaal: \d of 4 steps are finished, and the progress of the others is saved; ", said)
    assert list((out / "claims").iterdir()) == []
    assert list(out.rglob(".*")) == []
    before = [len(steps(run)) for run in runs_in(out)]
    again = start(*command)
    until(lambda: sum(len(steps(run)) for run in runs_in(out)) > sum(before) + 10)
    again.stopped(number)
    for run in runs_in(out):
        assert_each_once(run)


def runs_in(out: Path) -> list[Path]:
    return sorted(log.parent for log in out.rglob("metrics.jsonl"))
