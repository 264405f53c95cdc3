"""Pairs to time a checkpoint on: made up with MS MARCO's lengths, or read from a file."""

import json
import random
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from ..files.reading import lines_of

#: Evenly spaced quantiles of the lengths of TREC DL 2019's queries and BM25's top 100 passages, in BERT's tokens.
QUERY_TOKENS = (4, 4, 5, 6, 6, 7, 7, 7, 9, 10, 13)
PASSAGE_TOKENS = (19, 42, 49, 53, 56, 59, 62, 65, 68, 71, 75, 79, 85, 92, 100, 108, 116, 125, 136, 152, 258)
#: Words of one token each.
WORDS = (
    "the of and to in is for on as with that by at from this are was it be or an has not have which can more one "
    "about when also time people may other some its will make used water most first new years number between"
)


def generated_pairs(count: int) -> list[tuple[str, str]]:
    """Make pairs with the lengths of MS MARCO's, the same in every call: a hundred passages a query."""
    numbers = random.Random(0)

    def text(quantiles: Sequence[int]) -> str:
        length = int(np.interp(numbers.random(), np.linspace(0, 1, len(quantiles)), quantiles))
        return " ".join(numbers.choices(WORDS.split(), k=length))

    queries = [text(QUERY_TOKENS) for _ in range(0, count, 100)]
    return [(queries[i // 100], text(PASSAGE_TOKENS)) for i in range(count)]


def read_pairs(path: Path, count: int | None = None) -> list[tuple[str, str]]:
    """Read the first pairs of a file, equal ones once.

    Parameters
    ----------
    path : path
        Lines of JSON (``query`` and ``passage``), or TSV (query, passage), as the first shows; compressed or not, or a
        pipe.
    count : int, optional
        How many lines are read; all by default.

    Raises
    ------
    ValueError
        A line that is no pair, or none at all.
    """
    parse: Callable[[str], tuple[str, str]] | None = None
    found: dict[tuple[str, str], None] = {}
    for number, line in islice(lines_of(path), count):
        parse = parse or (_json if line.lstrip().startswith(b"{") else _tsv)
        try:
            query, passage = (text.strip() for text in parse(line.decode()))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            query = passage = ""
        if not (query and passage):
            raise ValueError(
                f"{path}, line {number}: is no pair (query, tab, passage; or JSON with both): correct the line."
            )
        found[query, passage] = None
    if not found:
        raise ValueError(f"{path} is empty: name a file with a query and a passage a line.")
    return list(found)


def _json(line: str) -> tuple[str, str]:
    values = json.loads(line)
    return values["query"], values["passage"]


def _tsv(line: str) -> tuple[str, str]:
    query, passage = line.split("\t")
    return query, passage
