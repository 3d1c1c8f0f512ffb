import pytest
from scipy.stats import binom

from faal.audit.statistics.intervals import LEVEL, exceeds


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("of", [1, 5, 16, 28, 64, 256])
def test_a_false_alarm_is_as_seldom_as_stated_and_no_seldomer_than_needed(of: int, share: float) -> None:
    """The probabilities of all counts, summed: exact, against the binomial distribution itself."""
    alarms = [count for count in range(of + 1) if exceeds(count, of, share)]
    assert binom.pmf(alarms, of, share).sum() <= LEVEL
    least = min(alarms, default=of + 1)
    assert alarms == list(range(least, of + 1))
    assert binom.pmf(range(least - 1, of + 1), of, share).sum() > LEVEL


def test_of_nothing_nothing_exceeds() -> None:
    assert not exceeds(0, 0, 0.1)
