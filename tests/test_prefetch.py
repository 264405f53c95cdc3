"""Work side by side: in order, one step ahead and no further, with a clean end."""

import threading
from collections.abc import Iterator

import pytest
from pyserini_rerank.prefetch import prefetched


def test_each_is_made_while_the_one_before_it_is_used() -> None:
    begun = [threading.Event() for _ in range(5)]
    threads = []

    def make(number: int) -> int:
        begun[number].set()
        threads.append(threading.current_thread())
        return number * number

    for number, made in enumerate(prefetched(make, range(5))):
        assert made == number * number
        if number < 4:
            assert begun[number + 1].wait(10)
        assert not any(event.is_set() for event in begun[number + 2 :]), "one waits, and no more"
    assert len(set(threads)) == 1 and threading.main_thread() not in threads


@pytest.mark.parametrize("count", [0, 1])
def test_few_need_no_thread(count: int) -> None:
    made = list(prefetched(lambda number: (number, threading.current_thread()), range(count)))
    assert made == [(number, threading.main_thread()) for number in range(count)]


def test_an_error_comes_in_its_place() -> None:
    found = []
    with pytest.raises(ZeroDivisionError):
        for made in prefetched(lambda number: 6 // number, [3, 2, 1, 0, 1]):
            found.append(made)
    assert found == [2, 3, 6]


def test_who_stops_leaves_no_thread_and_begins_nothing() -> None:
    asked = []

    def items() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    before = threading.active_count()
    made = prefetched(lambda number: number, items())
    assert next(made) == 0 and next(made) == 1
    made.close()
    assert asked == [0, 1, 2] and threading.active_count() == before


def test_several_at_once() -> None:
    """Three are made together, and come in order; five are begun while the caller has one, and no more."""
    together, begun = threading.Barrier(3, timeout=60), []

    def make(number: int) -> int:
        begun.append(number)
        if number < 3:
            together.wait()
        return number

    for number, made in enumerate(prefetched(make, range(12), threads=3, most=5)):
        assert made == number and len(begun) <= number + 6
    assert sorted(begun) == list(range(12))
