"""The choice of a query's documents, and the windows of long ones: their rules, for any documents."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyserini_rerank.training.selection import Selection
from pyserini_rerank.training.teacher import spans
from pyserini_rerank.training.training_data import Document

quickly = settings(max_examples=120, deadline=None, derandomize=True, database=None)
GRADES = st.none() | st.integers(-1, 3)
SCORES = st.integers(-20, 20).map(lambda number: number / 4)


@st.composite
def documents(draw):
    """Ranked candidates, and documents that were added, which have no rank; each with a teacher's score."""
    ranked = [(grade, rank) for rank, grade in enumerate(draw(st.lists(GRADES, max_size=20)), 1)]
    added = [(grade, None) for grade in draw(st.lists(GRADES, max_size=5))]
    return [
        Document(f"d{number}", "", grade, rank, draw(SCORES)) for number, (grade, rank) in enumerate(ranked + added)
    ]


@st.composite
def selections(draw):
    first = draw(st.integers(1, 10))
    return Selection(
        positives=draw(st.none() | st.integers(1, 4)),
        negatives=draw(st.integers(1, 6)),
        ranks=draw(st.none() | st.just((first, first + draw(st.integers(0, 10))))),
        random_negatives=draw(st.integers(0, 3)),
        margin=draw(st.none() | SCORES),
        level=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 3)),
    )


@pytest.mark.slow
@quickly
@given(selections(), documents(), st.integers(0, 9).map(str))
def test_chosen(selection, given_documents, qid):
    level, (first, last) = selection.level, selection.ranks or (1, 1000)
    chosen = selection.chosen(qid, given_documents)
    assert chosen == [document for document in given_documents if document in chosen], "the order stays"
    relevant = [document for document in given_documents if (document.grade or 0) >= level]
    positives = [document for document in chosen if document in relevant]
    assert len(positives) == min(len(relevant), selection.positives or len(relevant))
    left = [document.grade for document in relevant if document not in positives]
    assert not left or max(left) <= min(document.grade for document in positives), "the best grades are taken"
    others = [document for document in given_documents if document not in relevant]
    if selection.margin is not None and positives:
        limit = max(document.teacher_score for document in positives) - selection.margin
        others = [document for document in others if document.teacher_score <= limit]
    in_range = [document for document in others if document.rank is not None and first <= document.rank <= last]
    negatives = [document for document in chosen if document not in relevant]
    assert [document for document in negatives if document.rank is None] == [
        document for document in others if document.rank is None
    ]
    ranked = [document for document in negatives if document.rank is not None]
    assert len(ranked) == min(len(in_range), selection.negatives) and all(document in in_range for document in ranked)
    assert chosen == selection.chosen(qid, given_documents) == selection.chosen(qid, chosen), (
        "nothing is left to chance"
    )
    assert selection.can_train(chosen) is bool(positives and negatives)


@quickly
@given(selections(), documents())
def test_a_teacher_scores_all_that_may_be_chosen(selection, given_documents):
    scored = selection.scored_by_teacher("q", given_documents)
    assert selection.chosen("q", scored) == selection.chosen("q", given_documents)
    if selection.margin is None:
        assert scored == selection.chosen("q", given_documents), "and nothing else"


@quickly
@given(st.integers(0, 60), st.integers(0, 20), st.sets(st.integers(0, 80)), st.integers(0, 5))
def test_random_docids(size, count, known, seed):
    pool, known = [str(number) for number in range(size)], {str(number) for number in known}
    selection = Selection(negatives=1, random_negatives=count, seed=seed)
    drawn = selection.random_docids("q", pool, known)
    assert len(set(drawn)) == len(drawn) == min(count, len(set(pool) - known))
    assert set(drawn) <= set(pool) - known
    assert drawn == selection.random_docids("q", pool, known)


def test_another_seed_and_another_query_choose_others():
    given_documents = [Document(f"d{rank}", "", None, rank) for rank in range(1, 101)]
    made = [Selection(seed=seed).chosen(qid, given_documents) for seed, qid in ((0, "a"), (0, "b"), (1, "a"))]
    assert made[0] != made[1] and made[0] != made[2]
    pool = [document.docid for document in given_documents]
    drawn = [
        Selection(random_negatives=5, seed=seed).random_docids(qid, pool, set())
        for seed, qid in ((0, "a"), (0, "b"), (1, "a"))
    ]
    assert drawn[0] != drawn[1] and drawn[0] != drawn[2]


def test_numbers_of_numpy_become_pythons():
    selection = Selection(
        np.int64(1), np.int32(2), np.array([3, 4]), np.int8(5), np.float32(0.5), np.int64(2), np.int64(7)
    )
    assert selection == Selection(1, 2, (3, 4), 5, 0.5, 2, 7)
    assert {type(value) for value in vars(selection).values()} == {int, float, tuple}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"positives": 0}, "positives is 0: give 1 or more."),
        ({"negatives": -1}, "negatives is -1: give 0 or more."),
        ({"negatives": 1.5}, "negatives is 1.5: give a whole number."),
        ({"negatives": 0}, "negatives=0 and random_negatives=0: a reranker needs documents that are not relevant."),
        ({"random_negatives": -1}, "random_negatives is -1: give 0 or more."),
        ({"ranks": (20, 10)}, "ranks=20, 10: give the first rank of a negative, and then the last."),
        ({"ranks": (1, 2, 3)}, "ranks=1, 2, 3: give the first rank of a negative, and then the last."),
        ({"ranks": (0, 3)}, "ranks is 0: give 1 or more."),
        ({"ranks": 3}, "ranks is a int: give a list."),
        ({"margin": float("nan")}, "margin=nan: give a number, such as 0."),
        ({"margin": "wide"}, "margin='wide': give a number, such as 0."),
        ({"level": 0}, "level is 0: give 1 or more."),
        ({"seed": "x"}, "seed is 'x': give a whole number."),
    ],
)
def test_bad_numbers(wrong, said):
    with pytest.raises((ValueError, TypeError)) as error:
        Selection(**wrong)
    assert str(error.value) == said


@quickly
@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.integers(1, 15), st.data())
def test_spans(lengths, size, data):
    """They cover all words in their order; each is within the size, or one word; each begins a stride behind."""
    stride = data.draw(st.integers(1, size))
    found = spans(lengths, size, stride)
    assert found[0][0] == 0 and found[-1][1] == len(lengths)
    for first, last in found:
        assert first < last and (sum(lengths[first:last]) <= size or last == first + 1)
    for (first, last), (next_first, next_last) in zip(found, found[1:], strict=False):
        assert first < next_first <= last < next_last or (first < next_first <= last == next_last)
        step = sum(lengths[first:next_first])
        assert step >= stride or next_first == last, "a shorter step is one that would leave a word out"
        assert sum(lengths[first : next_first - 1]) < stride, "the first word that is far enough"
        assert last < len(lengths), "only the last window reaches the end"


def test_spans_of_equal_words():
    assert spans([1] * 10, 4, 2) == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert spans([1] * 10, 4, 4) == [(0, 4), (4, 8), (8, 10)]
    assert spans([1] * 3, 4, 2) == [(0, 3)]
    assert spans([9, 1, 9], 4, 2) == [(0, 1), (1, 2), (2, 3)]
