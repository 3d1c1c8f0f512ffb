"""The directions of imports: the house's floors, held by reading the source, and what a first import draws in."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import faal

SOURCE = Path(faal.__file__).parent

FLOORS = [
    # anybody's
    {
        "errors",
        "epsilon",
        "losses",
        "bounds",
        "arguments",
        "tensors",
        "config",
        "checkpoint",
        "checksums",
        "confusion",
        "reading",
        "recorded",
        "named",
        "data",
        "models",
        "engine",
    },
    {"inner", "intermediate", "outer"},
    {"methods", "step"},
    {"audit"},
    {"train"},
    {"repair"},
    {"study"},
    {"cli"},
    {"__main__"},
]
"""Who may import whom: one's own floor where it makes no circle, and every floor below it."""

PHASES = FLOORS[1]
READERS = {"report"}
"""What reads files only stands beside the house: it imports what needs no tensors; who writes pages imports it."""


def unit_of(path: Path) -> str:
    """The part of the house that a file belongs to: a folder, or a file at the top."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The modules that a file imports, inside functions and for type checking too, with the names taken from them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(SOURCE.rglob("*.py"))
GRAPH: dict[str, set[str]] = {}
for file in FILES:
    inside = {name.split(".")[1] for name in imported(file) if name.startswith("faal.")}
    GRAPH.setdefault(unit_of(file), set()).update(inside - {unit_of(file)})
ROOT = GRAPH.pop("__init__")


def floor_of(unit: str) -> int:
    return next(level for level, units in enumerate(FLOORS) if unit in units)


def test_every_part_has_its_place() -> None:
    assert set(GRAPH) == set().union(*FLOORS) | READERS
    assert len(FILES) > 60


@pytest.mark.parametrize("unit", sorted(set(GRAPH) - READERS))
def test_imports_run_one_way(unit: str) -> None:
    allowed = set().union(*FLOORS[: floor_of(unit) + 1])
    if unit in {"study", "cli"}:
        allowed |= READERS
    assert GRAPH[unit] - allowed == set()


def test_the_three_phases_never_import_each_other() -> None:
    for phase in PHASES:
        assert GRAPH[phase] & PHASES == set()
        assert GRAPH[phase] <= FLOORS[0]


def test_there_is_no_circle() -> None:
    assert len(list(TopologicalSorter(GRAPH).static_order())) == len(GRAPH)


def test_the_report_reads_files_only() -> None:
    assert GRAPH["report"] <= {"errors", "epsilon", "bounds", "checksums", "confusion", "recorded"}
    for path in (SOURCE / "report").glob("*.py"):
        assert not [name for name in imported(path) if name.split(".")[0] in {"torch", "torchvision", "safetensors"}]


def test_the_step_alone_joins_the_phases() -> None:
    """Nobody below the training loop knows two of them, but the table of methods and the step itself."""
    joining = {unit for unit, units in GRAPH.items() if len(units & PHASES) > 1}
    assert joining <= {"step", "methods", "train", "study"}
    assert GRAPH["step"] >= {"inner", "intermediate", "outer"}


def test_the_root_holds_the_public_names_and_nothing_else() -> None:
    assert {"errors", "intermediate", "audit", "models", "train"} >= ROOT
    assert sorted(faal.__all__) == [
        "FAAL",
        "InputError",
        "__version__",
        "audit",
        "load_model",
        "offsets",
        "solve_kldro",
    ]
    assert all(hasattr(faal, name) for name in faal.__all__)
    with pytest.raises(AttributeError, match="no attribute 'audti'"):
        faal.audti  # noqa: B018


OPTIONAL = [
    "cyclopts",
    "rich",
    "matplotlib",
    "jinja2",
    "sklearn",
    "pyautoattack",
    "tensorboard",
    "cvxpy",
    "scipy",
    "PIL",
]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("code", "never"),
    [
        ("import faal", OPTIONAL),
        ("import faal; faal.FAAL(3); faal.solve_kldro", OPTIONAL),
        ("import faal.step", ["cyclopts", "rich", "matplotlib", "jinja2", "pyautoattack", "tensorboard", "cvxpy"]),
        ("import faal.report", ["torch", "sklearn", "pyautoattack", "cyclopts", "tensorboard", "cvxpy"]),
        ("import faal.cli.app", ["torch", "matplotlib", "sklearn", "pyautoattack", "tensorboard", "cvxpy"]),
    ],
)
def test_what_a_first_import_draws_in(code: str, never: list[str]) -> None:
    """In a fresh interpreter. The command line's help does not wait for PyTorch."""
    look = f"import sys; {code}; print(*(name for name in {never} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []


RUNS_CODE = {
    "import_module": {"__init__.py", "named.py", "models/libraries.py"},
    "__import__": set(),
    "eval": set(),
    "exec": set(),
    "import_function": {"models/own.py", "data/readers/user.py"},
    "own_model": {"models/build.py"},
    "read_function": {"data/load.py"},
    "Unpickler": set(),
    "unsafe_load": set(),
    "full_load": set(),
}
"""Calls that can run what they are given, and the files that may have them."""


def test_what_can_run_code_is_called_in_few_places() -> None:
    """A file's content must not reach it: a new caller has to show that it does not."""
    found: dict[str, set[str]] = {name: set() for name in RUNS_CODE}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if name == "eval" and not node.args:  # a module's, into evaluation mode
                    continue
                found.get(name, set()).add(path.relative_to(SOURCE).as_posix())
                if name == "load" and ast.unparse(node.func).startswith(("torch.", "np.")):
                    safe = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    assert safe.get("weights_only") == "True" or safe.get("allow_pickle") == "False", path
                assert ast.unparse(node.func) not in ("pickle.load", "pickle.loads", "yaml.load"), path
    for name, files in found.items():
        assert files <= RUNS_CODE[name], name
