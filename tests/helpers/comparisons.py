"""Two audits of 300 made-up samples, a base and its repair, for the tests of comparisons."""

from dataclasses import replace
from typing import Any

import numpy as np

from faal.audit.estimates import summarise
from faal.audit.records.result import AuditResult
from faal.audit.records.verdicts import Verdicts, with_all

CLASSES = ["ant", "bee", "cat"]
LABEL = np.repeat([0, 1, 2], 100)


def made(right: dict[str, list[int]], **change: Any) -> AuditResult:
    """An audit in which, of each class's 100 samples, the first `right` are predicted correctly under each attack."""
    place = np.arange(300) % 100
    predicted = {}
    for attack, counts in right.items():
        wrong = place >= np.repeat(counts, 100)
        predicted[attack] = np.where(wrong, (LABEL + 1) % 3, LABEL).astype(np.int16)
    predicted = with_all(LABEL, predicted)
    settings = {"classes": CLASSES, "level": 0.95, "parameters": {}, "seconds": 1.0}
    result = AuditResult(
        model={"name": "net"},
        data={"name": "animals", "split": "test", "n": 300, "classes": CLASSES},
        threat={"norm": "linf", "epsilon": 0.1},
        seed=0,
        engine="reference",
        block_size=250,
        level=0.95,
        interval_method="",
        warnings=(),
        environment={},
        attacks={name: summarise(LABEL, given, **settings) for name, given in predicted.items()},
        verdicts=Verdicts(label=LABEL, index=np.arange(300), predicted=predicted),
        examples=None,
    )
    return replace(result, **change)


BASE = made({"clean": [95, 90, 85], "pgd20": [70, 60, 20]})
REPAIRED = made({"clean": [94, 90, 85], "pgd20": [66, 60, 45]})
