"""Pairs for timing a checkpoint: generated with the lengths of MS MARCO, or read from a file."""

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
#: Words that are one token each.
WORDS = (
    "the of and to in is for on as with that by at from this are was it be or an has not have which can more one "
    "about when also time people may other some its will make used water most first new years number between"
)


def generated_pairs(count: int) -> list[tuple[str, str]]:
    """Generate pairs with the lengths of MS MARCO's, a hundred passages a query; every call gives the same pairs."""
    numbers = random.Random(0)

    def text(quantiles: Sequence[int]) -> str:
        length = int(np.interp(numbers.random(), np.linspace(0, 1, len(quantiles)), quantiles))
        return " ".join(numbers.choices(WORDS.split(), k=length))

    queries = [text(QUERY_TOKENS) for _ in range(0, count, 100)]
    return [(queries[i // 100], text(PASSAGE_TOKENS)) for i in range(count)]


def read_pairs(path: Path, count: int | None = None) -> list[tuple[str, str]]:
    """Read the first pairs of a file; equal pairs only once.

    Parameters
    ----------
    path : path
        A file, plain or compressed, or a pipe. Its lines are JSON (``query`` and ``passage``) or TSV (query, passage),
        as the first line shows.
    count : int, optional
        The number of lines that are read; all by default.

    Raises
    ------
    ValueError
        A line is no pair, or there is no line.
    """
    parse: Callable[[str], tuple[str, str]] | None = None
    pairs: dict[tuple[str, str], None] = {}
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
        pairs[query, passage] = None
    if not pairs:
        raise ValueError(f"{path} is empty: name a file with a query and a passage a line.")
    return list(pairs)


def _json(line: str) -> tuple[str, str]:
    values = json.loads(line)
    return values["query"], values["passage"]


def _tsv(line: str) -> tuple[str, str]:
    query, passage = line.split("\t")
    return query, passage
