"""`help(faal.FAAL)`: its example runs, and it documents the arguments that there are."""

import inspect
import re

from tests.helpers.doctests import failures

from faal import FAAL


def test_the_example_runs() -> None:
    assert failures(FAAL) == ""


def test_the_arguments_are_those_of_the_signature() -> None:
    """Nothing is inherited from the rules that are made from the class sizes."""
    assert inspect.getdoc(FAAL.__init__) in (None, inspect.getdoc(object.__init__))
    arguments = (inspect.getdoc(FAAL) or "").split("Args:\n")[1].split("\n\n")[0]
    assert re.findall(r"^ {4}(\w+): ", arguments, flags=re.MULTILINE) == list(inspect.signature(FAAL).parameters)
