"""Two processes over gloo: the work of each, and the same work for one process."""

import dataclasses
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from tests.conftest import toy_data, toy_split
from tests.helpers.learners import CPU, make_batches, make_learner, train_steps
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from faal import checkpoint
from faal.config import Recipe, Schedule, Threat
from faal.engine import gradients, processes
from faal.engine.numerics import Numerics
from faal.errors import InputError
from faal.intermediate.class_rule import EvaluationRequest
from faal.intermediate.class_stats import Need, batch_stats
from faal.models import Architecture, build_model
from faal.models.architectures.small import SmallNet
from faal.models.offsets import Offset
from faal.outer.awp import perturbable
from faal.train.loop import train
from faal.train.offsets import search

COUNTS = [10, 10, 10, 11]
STEPS = 5
"""An epoch: the two processes get 5 and 4 samples four times, and 3 and 2 of the last, smaller batch."""
METHODS = ["pgd-at", "faal-at", "faal-trades", "faal-at-awp"]
WHOLE = [(method, "small-gn") for method in METHODS]
"""Each sample is normalised by itself: one process computes the same."""
HALVES = [(method, "small") for method in METHODS]
"""BatchNorm: one process computes the same if it normalises the two parts of a batch separately."""


class Idle(SmallNet):
    """A network with a layer that it never uses."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, width=4, norm="group")
        self.idle = nn.Linear(3, 3)


class Late(SmallNet):
    """A network with a layer that joins in the third training step, and one that leaves after it."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, width=4, norm="group")
        self.late, self.early, self.calls = nn.Linear(1, 1), nn.Linear(1, 1), 0

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        self.calls += self.training
        used = self.early if self.calls < 3 else self.late
        return logits + used(logits[:, :1])


class Again(SmallNet):
    """A network that computes activations again in the backward pass, so that gradients come in several parts."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, width=4, norm="group")
        self.last = nn.Linear(num_classes, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        for _ in range(2):
            logits = recomputed(self.last, logits, use_reentrant=True) if self.training else self.last(logits)
        return logits


IDLE = [("faal-at-awp", "tests.helpers.pair:Idle")]
CHANGING = [(method, f"tests.helpers.pair:{name}") for name in ("Late", "Again") for method in ("faal-at", "pgd-at")]
CASES = WHOLE + HALVES + IDLE + CHANGING


def recipe(method: str, model: str) -> Recipe:
    """One sign of a gradient near zero that rounding turns over would set the runs apart.

    So attacks are few and short, and start away from the images, where the gradient of TRADES' divergence vanishes.
    """
    return Recipe(
        method=method,
        model=model,
        width=4 if model.startswith("small") else None,
        batch_size=9,
        lr=Schedule.constant(0.05),
        awp_gamma=Schedule.constant(0.01),
        crop=1,
        flip=True,
        epsilon=0.1,
        step_size=0.05,
        steps=2,
        attack_start="uniform",
    )


class ByHalves(nn.Module):
    """The two parts of a batch, as two processes have them, are normalised separately.

    The running statistics are those that the first part leaves, as the main process's are everybody's.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        first, second = images.tensor_split(2)
        of_another = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        return torch.cat([self.net(first), torch.func.functional_call(self.net, of_another, (second,))])


def trained(method: str, model: str, *, by_halves: bool = False) -> dict[str, Any]:
    """The results of an epoch, on this process."""
    split = toy_split(COUNTS)
    learner = make_learner(recipe(method, model), split, len(COUNTS))
    net = learner.net
    if by_halves:
        halves = ByHalves(net)
        learner = dataclasses.replace(learner, net=halves, forward=halves, parallel=gradients.parallel(halves))
    results = train_steps(learner, make_batches(learner.recipe, split), STEPS)
    return {
        "net": net.state_dict(),
        "weights": torch.stack([result.weights for result in results]),
        "loss": torch.stack([result.loss for result in results]),
    }


def run(folder: Path) -> dict[str, Tensor]:
    """The weights that a run of the training loop writes."""
    settings = dataclasses.replace(recipe("faal-at", "small-gn"), epochs=1, hold_out="none")
    data = toy_data(COUNTS)
    architecture = Architecture.of(settings, data)
    net = build_model(architecture, seed=0)
    outcome = train(net, architecture, data, settings, out=folder, seed=0, device=CPU, quiet=True)
    weights: dict[str, Tensor] = checkpoint.load(outcome.best)["weights"]
    return weights


def offsets() -> list[tuple[float, ...]]:
    """Those that are tried on an untrained network, with images of which the processes have unequal parts."""
    architecture = Architecture(model="small-gn", num_classes=3, channels=1, width=4)
    net = Offset(build_model(architecture, seed=0), torch.zeros(3))
    tried: list[tuple[float, ...]] = []
    search(
        net,
        toy_split([31, 20, 10]),
        EvaluationRequest(part="steer", loss="cw", steps=2),
        rule="sum",
        num_classes=3,
        threat=Threat(epsilon=1e-3),
        seed=0,
        numerics=Numerics.choose("float32", CPU),
        on_evaluation=lambda evaluation: tried.append(evaluation.offsets),
    )
    return tried


def sent(method: str) -> dict[str, Any]:
    """How many numbers each message of one step holds, but for the gradients, which are sent meanwhile."""
    split = toy_split(COUNTS)
    learner = make_learner(recipe(method, "small"), split, len(COUNTS))
    with (
        patch.object(dist, "all_reduce", wraps=dist.all_reduce) as reduced,
        patch.object(dist, "broadcast", wraps=dist.broadcast) as broadcasts,
    ):
        train_steps(learner, make_batches(learner.recipe, split), 1)
    sums = [call for call in reduced.call_args_list if "async_op" not in call.kwargs]
    numbers = [[call.args[0].numel() for call in calls] for calls in (sums, broadcasts.call_args_list)]
    return {
        "sums": numbers[0],
        "broadcasts": numbers[1],
        "perturbable": sum(w.numel() for w in perturbable(learner.net)),
    }


def backward_events() -> list[str]:
    """In which order a third step sends gradients and computes those of the first layer, which come last."""
    net = nn.Sequential(*(nn.Linear(512, 512, bias=False) for _ in range(4)))  # of a MiB each, and so is a bucket
    parallel = gradients.parallel(net)
    events: list[str] = []

    def send(*arguments: Any, **options: Any) -> Any:
        events.append("sent")
        return reduce(*arguments, **options)

    reduce = dist.all_reduce
    net[0].weight.register_post_accumulate_grad_hook(lambda _: events.append("first layer"))
    with patch.object(dist, "all_reduce", send):
        for _ in range(3):
            events.clear()
            (output,) = parallel(torch.ones(2, 512))
            output.sum().backward()
            parallel.finish()
    return events


def skipping(rank: int) -> dict[str, list[Tensor | None]]:
    """The gradients of two layers, of which process 1 leaves out one in some steps, and both another."""
    net = nn.ModuleDict({name: nn.Linear(2, 1, bias=False) for name in ("always", "some", "never")})
    for layer in net.values():
        nn.init.constant_(layer.weight, 1.0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.step = net, 0

        def forward(self, images: Tensor) -> Tensor:
            self.step += 1
            used = self.step != 2 and (rank == 0 or self.step % 2 == 1)
            return self.layers["always"](images) + (self.layers["some"](images) if used else 0)

    parallel = gradients.parallel(Net())
    found: dict[str, list[Tensor | None]] = {name: [] for name in net}
    for _ in range(4):
        for layer in net.values():
            layer.weight.grad = None
        (output,) = parallel(torch.full((1, 2), rank + 1.0))
        output.sum().backward()
        parallel.finish()
        for name, layer in net.items():
            found[name].append(None if layer.weight.grad is None else layer.weight.grad.clone())
    return found


def refused() -> str:
    """The message for BatchNorm over all processes' samples, on CPUs."""
    try:
        processes.synchronise(SmallNet(3, norm="group"))  # there is nothing to refuse
        processes.synchronise(SmallNet(3))
    except InputError as error:
        return str(error)
    return ""


def refuse(what: str) -> None:
    raise InputError(f"{what} is refused")


def strided(value: float) -> Tensor:
    """Channels last, as weights of convolutions on the device."""
    return torch.full((2, 3, 4, 5), value).to(memory_format=torch.channels_last)


def messages(rank: int) -> dict[str, Any]:
    """The results of the processes' communication."""
    mine = torch.arange(6.0).view(2, 3) * (rank + 1)
    overwritten = [torch.full((3,), float(rank)), strided(rank), torch.tensor(rank), torch.tensor([True, rank == 0])]
    processes.broadcast(overwritten)
    logits = torch.eye(4)[[0, 1, 2]] if rank == 0 else torch.eye(4)[[0, 0]]
    labels = torch.tensor([0, 1, 1]) if rank == 0 else torch.tensor([0, 1])
    stats = batch_stats(logits, labels, labels, 4, [Need.MARGIN])
    processes.barrier()
    try:
        processes.on_main(lambda: refuse(f"the folder of {rank}"))
    except InputError as error:
        refusal = str(error), error.shared
    return {
        "on main": (processes.on_main(lambda: rank), refusal),
        "is": (processes.rank(), processes.world_size(), processes.is_main()),
        "sums": processes.all_sum(mine, torch.tensor(0.5 + rank), mine.t(), strided(rank + 1), torch.empty(0)),
        "mine": mine,
        "broadcast": overwritten,
        "gathered": processes.gather_objects({"rank": rank, "text": "hello" * rank}),
        "stats": (stats.counts, stats.sums[Need.MARGIN]),
    }


def work(rank: int, folder: Path) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    found = {"messages": messages(rank), "events": backward_events(), "refused": refused(), "skipping": skipping(rank)}
    found |= {"faal-at sends": sent("faal-at"), "faal-at-awp sends": sent("faal-at-awp")}
    found |= {f"{method} {model}": trained(method, model) for method, model in CASES}
    found |= {"run": run(folder / "run"), "offsets": offsets()}
    torch.save(found, folder / f"{rank}.pt")
    processes.stop()
