"""The examples in public docstrings, run as doctests."""

import doctest


def failures(item: object) -> str:
    """The report of the examples of one function or class that fail; empty where all pass. There must be one."""
    examples = [test for test in doctest.DocTestFinder(recurse=False).find(item, "example") if test.examples]
    assert examples, f"{item} has no example"
    report: list[str] = []
    for example in examples:
        doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    return "".join(report)
