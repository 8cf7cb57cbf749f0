"""How many seeds a comparison of two methods needs."""

import math

from scipy import stats


def power(gain: float, sd: float, n: int, paired: bool = False, level: float = 0.95) -> float:
    """Chance that a two-sided t test at ``level`` sees a true gain.

    Args:
        gain: true difference of the two methods' means, in the unit of ``sd``.
        sd: standard deviation over seeds of each method; where ``paired``, of the difference within a seed.
        n: seeds per method, >= 2.
    """
    if n < 2 or sd <= 0:
        raise ValueError(f"n must be at least 2 and sd positive, got {n} and {sd}")
    freedom, scaled = (n - 1, gain / sd * math.sqrt(n)) if paired else (2 * n - 2, gain / sd * math.sqrt(n / 2))
    critical = stats.t.ppf((1 + level) / 2, freedom)
    return float(stats.nct.sf(critical, freedom, scaled) + stats.nct.cdf(-critical, freedom, scaled))


def seeds_needed(gain: float, sd: float, paired: bool = False, level: float = 0.95, wanted: float = 0.8) -> int:
    """Fewest seeds per method with which `power` reaches ``wanted``."""
    if gain == 0:
        raise ValueError("gain must not be 0: no number of seeds shows a difference that is not there")
    # The normal approximation is close from below; the t distribution decides.
    quantiles = stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(wanted)
    n = max(2, int((1 if paired else 2) * (quantiles * sd / gain) ** 2))
    while n > 2 and power(abs(gain), sd, n - 1, paired, level) >= wanted:
        n -= 1
    while power(abs(gain), sd, n, paired, level) < wanted:
        n += 1
    return n
