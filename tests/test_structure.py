"""The shape of the source: every type has one name and one home, and files and folders keep their limits."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import faal

SOURCE = Path(faal.__file__).parent
ROOT = Path(__file__).parents[1]
CODE = [SOURCE, ROOT / "tests", ROOT / "benchmarks"]

MAX_LINES = 350
MAX_MODULES = 14
"""In a folder, `__init__` aside."""

TYPE_NAME = re.compile(r"_*[A-Z]([A-Za-z0-9]*[a-z][A-Za-z0-9]*)?")
"""The spelling of a class, of an alias such as `Budget = float | Tensor`, of a type variable; not of a constant."""


def types_of(source: str) -> set[str]:
    """The names of a module's classes, wherever in it they are, and of its aliases and type variables."""
    tree = ast.parse(source)
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = [ast.unparse(t) for t in (node.targets if isinstance(node, ast.Assign) else [node.target])]
            found |= {name for name in targets if TYPE_NAME.fullmatch(name)}
        elif type(node).__name__ == "TypeAlias":  # `type X = ...`, from Python 3.12
            found.add(ast.unparse(node.name))  # type: ignore[attr-defined]
    return found


def shared_types(root: Path) -> dict[str, list[str]]:
    """Type name -> the files that define it, for the names with more than one."""
    homes = defaultdict(list)
    for path in sorted(root.rglob("*.py")):
        for name in types_of(path.read_text(encoding="utf-8")):
            homes[name].append(path.relative_to(root).as_posix())
    return {name: files for name, files in homes.items() if len(files) > 1}


@pytest.mark.parametrize("root", [SOURCE, ROOT / "benchmarks"], ids=["src", "benchmarks"])
def test_every_type_name_is_defined_in_one_file(root: Path) -> None:
    assert shared_types(root) == {}


def test_types_are_found_however_they_are_defined(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "class A:\n  class In: ...\nB = int | str\nT = TypeVar('T')\nC: TypeAlias = int\nMAX = 3"
    )
    (tmp_path / "two.py").write_text(
        "A = Literal['a']\ndef f():\n  class In: ...\nclass B: ...\nclass T: ...\nC = 3\nMAX = 3"
    )
    assert set(shared_types(tmp_path)) == {"A", "In", "B", "T", "C"}


def test_no_file_is_longer_than_its_limit() -> None:
    files = [path for root in CODE for path in root.rglob("*.py")]
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_folder_has_more_modules_than_its_limit() -> None:
    folders = defaultdict(list)
    for root in CODE:
        for path in root.rglob("*.py"):
            if path.name != "__init__.py":
                folders[str(path.parent)].append(path.name)
    assert {folder: sorted(names) for folder, names in folders.items() if len(names) > MAX_MODULES} == {}
