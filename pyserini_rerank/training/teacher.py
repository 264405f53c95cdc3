"""A teacher's scores: of all pairs by the engine of `rerank_run`, and of the windows of long documents."""

import copy
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..combining.cascade import Cascade
from ..combining.descriptions import last_depths
from ..combining.windows import ID_BYTES
from ..loading import loaded
from ..reranker import Reranker
from ..runs.job import rerank_run
from .candidates import TEXTS
from .collected import Collected, Cut
from .training_data import JudgedQuery

PAIRS, SCORED = "pairs.run", "teacher.run"
WORD, CHARACTER = re.compile(r"\s*\S+"), re.compile(r"\s*\S")


class NothingToTrainOn(ValueError):
    """No query is left to train on."""

    def __init__(self) -> None:
        super().__init__(
            "no query is left to train on: the others are kept for validation and test, or have no negative."
        )


def score(
    collected: Collected,
    teacher: Any,
    windows: tuple[int, int] | None,
    cache: str | os.PathLike[str] | None,
    ray: bool,
    options: Mapping[str, Any],
) -> Path:
    """Let a teacher score the pairs to train on, and give the run of its scores; one that is there is not made again.

    Raises
    ------
    NothingToTrainOn
        No pair is left to score.
    NotAllScored
        A query has more documents than the last stage of a cascade scores.
    As `pyserini_rerank.rerank_run`.
    """
    folder = collected.folder
    scored = folder / SCORED
    if scored.exists():
        return scored
    topics = collected.write_pairs(folder / PAIRS, min(last_depths(teacher), default=None))
    if not topics:
        raise NothingToTrainOn
    rerank_run(
        folder / PAIRS,
        in_windows(teacher, windows),
        output=scored,
        topics=topics,
        texts=folder / TEXTS,
        cache=cache,
        ray=ray,
        **options,
    )
    return scored


def in_windows(teacher: Any, windows: tuple[int, int] | None) -> Any:
    """Describe a teacher that reads documents in windows."""
    return {"windows": {"reranker": teacher, "size": windows[0], "stride": windows[1]}} if windows else teacher


def check(
    teacher: Any, windows: tuple[int, int] | None, cache: str | os.PathLike[str] | None, options: Mapping[str, Any]
) -> None:
    """Score a pair with a teacher, so that one that cannot score is an error before the search, and not after it.

    Raises
    ------
    ValueError
        The teacher uses the first stage's scores, which relevant and random documents may lack.
    As `pyserini_rerank.load`.
    """
    with loaded(in_windows(teacher, windows), cache=cache, needs_cache=cache is not None, **options) as reranker:
        reranker.score("query", ["text"])


@contextmanager
def cutting(
    teacher: Any, size: int, stride: int, cache: str | os.PathLike[str] | None, options: Mapping[str, Any]
) -> Iterator[Cut]:
    """Give a function that replaces a query's documents by their windows that the teacher scores highest.

    Windows are cut between words, so that a window is a text like any other; at search time they are cut between
    tokens.
    """
    with loaded(teacher, cache=cache, needs_cache=False, **options) as reranker:
        leaf, judge = next(reranker.leaves()), _last_stages(reranker)

        def cut(query: JudgedQuery) -> JudgedQuery:
            windows = [_windows(document.text, leaf, size, stride) for document in query.documents]
            texts = [text for of_one in windows if len(of_one) > 1 for text in of_one]
            scores = iter(judge.score(query.query, texts) if texts else ())
            documents = []
            for document, of_one in zip(query.documents, windows, strict=True):
                if len(of_one) == 1:
                    documents.append(document)
                    continue
                of_windows = list(islice(scores, len(of_one)))
                best = int(np.argmax(of_windows))
                # The score that a combination gives a document depends on the others: it is not that of a window.
                score = document.teacher_score if reranker.parts else float(of_windows[best])
                documents.append(replace(document, text=of_one[best], teacher_score=score))
            return replace(query, documents=documents)

        yield cut


def _last_stages(reranker: Reranker) -> Reranker:
    """Replace cascades by their last stages: a cascade's depth counts documents, and there are more windows."""
    if isinstance(reranker, Cascade):
        return _last_stages(reranker.parts[-1])
    if not reranker.parts:
        return reranker
    clone = copy.copy(reranker)
    clone.parts = tuple(map(_last_stages, reranker.parts))
    return clone


def _windows(text: str, leaf: Reranker, size: int, stride: int) -> list[str]:
    """Cut a text into windows. Each is a piece of the text: a word goes with the white space before it.

    A word that is longer than a window, as in scripts without white space, is cut between characters.
    """
    words = WORD.findall(text)
    lengths = _lengths(words, leaf)
    if max(lengths, default=0) > size:
        measured = zip(words, lengths, strict=True)
        words = [piece for word, length in measured for piece in (CHARACTER.findall(word) if length > size else [word])]
        lengths = _lengths(words, leaf)
    return ["".join(words[first:last]).strip() for first, last in spans(lengths, size, stride)]


def _lengths(words: list[str], leaf: Reranker) -> list[int]:
    """Give the numbers of tokens of words."""
    return [len(ids) // ID_BYTES for ids in leaf.tokenize(words)]


def spans(lengths: list[int], size: int, stride: int) -> list[tuple[int, int]]:
    """Give the first and the last word (exclusive) of each window of a document, from its words' numbers of tokens.

    A window has at most `size` tokens, or a single word. The next one begins with the first word that is `stride`
    tokens or more behind the beginning of this one. The last window is the first that reaches the document's end.
    """
    ends = np.cumsum(lengths)
    found: list[tuple[int, int]] = []
    first = 0
    while True:
        before = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, before + size, side="right")), first + 1)
        found.append((first, last))
        if last >= len(lengths):
            return found
        first = min(int(np.searchsorted(ends, before + stride, side="left")) + 1, last)
