"""FAAL: robust fairness in image classification. Audit a classifier class by class, repair it, train without the flaw.

faal.solve_kldro(losses, tau)          the worst class distribution within a ball, exactly
faal.FAAL(num_classes, tau)            phase 2 as three lines in anybody's training loop
faal.audit(model, images, labels)      class-wise robust accuracy with intervals
"""

from faal.errors import InputError
from faal.intermediate.kldro import solve_kldro
from faal.intermediate.rules.faal import FAAL

__version__ = "0.1.0"
__all__ = ["FAAL", "InputError", "__version__", "audit", "solve_kldro"]


def __getattr__(name: str) -> object:
    # The audit draws in SciPy and AutoAttack; whoever wants the rule alone does not wait for them.
    if name == "audit":
        import faal.audit

        return faal.audit
    raise AttributeError(f"module 'faal' has no attribute {name!r}")
