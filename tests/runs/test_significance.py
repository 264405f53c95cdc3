"""Tests of significance and corrections, against scipy and against the definitions."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyserini_rerank.runs.measures import default_measures, parse_measures
from pyserini_rerank.runs.significance import CORRECTIONS, bonferroni, holm, randomisation_test, t_test
from scipy.stats import permutation_test, ttest_rel

VALUES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12)


@given(VALUES)
@settings(deadline=None)
def test_the_t_test_is_scipys(pairs: list[tuple[float, float]]) -> None:
    values, baseline = np.array(pairs).T
    differences = np.subtract(values, baseline)
    if not differences.any():
        assert t_test(values, baseline) is None
    elif np.ptp(differences) > 1e-9:
        assert t_test(values, baseline) == pytest.approx(ttest_rel(values, baseline).pvalue, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 11])
def test_the_randomisation_test_tries_all_signs(n: int) -> None:
    numbers = np.random.default_rng(n)
    values, baseline = numbers.random(n), numbers.random(n)
    differences = values - baseline
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=n)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    assert randomisation_test(values, baseline) == pytest.approx(expected)
    theirs = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert randomisation_test(values, baseline) == pytest.approx(theirs)


def test_the_randomisation_test_of_many_topics_is_near_the_t_test_and_repeats() -> None:
    numbers = np.random.default_rng(3)
    values = numbers.random(200)
    baseline = values - numbers.normal(0.01, 0.1, 200)
    p = randomisation_test(values, baseline)
    assert p == randomisation_test(values, baseline) and p == pytest.approx(t_test(values, baseline), abs=0.02)
    assert randomisation_test(values, values - 0.5) == pytest.approx(1 / 10_001), "never 0"


def test_topics_that_do_not_differ_change_nothing() -> None:
    values, baseline = np.array([0.9, 0.8, 0.7, 0.2]), np.array([0.1, 0.2, 0.9, 0.1])
    padded = [np.concatenate([part, np.full(30, 0.5)]) for part in (values, baseline)]
    assert randomisation_test(*padded) == randomisation_test(values, baseline)
    for same in (t_test, randomisation_test):
        assert same([0.5, 0.5], [0.5, 0.5]) is None and same([1.0], [0.0]) is None
    assert t_test([1.0, 1.0, 1.0], [0.5, 0.5, 0.5]) == 0.0


@pytest.mark.filterwarnings("error")
def test_the_last_bits_of_values_decide_nothing() -> None:
    """0.3 - 0.2 is not quite 0.2 - 0.1: such gains are equal, and a sum of 0 is the least that there is."""
    assert t_test([0.3, 0.2], [0.2, 0.1]) == 0.0
    assert randomisation_test([0.1, 0.2, 0.0], [0.0, 0.0, 0.3]) == 1.0
    assert randomisation_test([0.1] * 10 + [0.2] * 10 + [0.0] * 10, [0.0] * 20 + [0.3] * 10) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_corrections_by_their_definitions(p_values: list[float]) -> None:
    m = len(p_values)
    assert bonferroni(p_values) == [min(1.0, m * p) for p in p_values]
    ordered = sorted(p_values)
    stepwise = [max(min(1.0, (m - j) * ordered[j]) for j in range(i + 1)) for i in range(m)]
    assert sorted(holm(p_values)) == stepwise
    for correct in CORRECTIONS.values():
        corrected = correct(p_values)
        assert all(new >= old for new, old in zip(corrected, p_values, strict=True))
        for i, j in product(range(m), repeat=2):  # the order stays
            assert p_values[i] > p_values[j] or corrected[i] <= corrected[j]


def test_measures_are_read_by_both_names_and_tried() -> None:
    names = ["nDCG@10", "ndcg_cut_10", "map", "AP(rel=3)", "P@5", "P@5"]
    assert list(map(str, parse_measures(names, level=2))) == ["nDCG@10", "AP(rel=2)", "AP(rel=3)", "P(rel=2)@5"]
    assert parse_measures(None, 2) == default_measures(2) and parse_measures(default_measures(2)) == default_measures(2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nDGC@10", "'nDGC@10' is no measure of ir-measures"),
        (10, "10 is no measure of ir-measures"),
        ("P", "the measure P needs its cutoff: name it as in P@10"),
        ("P@0", "the measure P@0 cannot be computed: cutoff is 0, and has to be 1 or more"),
        ("AP(rel=0)", "the measure AP\\(rel=0\\) cannot be computed: rel is 0"),
        ("AP(rl=2)", "cannot be computed: unsupported params found: \\['rl'\\]"),
        ("alpha_nDCG@10", "the measure alpha_nDCG@10 cannot be computed: .*pyndeval"),
        ("nDCG@10,AP", "is no measure of ir-measures"),
    ],
)
def test_a_measure_that_cannot_be_is_named(name: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_measures([name])
    assert "\n" not in str(error.value)
