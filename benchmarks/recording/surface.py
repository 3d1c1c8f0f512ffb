"""The program's public interface: the command line as a process of its own, and the public names of `import faal`.

A record is made through this alone, so that it can be made of any state of the code, wherever its modules are.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.recording.stops import OFTEN, stop_twice

MANY = """
import contextlib, io, json, runpy, sys
pages = []
for words in json.load(sys.stdin):
    sys.argv = ["faal", *words]
    with contextlib.redirect_stdout(io.StringIO()) as page:
        try:
            runpy.run_module("faal", run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
    pages.append(page.getvalue())
json.dump(pages, sys.stdout)
"""
"""Commands that only print, one after the other in one process: its start takes longer than any of them."""

CALL = """
import json, sys
import faal, torch
from sklearn.datasets import load_digits
digits = load_digits()
images = torch.from_numpy(digits.images[:40] / 16).float().unsqueeze(1)
labels = torch.from_numpy(digits.target[:40])
net = faal.load_model("run")
logits = net(images)
loss = faal.FAAL(10, tau=0.5)(torch.nn.functional.cross_entropy(logits, labels, reduction="none"), logits, labels)
loss.backward()
losses = torch.linspace(0, 2, 30, dtype=torch.float64).view(3, 10) ** 2
found = {"FAAL/loss": loss, "FAAL/gradients": torch.cat([each.grad.flatten() for each in net.parameters()])}
for ball in ("kl", "kl-forward", "chi2", "cvar"):
    found["solve_kldro/" + ball] = faal.solve_kldro(losses, 0.5, ball=ball)
result = faal.audit(net, images, labels, epsilon=0.2, attacks="clean,pgd10,cw10", engine="reference")
for name, attack in result.attacks.items():
    values = [attack.average.value, attack.worst.value]
    found["audit/" + name] = torch.tensor(values, dtype=torch.float64)
torch.save({name: value.detach() for name, value in found.items()}, "called.pt")
"""
"""The public names of the package, called on the sample run and on digits."""

PREDICT = """
import json, sys
import faal, torch
from sklearn.datasets import load_digits
net = faal.load_model(sys.argv[1])
images = torch.from_numpy(load_digits().images[:300] / 16).float().unsqueeze(1)
with torch.no_grad():
    logits = net(images) if sys.argv[2] == "digits" else torch.zeros(0, 1)
torch.save({"weights": dict(net.state_dict()), "predicted": logits.argmax(1)}, sys.argv[3])
"""


class Surface:
    """The program in a checkout.

    Args:
        tree: the checkout; its `src` comes first on the path of every process.
        package: another folder in the place of `src`.
        processes: of every training and audit, by `torchrun`; 0 is one process without it.
        stopped_by: another checkout, which begins every training and audit and is stopped; this one continues it.
    """

    def __init__(
        self, tree: Path, package: Path | None = None, *, processes: int = 0, stopped_by: Path | None = None
    ) -> None:
        self.tree = tree.resolve()
        self.processes = processes
        self.earlier = Surface(stopped_by, processes=processes) if stopped_by else None
        self.source = (package or self.tree / "src").resolve()
        if not (self.source / "faal").is_dir():
            raise SystemExit(f"{self.source} holds no package faal; --tree names a checkout")
        passed = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
        fixed = {
            "PYTHONPATH": str(self.source), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "1000", "TERM": "dumb", "NO_COLOR": "1",
        }  # fmt: skip
        self.environment = passed | fixed
        where = self._python("import faal; print(faal.__file__)", folder=self.source).stdout.strip()
        if not Path(where).is_relative_to(self.source):
            raise SystemExit(f"Python imports {where}, not the package in {self.source}")

    def _python(self, code: str, *words: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(
            command, cwd=folder, env=self.environment, input=stdin, capture_output=True, text=True, check=True
        )

    def _as_recorded(self, words: Sequence[str]) -> list[str]:
        """A command; of a repair the paper's, the only one that earlier versions have."""
        chooses = words[0] == "repair" and (self.source / "faal" / "repair").is_dir()
        return [*words, "--plain"] if chooses else list(words)

    def attempt(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """`faal WORDS` in a folder, whatever its exit status."""
        command = [sys.executable, "-m", "faal", *self._as_recorded(words)]
        return subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True)

    def compute(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """`faal WORDS --out out`, a training or an audit, in a folder, whatever its exit status.

        Raises RuntimeError where another checkout is to be stopped and ends before.
        """
        command = [*self._as_recorded(words), "--out", "out"]
        if (earlier := self.earlier) is not None:
            often = () if words[0] == "audit" else OFTEN
            kill = signal.SIGTERM if self.processes else signal.SIGKILL  # torchrun cannot pass on the latter
            stop_twice(lambda: earlier.begun(folder, *words, "--out", "out", *often), folder / "out", kill)
        launched = [*self._launcher(), *command]
        return subprocess.run(launched, cwd=folder, env=self.environment, capture_output=True, text=True)

    def _launcher(self) -> list[str]:
        """How `faal` is started, in one process or by `torchrun`."""
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.processes)]
        return [sys.executable, *(torchrun if self.processes else ()), "-m", "faal"]

    def faal(self, folder: Path, *words: str) -> str:
        """The output of `faal WORDS`. Raises RuntimeError with the end of its errors where it fails."""
        done = self.attempt(folder, *words)
        if done.returncode:
            raise RuntimeError(f"faal {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def begun(self, folder: Path, *words: str) -> subprocess.Popen[bytes]:
        """`faal WORDS` as a process, or as several under `torchrun`, that may be stopped."""
        quiet, command = subprocess.DEVNULL, [*self._launcher(), *self._as_recorded(words)]
        return subprocess.Popen(command, cwd=folder, env=self.environment, stdout=quiet, stderr=quiet)

    def pages(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """The output of several commands that only print."""
        stdin = json.dumps([list(words) for words in commands])
        found: list[str] = json.loads(self._python(MANY, folder=self.source, stdin=stdin).stdout)
        return found

    def names(self) -> list[str]:
        """The public names of `import faal`."""
        return self._python("import faal; print(*faal.__all__)", folder=self.source).stdout.split()

    def called(self, folder: Path) -> dict[str, str]:
        """Digests of the public functions' results."""
        import torch
        from benchmarks.recording.facts import array_digest

        self._python(CALL, folder=folder)
        found = torch.load(folder / "called.pt", weights_only=True)
        return {name: array_digest(value) for name, value in found.items()}

    def loaded(self, folder: Path, path: str, *, predict: bool = True) -> dict[str, Any]:
        """`faal.load_model(path)`: its weights, and its predictions on 300 digits."""
        import torch

        file = folder / "loaded.pt"
        self._python(PREDICT, path, "digits" if predict else "none", str(file), folder=folder)
        found: dict[str, Any] = torch.load(file, weights_only=True)
        return found
