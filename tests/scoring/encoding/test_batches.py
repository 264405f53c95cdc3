"""Pairs of different lengths in batches that fit a budget."""

import inspect

import numpy as np
import pytest
from pyserini_rerank.scoring.encoding.batches import batch_by_length


def random_lengths(seed, n=500, longest=512):
    return np.random.default_rng(seed).integers(5, longest + 1, n).tolist()


def padded(lengths, batch):
    return max(lengths[i] for i in batch) * len(batch)


@pytest.mark.parametrize("budget", [1, 100, 512, 513, 2048, 65_536, 10**9])
@pytest.mark.parametrize("seed", range(3))
def test_every_position_comes_once(seed, budget):
    lengths = random_lengths(seed)
    assert sorted(np.concatenate(batch_by_length(lengths, budget)).tolist()) == list(range(len(lengths)))


@pytest.mark.parametrize("budget", [1, 100, 512, 513, 2048, 65_536])
def test_the_budget_holds_with_padding_and_only_single_pairs_exceed_it(budget):
    lengths = random_lengths(7)
    packed = batch_by_length(lengths, budget)
    for batch in packed:
        assert padded(lengths, batch) <= budget or len(batch) == 1
    if budget < 5:
        assert len(packed) == len(lengths)


def test_batches_are_full():
    """The first pair of the next batch would not have fitted."""
    lengths = random_lengths(8)
    packed = batch_by_length(lengths, 2048)
    for batch in packed[:-1]:
        assert max(lengths[i] for i in batch) * (len(batch) + 1) > 2048


def test_longest_first_and_equal_ones_in_order():
    lengths = [7, 512, 7, 30, 512, 7]
    assert np.concatenate(batch_by_length(lengths, 1024)).tolist() == [1, 4, 3, 0, 2, 5]
    assert [batch.tolist() for batch in batch_by_length(lengths, 600)] == [[1], [4], [3, 0, 2, 5]]


def test_a_function_of_the_lengths_alone():
    assert list(inspect.signature(batch_by_length).parameters) == ["lengths", "budget"]
    lengths = random_lengths(9)
    first = [batch.tolist() for batch in batch_by_length(lengths, 2048)]
    assert first == [batch.tolist() for batch in batch_by_length(list(lengths), 2048)]
    assert first == [batch.tolist() for batch in batch_by_length(np.array(lengths), 2048)]


def test_padding_is_little():
    """Sorted by length, what is padded of 5,000 pairs is a small part."""
    lengths = random_lengths(10, 5000)
    packed = batch_by_length(lengths, 16_384)
    assert sum(padded(lengths, batch) for batch in packed) < 1.05 * sum(lengths)


@pytest.mark.parametrize("budget", [1, 2048])
def test_no_pairs(budget):
    assert batch_by_length([], budget) == []


def test_one_pair():
    assert [batch.tolist() for batch in batch_by_length([600], 512)] == [[0]]


def test_positions_index_arrays():
    [batch] = batch_by_length([5, 6], 100)
    assert batch.dtype.kind == "i"
    assert np.array(["a", "b"])[batch].tolist() == ["b", "a"]


def test_a_million_pairs_take_seconds():
    lengths = random_lengths(11, 1_000_000)
    assert len(batch_by_length(lengths, 65_536)) > 3000
