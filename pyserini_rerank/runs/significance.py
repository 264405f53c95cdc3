"""Significance: paired tests of two systems on the same queries, and corrections for several comparisons."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

#: The number of resamples of a randomisation test, if there are too many queries to try all sign changes.
RESAMPLES = 10_000
#: The number of differences that a randomisation test holds in memory at once.
TOGETHER = 2_000_000
#: Below this share of them, differences between numbers come from their last bits.
EXACT = 1e-12


def t_test(values: ArrayLike, baseline: ArrayLike) -> float | None:
    """Give p of the two-sided paired t-test; None if no query differs, or if there is only one query.

    Parameters
    ----------
    values, baseline : float (n,)
        The value of each query, in the same order.
    """
    differences = np.subtract(values, baseline)
    if len(differences) < 2 or not differences.any():
        return None
    from scipy.stats import ttest_1samp

    if np.ptp(differences) < EXACT * abs(differences).max():  # of no variance: scipy warns, and gives about 0 as well
        return 0.0
    return float(ttest_1samp(differences, 0).pvalue)


def randomisation_test(values: ArrayLike, baseline: ArrayLike) -> float | None:
    """Give p of Fisher's two-sided randomisation test: how often a mean difference at least as large comes by chance.

    Under the null hypothesis each query's difference has a random sign. If up to 16 queries differ, all combinations of
    signs are tried; otherwise 10,000 random combinations are tried, the same in every call (Smucker, Allan and
    Carterette, CIKM 2007). Parameters, and the cases of None, are those of `t_test`.
    """
    differences = np.subtract(values, baseline).astype(np.float64)
    if len(differences) < 2 or not differences.any():
        return None
    differences = differences[differences != 0]  # a sign does not change a difference of 0
    n = len(differences)
    observed = abs(differences.sum()) - EXACT * abs(differences).sum()
    if 2**n <= 2**16:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(abs(signs @ differences) >= observed))
    generator, extreme = np.random.default_rng(0), 0
    step = max(1, TOGETHER // n)
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        signs = 1 - 2 * generator.integers(0, 2, size=(count, n), dtype=np.int8)
        extreme += int(np.count_nonzero(abs(signs @ differences) >= observed))
    return (extreme + 1) / (RESAMPLES + 1)  # the observed signs are one combination, too


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """Correct p for several comparisons: multiply it by their number, to 1 at most."""
    return [min(1.0, p * len(p_values)) for p in p_values]


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p for several comparisons by Holm's step-down method (Scandinavian Journal of Statistics, 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(order.tolist()):
        largest = max(largest, min(1.0, p_values[position] * (len(p_values) - rank)))
        corrected[position] = largest
    return corrected


TESTS: dict[str, Callable[[Any, Any], float | None]] = {"t-test": t_test, "randomisation": randomisation_test}
CORRECTIONS: dict[str, Callable[[Sequence[float]], list[float]]] = {
    "none": list,
    "bonferroni": bonferroni,
    "holm": holm,
}
