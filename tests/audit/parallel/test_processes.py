"""An audit over several processes, and one that is killed: the verdicts are those of an undisturbed one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SCRIPT = """
import os, signal, sys
import torch
from faal import audit
from faal.audit import blocks
from faal.audit.attacks import backend
from faal.engine import processes
from tests.helpers.problems import make_problem

out, kill_after = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
# Attacks on the smallest network run in bfloat16, which every CPU can compute.
backend.multiplies_bf16, backend.MIN_BF16_OPERATIONS = lambda device: True, 0

judge = blocks.judge_attack
def noted(*arguments, **rest):
    print("judged", flush=True)
    return judge(*arguments, **rest)
blocks.judge_attack = noted

def progress(attack, done, total):
    if attack == "autoattack" and done == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)

processes.start(torch.device("cpu"))
problem = make_problem(5, 40)
for engine in ("fast", "reference"):
    found = audit(
        problem.net, problem.images, problem.labels, attacks="pgd5,autoattack", epsilon=0.3, block_size=8,
        engine=engine, out=f"{out}/{engine}", progress=progress,
    )
    assert ("bfloat16" in found.engine) == (engine == "fast"), found.engine
processes.stop()
"""


def run(folder: Path, *, count: int = 1, kill_after: int = 0) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    script = folder / "script.py"
    script.write_text(SCRIPT)
    start = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--standalone"] if count > 1 else []
    return subprocess.run(
        [sys.executable, *start, str(script), str(folder), str(kill_after)],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def verdicts(folder: Path) -> list[bytes]:
    return [(folder / engine / "verdicts.npz").read_bytes() for engine in ("fast", "reference")]


@pytest.mark.slow
def test_one_two_and_three_processes_and_one_that_was_killed_write_the_same_bytes(tmp_path: Path) -> None:
    """Five blocks, so that the processes' shares are uneven; two attacks; both engines."""
    written = []
    for count in (1, 2, 3):
        done = run(tmp_path / str(count), count=count)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("judged") == 20
        written.append(verdicts(tmp_path / str(count)))
    assert written[0] == written[1] == written[2]

    folder = tmp_path / "killed"
    killed = run(folder, kill_after=2)
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.count("judged") == 5 + 2
    assert not (folder / "fast" / "verdicts.npz").exists()
    again = run(folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("judged") == 20 - 7
    assert verdicts(folder) == written[0]
