"""When a count is evidence: tests with a stated chance of a false alarm."""

from faal.audit.statistics.intervals import lower_bounds

LEVEL = 1e-3
"""The chance of a false alarm that a sign of misuse may take."""


def exceeds(count: int, of: int, share: float, level: float = LEVEL) -> bool:
    """Whether `count` of `of` is more than chance makes of a true share of at most `share`.

    The exact one-sided binomial test: where the share is no larger, it says so with probability `level` at most.
    """
    return float(lower_bounds(count, of, level)) > share
