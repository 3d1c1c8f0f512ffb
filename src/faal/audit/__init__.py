"""The audit: how well a classifier does on every class, clean and under attack, and how sure that is.

`run.py` is the whole of it from above; `blocks.py` and `judge.py` are how it comes to a verdict.
"""

import sys
from types import ModuleType
from typing import Any

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


class _Audit(ModuleType):
    """`faal.audit` is a package and, to its users, a function: `faal.audit(model, images, labels)`.

    Python binds a package's name in its parent on import, so a function of that name would come and go with the order
    of imports. A package that can be called is right in every order.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> AuditResult:
        return audit(*args, **kwargs)


sys.modules[__name__].__class__ = _Audit
