"""The fixed pairs that an engine is verified with."""

import json
from importlib.resources import files
from typing import NamedTuple

from ..scoring.backend import Pair


class Case(NamedTuple):
    """A pair of the corpus, and what it is there for."""

    kind: str
    """``"short"``, ``"long"``, ``"case"``, ``"accents"``, ``"script"``, ``"special"`` (special tokens as text),
    ``"odd"`` (next to nothing, white space, emoji), ``"query"`` (a query longer than its passage), ``"repeated"``."""
    query: str
    passage: str

    @property
    def pair(self) -> Pair:
        return self.query, self.passage


def corpus() -> list[Case]:
    """Read the pairs: for each query passages that answer it, and passages that do not."""
    lines = files(__package__).joinpath("pairs.jsonl").read_text(encoding="utf-8").splitlines()
    return [Case(**json.loads(line)) for line in lines]
