"""The order and the scores of a reranked list, as the design's rule 2 has them."""

import math

import numpy as np
import pytest
from pyserini_rerank.ranking import Ranking, arrange


def float32(*scores: float) -> np.ndarray:
    return np.array(scores, dtype=np.float32)


def check(scores: np.ndarray, count: int) -> tuple[list[int], np.ndarray]:
    """Arrange, and hold the result against rule 2, written anew in plain Python."""
    positions, arranged = arrange(Ranking(scores), count)
    assert arranged.dtype == np.float32
    positions = positions.tolist()

    scored = [rank for rank, score in enumerate(scores.tolist()) if not math.isnan(score)]
    best_first = sorted(scored, key=lambda rank: (-float(scores[rank]), rank))
    rest = [rank for rank in range(count) if rank not in set(scored)]
    assert positions == best_first + rest
    # What the model said of a hit is what the hit gets.
    assert np.array_equal(arranged[: len(scored)], scores[best_first])

    values = arranged.tolist()
    assert all(math.isfinite(value) for value in values)
    assert all(above >= below for above, below in zip(values, values[1:], strict=False))
    tail = values[max(len(scored) - 1, 0) :]
    assert all(above > below for above, below in zip(tail, tail[1:], strict=False))
    printed = [float(f"{value:.6f}") for value in tail]
    assert all(above > below for above, below in zip(printed, printed[1:], strict=False))
    return positions, arranged


def test_the_best_come_first_and_ties_keep_their_first_stage_order() -> None:
    positions, scores = check(float32(1, 3, 2, 3, 1), 5)
    assert positions == [1, 3, 2, 0, 4]
    assert scores.tolist() == [3, 3, 2, 1, 1]


def test_all_equal_is_the_first_stage() -> None:
    assert check(float32(*[0.5] * 40), 40)[0] == list(range(40))


def test_what_is_below_the_depth_follows_in_first_stage_order() -> None:
    positions, scores = check(float32(-4, 6), 5)
    assert positions == [1, 0, 2, 3, 4]
    assert scores[:2].tolist() == [6, -4]
    assert -4.1 < scores[4] < scores[2] < -4


def test_what_was_not_scored_goes_below_what_was() -> None:
    assert check(float32(np.nan, -9, np.nan, 2), 6)[0] == [3, 1, 0, 2, 4, 5]


def test_nothing_scored_is_the_first_stage_below_zero() -> None:
    positions, scores = check(float32(np.nan, np.nan), 3)
    assert positions == [0, 1, 2]
    assert (scores < 0).all()


def test_nothing_found() -> None:
    positions, scores = arrange(Ranking(float32()), 0)
    assert len(positions) == len(scores) == 0


@pytest.mark.parametrize("lowest", [0.0, -0.0, 1e-30, -1e-30, 1.5, -11.25, 12345.678, -12345.678, 3e9, -3e9, -1e37])
@pytest.mark.parametrize("length", [1, 10_000])
def test_the_tail_falls_strictly_whatever_the_lowest_score(lowest: float, length: int) -> None:
    positions, _ = check(float32(lowest, lowest), 2 + length)
    assert positions == list(range(2 + length))


def test_scores_that_only_float32_tells_apart_stay_apart() -> None:
    close = np.nextafter(np.float32(8), np.float32(9))
    positions, scores = check(np.array([8, close], dtype=np.float32), 2)
    assert positions == [1, 0]
    assert scores[0] > scores[1]


@pytest.mark.parametrize("seed", range(300))
def test_rule_2_in_random_cases(seed: int) -> None:
    random = np.random.default_rng(seed)
    depth, below = int(random.integers(0, 60)), int(random.choice([0, 1, 7, 400]))
    scale = float(10.0 ** random.integers(-8, 12))
    scores = random.normal(random.normal(), 1, depth) * scale
    if seed % 3 == 0:
        scores = np.round(scores / scale) * scale  # many ties
    scores = scores.astype(np.float32)
    if seed % 4 == 0:
        scores[random.random(depth) < 0.3] = np.nan
    check(scores, depth + below)


def test_those_left_behind_follow_in_their_own_order_before_the_rest() -> None:
    ranking = Ranking(float32(np.nan, 2, np.nan, np.nan, 5), np.array([3, 0]))
    positions, scores = arrange(ranking, 7)
    assert positions.tolist() == [4, 1, 3, 0, 2, 5, 6]
    assert scores[:2].tolist() == [5, 2] and np.all(np.diff(scores[1:]) < 0)
    assert ranking.scored == 2 and ranking.order.tolist() == [4, 1, 3, 0]
    filled = ranking.filled()
    assert filled[[4, 1]].tolist() == [5, 2] and filled[3] > filled[0] and np.isnan(filled[2])
