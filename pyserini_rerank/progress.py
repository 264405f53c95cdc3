"""Progress bars on a terminal and in a notebook; every bar of the package is drawn here."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

VARIABLE = "PYSERINI_RERANK_PROGRESS"
#: Seconds after which a bar is shown.
DELAY = 2
#: The rate is that of queries or tokens. Fractions of a query are not shown.
FORMAT = "{l_bar}{bar}| {n:,.0f}/{total:,.0f}{unit} [{elapsed}<{remaining}, {rate_fmt}]"

_bar_around: ContextVar["tqdm[Any] | None"] = ContextVar("bar_around", default=None)
_advance: ContextVar[Callable[[float], None] | None] = ContextVar("advance", default=None)


def progress_bars(shown: bool) -> None:
    """Switch progress bars on or off, in this process and in those that it starts from now on.

    Bars are shown on a terminal and in a notebook, for work that takes longer than two seconds. The environment
    variable ``PYSERINI_RERANK_PROGRESS=0`` does the same; tqdm's own ``TQDM_DISABLE=1`` is honoured as well.
    """
    os.environ[VARIABLE] = "1" if shown else "0"


def bar(total: float | None, description: str, unit: str, **options: Any) -> "tqdm[Any]":
    """Make a bar; `options` are those of tqdm."""
    from tqdm.auto import tqdm

    off = os.environ.get(VARIABLE) == "0" or bool(os.environ.get("TQDM_DISABLE"))
    # For None tqdm finds out itself whether there is a terminal.
    settings = {"delay": DELAY, "leave": False, "disable": off or None, **options}
    return tqdm(total=total, desc=description, unit=unit, **settings)


@contextmanager
def queries_bar(total: int, description: str, *, done: int = 0, leave: bool = False) -> Iterator[Callable[[int], None]]:
    """Show how many queries are done.

    Parameters
    ----------
    total : int
        The number of queries.
    done : int
        How many of them were done before. They do not count for the estimate.
    leave : bool
        Leave the bar on the terminal when it is at its end.

    Yields
    ------
    callable
        Call it with the number of queries that are done by now. In between, scoring within `moving_queries_bar` moves
        the bar.
    """
    with bar(total, description, " queries", initial=done, leave=leave, bar_format=FORMAT) as shown:
        token = _bar_around.set(shown)

        def reach(count: int) -> None:
            shown.total = max(shown.total, count)  # which the bar cannot show beyond its end
            shown.update(count - shown.n)
            shown.n = count  # removes the rounding error of the fractions that were added

        try:
            yield reach
            reach(shown.total)  # lines may have been left out, and a notebook's bar takes no other total
        finally:
            _bar_around.reset(token)


@contextmanager
def moving_queries_bar(queries: int, scorings: int) -> Iterator[None]:
    """Let each `scoring_bar` within this context move the `queries_bar` around it, where there is one.

    Parameters
    ----------
    queries : int
        How many queries the scoring bars move it by, together and at most.
    scorings : int
        The number of scoring bars; each moves it by an equal share.
    """
    around = _bar_around.get()
    if around is None:
        yield
        return
    end = min(around.n + queries, around.total)

    def advance(share: float) -> None:
        around.update(max(0.0, min(share * queries / scorings, end - around.n)))

    token = _advance.set(advance)
    try:
        yield
    finally:
        _advance.reset(token)


@contextmanager
def bars_apart() -> Iterator[None]:
    """Have the `scoring_bar`s that are opened within be bars of their own, whatever is around them: a search within
    a batch is no progress of the batch."""
    tokens = _bar_around.set(None), _advance.set(None)
    try:
        yield
    finally:
        _bar_around.reset(tokens[0])
        _advance.reset(tokens[1])


@contextmanager
def scoring_bar(tokens: float) -> Iterator[Callable[[float], Any]]:
    """Show how many tokens are scored, with a bar of its own or by moving the `queries_bar` around it.

    Yields
    ------
    callable
        Call it with the number of tokens that were scored since the last call.
    """
    advance = _advance.get()
    if advance is not None:
        yield lambda scored: advance(scored / tokens)
        return
    with bar(tokens, "reranking", " tokens", unit_scale=True) as shown:
        yield shown.update


def say(line: str) -> None:
    """Write a line to stderr, above the bars."""
    from tqdm.auto import tqdm

    tqdm.write(line, file=sys.stderr)
