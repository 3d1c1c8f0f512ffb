"""`faal.audit` for its users: a function, and a package that is imported as any other."""

import doctest
import inspect
import pickle
import pydoc
import subprocess
import sys
from importlib import import_module

import pytest

import faal
from faal.audit.run import audit


def test_its_signature_has_the_real_parameters() -> None:
    parameters = inspect.signature(faal.audit).parameters
    assert list(parameters)[:3] == ["model", "images", "labels"]
    assert {"classes", "attacks", "epsilon", "norm", "seed", "limit", "groups", "out", "progress"} <= set(parameters)
    assert parameters["epsilon"].default == 8 / 255
    assert not any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters.values())


def test_its_help_is_its_docstring() -> None:
    page = pydoc.render_doc(faal.audit, renderer=pydoc.plaintext)
    assert "faal.audit(model" in page
    for name in inspect.signature(faal.audit).parameters:
        assert name in page.split("Parameters\n", 1)[1]
    for section in ("Returns", "Raises", "References", "Examples"):
        assert f"{section}\n" in page
    for internal in ("PACKAGE CONTENTS", "FUNCTIONS", "audit_share", "clopper_pearson"):
        assert internal not in page
    assert len(page.splitlines()) < 150


def test_its_example_runs() -> None:
    examples = doctest.DocTestFinder(recurse=False).find(faal.audit, "faal.audit", module=False, globs={})
    assert sum(len(each.examples) for each in examples) > 5
    runner = doctest.DocTestRunner()
    for each in examples:
        assert runner.run(each).failed == 0


def test_the_package_is_the_function(problem) -> None:  # type: ignore[no-untyped-def]
    result = faal.audit(problem.net, problem.images, problem.labels, attacks="clean")  # type: ignore[operator]
    assert isinstance(result, faal.audit.AuditResult)
    assert faal.audit is audit
    assert faal.audit.audit is audit
    assert pickle.loads(pickle.dumps(audit)) is audit


@pytest.mark.medium
@pytest.mark.parametrize(
    "code",
    [
        "import faal; assert callable(faal.audit); import faal.audit; assert callable(faal.audit); "
        "faal.audit.comparison.compare; assert faal.audit.__name__ == 'faal.audit'",
        "import faal.audit.run as run; import faal.audit.statistics.intervals; from faal import audit; "
        "assert callable(audit) and audit is run.audit",
        "from faal.audit import refusals, table; from faal.audit import *; refusals.refuse_others; "
        "assert callable(audit) and callable(compare)",
    ],
)
def test_it_is_callable_in_every_order_of_imports(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("code", ["from faal.audit import nonsense", "import faal.audit.nonsense"])
def test_a_name_that_it_does_not_have_is_an_import_error(code: str) -> None:
    with pytest.raises(ImportError, match=r"faal\.audit"):
        exec(code)


def test_every_public_name_is_there() -> None:
    package = import_module("faal.audit")
    assert package is faal.audit
    assert all(hasattr(package, name) for name in package.__all__)
