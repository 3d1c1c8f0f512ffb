"""Compiled networks, and work from a CUDA graph."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from tests.conftest import toy_split
from tests.helpers.learners import make_batches, make_learner, train_steps
from torch import Tensor, nn
from torch._dynamo.utils import counters

from faal.config import Recipe, Schedule
from faal.engine.graphs import Compiled, Recorder, directly
from faal.errors import InputError
from faal.train.learner import records

COUNTS = [7, 6, 5]


def recipe(compiled: str) -> Recipe:
    """Two full batches and a smaller last one."""
    return Recipe(
        method="faal-at-awp", model="small", width=4, batch_size=7, steps=3, epsilon=0.1, step_size=0.05, crop=1,
        lr=Schedule.constant(0.02), compile=compiled, precision="float32",
    )  # fmt: skip


@pytest.fixture(scope="module", params=["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def both(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Three steps, compiled and not, on the same batches; and how many graphs were compiled.

    aot_eager traces the same graphs as inductor, the backend of users, and generates no code for them."""
    split = toy_split(COUNTS)
    torch._dynamo.reset()
    counters.clear()
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", partial(torch.compile, backend=request.param))
        for compiled in ("off", "on"):
            learner = make_learner(recipe(compiled), split, len(COUNTS))
            results = train_steps(learner, make_batches(learner.recipe, split), 3)
            found[compiled] = {"net": learner.net, "weights": torch.stack([result.weights for result in results])}
    return found | {"graphs": counters["stats"]["unique_graphs"]}


class TestCompiled:
    @pytest.mark.medium
    def test_results_are_equal(self, both: dict[str, Any]) -> None:
        torch.testing.assert_close(both["on"]["weights"], both["off"]["weights"], rtol=0, atol=1e-5)
        plain, compiled = (both[name]["net"].state_dict() for name in ("off", "on"))
        for name, tensor in plain.items():
            torch.testing.assert_close(compiled[name], tensor, rtol=1e-4, atol=1e-5)

    def test_there_are_two_graphs_the_attacked_network_and_the_trained_one(self, both: dict[str, Any]) -> None:
        """AWP's ascent is a forward in training too, and the last batch compiles nothing."""
        assert both["graphs"] == 2

    def test_the_attacks_graph_computes_no_gradients_of_weights(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The backward of a compiled graph computes the gradients that were required when it was compiled."""
        torch._dynamo.reset()
        required: list[set[bool]] = []

        def inspect(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
            values = [node.meta.get("example_value") for node in graph.graph.nodes if node.op == "placeholder"]
            required.append({value.requires_grad for value in values if isinstance(value, nn.Parameter)})
            return graph.forward

        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=inspect))
        split = toy_split(COUNTS)
        learner = make_learner(recipe("on"), split, len(COUNTS))
        train_steps(learner, make_batches(learner.recipe, split), 1)
        assert required == [{False}, {True}]  # the attacked network's, the trained one's

    @pytest.mark.medium
    @pytest.mark.parametrize(("method", "graphs"), [("mart", 2), ("faal-trades", 3), ("bat", 3)])
    def test_other_attacks_have_graphs_of_their_own(
        self, method: str, graphs: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        torch._dynamo.reset()
        created: list[torch.fx.GraphModule] = []
        monkeypatch.setattr(
            torch, "compile", partial(torch.compile, backend=lambda graph, _: created.append(graph) or graph.forward)
        )
        split, chosen = toy_split(COUNTS), recipe("on").replace({"method": method}, source="test")
        learner = make_learner(chosen, split, len(COUNTS))
        train_steps(learner, make_batches(chosen, split), 3)
        assert len(created) == graphs

    def test_another_size_runs_uncompiled(self) -> None:
        net = Compiled(nn.Conv2d(1, 1, 1), 4)
        called: list[str] = []
        net.__dict__["compiled"] = lambda images: called.append("compiled")
        full, last = torch.rand(4, 1, 2, 2), torch.rand(3, 1, 2, 2)
        torch.testing.assert_close(net(last), net.net(last))  # a resumed run may begin with it
        net(full)
        assert called == ["compiled"]

    def test_a_machine_that_cannot_compile_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unable(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
            raise OSError("no compiler\nfound")

        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=unable))
        with pytest.raises(InputError, match=r"cannot compile .*--compile$"):
            Compiled(nn.Conv2d(1, 1, 1), 2)(torch.rand(2, 1, 2, 2))


@pytest.mark.parametrize(
    ("compiled", "device", "mode", "expected"),
    [("on", "cuda", "eval", True), ("on", "cuda", "train", False), ("on", "cpu", "eval", False),
     ("auto", "cuda", "eval", False), ("off", "cuda", "eval", False)],
)  # fmt: skip
def test_what_is_recorded(compiled: str, device: str, mode: str, expected: bool) -> None:
    settings = recipe(compiled).replace({"attack_mode": mode}, source="test")
    assert records(settings, torch.device(device)) == expected


class MockGraph:
    """A mock of a CUDA graph: it stores the function run in the capture, and runs it again on the same tensors."""

    def __init__(self) -> None:
        self.replays = 0
        self.again: Any = None
        self.pool: object = None
        self.mode = ""

    def replay(self) -> None:
        self.replays += 1
        self.again()


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        pass


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[MockGraph]:
    """The graphs captured by a recorder, without a GPU."""
    created: list[MockGraph] = []

    def graph() -> MockGraph:
        created.append(MockGraph())
        return created[-1]

    @contextmanager
    def opened(graph_: MockGraph, *, pool: object, capture_error_mode: str) -> Iterator[None]:
        graph_.pool, graph_.mode = pool, capture_error_mode
        yield

    @contextmanager
    def nothing(*_: Any) -> Iterator[None]:
        yield

    for name, mock in {
        "CUDAGraph": graph, "graph": opened, "Stream": Stream, "stream": nothing, "current_stream": Stream,
        "graph_pool_handle": object,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, mock)
    return created


def test_a_graph_is_replayed_on_new_inputs(graphs: list[MockGraph]) -> None:
    runs: list[float] = []

    def work(images: Tensor, epsilon: float) -> tuple[Tensor, ...]:
        """Writes to one tensor, as a CUDA graph does."""
        runs.append(epsilon)
        result = torch.empty_like(images)

        def again() -> None:
            torch.mul(images, epsilon, out=result)

        again()
        for graph_ in graphs[-1:]:
            graph_.again = graph_.again or again
        return (result,)

    run = Recorder()
    first, second = torch.rand(2, 3), torch.rand(2, 3)
    (one,) = run(work, first, 2.0)
    (two,) = run(work, second, 2.0)
    assert torch.equal(one, 2 * first)  # a copy: the second call did not overwrite it
    assert torch.equal(two, 2 * second)
    assert len(runs) == 4  # three to warm up, one to record
    assert [graph_.replays for graph_ in graphs] == [2]
    run(work, torch.rand(1, 3), 2.0)
    run(work, first, 3.0)
    assert [graph_.replays for graph_ in graphs] == [2, 1, 1]
    assert len({graph_.pool for graph_ in graphs}) == 1
    assert {graph_.mode for graph_ in graphs} == {"thread_local"}


def test_directly_is_the_work_itself() -> None:
    (result,) = directly(lambda images, factor: (images * factor,), torch.ones(2), 3.0)
    assert torch.equal(result, torch.full((2,), 3.0))
