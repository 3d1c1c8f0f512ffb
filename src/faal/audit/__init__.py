"""The audit: the class-wise accuracy of a classifier, clean and under attack, with intervals.

`run.py` has the entry points and `stages.py` the stages; `blocks.py` and `judge.py` compute the verdicts.
"""

import sys
from types import ModuleType
from typing import cast

from faal.audit.attacks.registry import NAMES as ATTACKS
from faal.audit.comparison.compare import Comparison, compare
from faal.audit.records.result import AttackResult, AuditResult, ClassEstimate, Estimate, Gap, WorstClass, WorstTenth
from faal.audit.records.verdicts import Verdicts
from faal.audit.run import audit, audit_share
from faal.audit.statistics.dispersion import deviation_interval, gap_interval
from faal.audit.statistics.intervals import (
    Interval,
    clopper_pearson,
    lowest_mean_interval,
    mean_interval,
    pooled_interval,
    worst_class_interval,
)
from faal.audit.terminal import comparison_table, table

__all__ = [
    "ATTACKS",
    "AttackResult",
    "AuditResult",
    "ClassEstimate",
    "Comparison",
    "Estimate",
    "Gap",
    "Interval",
    "Verdicts",
    "WorstClass",
    "WorstTenth",
    "audit",
    "audit_share",
    "clopper_pearson",
    "compare",
    "comparison_table",
    "deviation_interval",
    "gap_interval",
    "lowest_mean_interval",
    "mean_interval",
    "pooled_interval",
    "table",
    "worst_class_interval",
]

# `faal.audit` is a package and, to its users, a function: `faal.audit(model, images, labels)`. Python binds a package's
# name in its parent on import, so whether a function of that name exists in `faal` would depend on the order of
# imports. Therefore the function replaces the package in `sys.modules`, with the package's attributes, `__path__` and
# `__spec__` among them: submodules are imported as usual, and `help` and `inspect.signature` describe the function.
# Imports name submodules by `__name__`.
vars(audit).update({name: value for name, value in globals().items() if name not in ("__doc__", "__name__")})
audit.__name__ = __name__
sys.modules[__name__] = cast(ModuleType, audit)
