"""The split of training data: no query, and no relevant document, tells one split about another."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyserini_rerank.training.splitting import (
    check_apart,
    check_shares,
    relevant,
    split_as_named,
    split_by_shares,
    words,
)

QIDS = [f"q{number}" for number in range(30)]
#: Few words and few documents, so that many queries are related, also by way of others.
QUERIES = st.sampled_from(
    ["copy a file", "Copy a FILE?", "copy, a file!", "read", "write", "?", "!", "straße", "STRASSE"]
)
OWN_QUERIES = st.integers(0, 10_000).map(lambda number: f"query {number}")
TOPICS = st.dictionaries(st.sampled_from(QIDS), QUERIES | OWN_QUERIES, min_size=1)
GRADES = st.dictionaries(st.integers(0, 40).map("d{}".format), st.integers(-1, 3), max_size=3)
QRELS = st.fixed_dictionaries(dict.fromkeys(QIDS, GRADES))
SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.4])
quickly = settings(max_examples=80, deadline=None, derandomize=True, database=None)


def related(topics, qrels, level, one, other) -> bool:
    """Whether two queries must not be in different splits, from the definition and not from the code under test."""
    return words(topics[one]) == words(topics[other]) or bool(
        relevant(qrels, one, level) & relevant(qrels, other, level)
    )


@quickly
@given(TOPICS, QRELS, st.integers(1, 3), SHARES, SHARES, st.integers(0, 5))
def test_related_queries_are_in_one_split_and_shares_are_not_exceeded(topics, qrels, level, validation, test, seed):
    shares = {"validation": validation, "test": test}
    splits = split_by_shares(topics, qrels, level, shares, seed)
    assert list(splits) == list(topics) and set(splits.values()) <= {"train", "validation", "test"}
    for one, other in combinations(topics, 2):
        if related(topics, qrels, level, one, other):
            assert splits[one] == splits[other]
    counts = Counter(splits.values())
    for name, share in shares.items():
        assert counts[name] <= round(share * len(topics))
    assert splits == split_by_shares(topics, qrels, level, shares, seed)
    check_apart({name: {qid: topics[qid] for qid in topics if splits[qid] == name} for name in ("train", *shares)})


@quickly
@given(st.integers(1, 60), SHARES, SHARES, st.integers(0, 5))
def test_queries_that_are_not_related_fill_the_shares(count, validation, test, seed):
    topics = {str(number): f"query {number}" for number in range(count)}
    shares = {"validation": validation, "test": test}
    counts = Counter(split_by_shares(topics, {qid: {} for qid in topics}, 1, shares, seed).values())
    assert counts["test"] == round(test * count)
    assert counts["validation"] == min(round(validation * count), count - round(test * count))


def test_small_groups_fill_the_shares_although_a_large_group_does_not_fit():
    """Ninety queries are related to each other, by way of others, and ten are alone."""
    topics = {str(number): f"query {number}" for number in range(100)}
    qrels = {str(number): {f"d{number}": 1, f"d{number + 1}": 1} for number in range(90)}
    qrels |= {str(number): {f"alone{number}": 1} for number in range(90, 100)}
    splits = split_by_shares(topics, qrels, 1, {"validation": 0.05, "test": 0.05}, 0)
    assert Counter(splits.values()) == {"train": 90, "validation": 5, "test": 5}
    assert {splits[str(number)] for number in range(90)} == {"train"}


def test_a_seed_decides():
    topics = {str(number): f"query {number}" for number in range(40)}
    qrels = {qid: {f"d{qid}": 1} for qid in topics}
    made = [split_by_shares(topics, qrels, 1, {"validation": 0.2, "test": 0.2}, seed) for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_a_document_below_the_level_relates_nothing():
    topics = {str(number): f"query {number}" for number in range(10)}
    qrels = {qid: {"shared": 1, f"own{qid}": 2} for qid in topics}
    shares = {"validation": 0.0, "test": 0.3}
    assert Counter(split_by_shares(topics, qrels, 2, shares, 0).values()) == {"train": 7, "test": 3}
    assert Counter(split_by_shares(topics, qrels, 1, shares, 0).values()) == {"train": 10}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("how to copy a file", "How to copy a file?", True),
        ("straße", "STRASSE", True),
        ("a  b\tc", "a b c", True),
        ("Ελλάδα", "ελλάδα", True),
        ("file", "files", False),
        ("?", "!", False),
        ("c", "c++", True),
    ],
)
def test_words(one, other, same):
    assert (words(one) == words(other)) is same


def test_named_queries_and_their_words():
    topics = {"a": "copy a file", "b": "Copy a file?", "c": "read", "d": "write", "e": "read!"}
    named = {"validation": ["c"], "test": ["a"]}
    assert split_as_named(topics, named) == {"a": "test", "c": "validation", "d": "train"}
    assert split_as_named(topics, {"validation": [], "test": []}) == dict.fromkeys(topics, "train")
    assert split_as_named(topics, {"validation": [], "test": ["a", "b", "a"]}) == {
        **{"a": "test", "b": "test"},
        **dict.fromkeys("cde", "train"),
    }
    for wrong, said in (
        ({"validation": ["a"], "test": ["a"]}, "the query 'a' ('copy a file') is in test= and in validation=: leave"),
        ({"validation": ["b"], "test": ["a"]}, "the query 'b' ('Copy a file?') is in test= and in validation=: leave"),
        ({"validation": ["x"], "test": []}, "validation= names the query 'x', which is no topic with a relevant"),
    ):
        with pytest.raises(ValueError) as error:
            split_as_named(topics, wrong)
        assert said in str(error.value) and "\n" not in str(error.value)


@quickly
@given(TOPICS, st.data())
def test_named_queries_share_no_words_with_those_to_train_on(topics, data):
    held_out = data.draw(st.lists(st.sampled_from(sorted(topics)), unique=True))
    splits = split_as_named(topics, {"validation": [], "test": held_out})
    assert [qid for qid in splits if splits[qid] == "test"] == held_out
    tested = {words(topics[qid]) for qid in held_out}
    assert {qid for qid in splits if splits[qid] == "train"} == {
        qid for qid in topics if words(topics[qid]) not in tested
    }


def test_shares_that_leave_nothing_and_a_share_beside_qids():
    check_shares({"validation": 0.5, "test": 0.4})
    check_shares({"validation": [], "test": ["q1"]})
    with pytest.raises(
        ValueError, match=r"^validation= and test= take all queries \(100%\): leave some to train on\.$"
    ):
        check_shares({"validation": 0.5, "test": 0.5})
    with pytest.raises(ValueError, match=r"^validation= and test=: give two shares, or the qids of both"):
        check_shares({"validation": 0.5, "test": ["q1"]})


def test_queries_in_two_splits_are_found_by_qid_and_by_words():
    apart = {"train": {"a": "one"}, "validation": {"b": "two"}, "test": {"c": "three"}}
    check_apart(apart)
    for wrong, said in (
        ({"test": {"a": "three"}}, "the query 'a' ('three') is in train and in test: make the data anew."),
        ({"validation": {"b": "One!"}}, "the query 'b' ('One!') is in train and in validation: make the data anew."),
    ):
        with pytest.raises(ValueError) as error:
            check_apart(apart | wrong)
        assert str(error.value) == said
