"""A reranker: a query and candidates to scores, and to hits in a new order."""

import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .ranking import arrange
from .retrieval.candidates import Candidates, from_hits
from .retrieval.hits import Hits, Trace
from .retrieval.jvm import JAVA_LOCK
from .retrieval.queries import checked_query
from .retrieval.texts import Source, read, resolve
from .scoring.backend import Tokens
from .scoring.tokens import TokenIndex

if TYPE_CHECKING:
    from .model import ModelReranker

Scores = NDArray[np.float32]

#: Candidates whose texts are held in memory together, about; twice as many while the next are fetched.
SHARD = 20_000


class CutWarning(UserWarning):
    """Queries or passages were longer than the model reads, and were cut."""


class UnknownTextWarning(UserWarning):
    """Passages consist mostly of what the model's vocabulary does not know."""


class EmptyDocumentWarning(UserWarning):
    """Documents without any text were left below the reranked ones."""


@dataclass
class Counts:
    """What a reranker has done, and what a reader of its scores should know."""

    pairs: int = 0
    scored: int = 0
    """Pairs that went through the model; equal ones go once."""
    cut_passages: int = 0
    cut_queries: int = 0
    unknown: int = 0
    """Passages with more unknown tokens than known ones."""
    empty: int = 0

    def add(self, other: "Counts") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@dataclass(frozen=True)
class Passages:
    """What a reranker scores for one query: the first of its candidates, in first-stage order."""

    docids: Sequence[str]
    texts: Sequence[Any]
    """Each a str or `Tokens`; "" for a document without any text, which is not scored."""
    first_scores: Callable[[], Scores]
    """The first stage's scores, read when they are asked for: float32 (n,)."""

    def at(self, positions: Sequence[int]) -> "Passages":
        """Give some of them, in another order."""
        return Passages(
            [self.docids[i] for i in positions],
            [self.texts[i] for i in positions],
            lambda: self.first_scores()[list(positions)],
        )


class Reranker(ABC):
    """Scores a query's passages, and reranks hits by the scores.

    Safe to share between searchers and threads. Use `pyserini_rerank.load` to make one.

    Parameters
    ----------
    name : str
        The checkpoint, or what is done with which ones.
    parts : sequence of Reranker
        Those that it takes its scores from.

    Attributes
    ----------
    counts : Counts
        All that it has scored so far.
    depth : int, optional
        How many candidates it is made for; None if for any number.
    last_depth : int, optional
        How many of the best have scores that say something, where those below only keep an order; None if all have.
    """

    depth: int | None = None
    last_depth: int | None = None

    def __init__(self, name: str, parts: Sequence["Reranker"] = ()) -> None:
        self.name = name
        self.parts = tuple(parts)
        self.counts = Counts()
        self._lock = threading.Lock()

    @abstractmethod
    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        """Score the passages of some queries, and count what that takes.

        Returns
        -------
        list of float32 (n,)
            A score for each of a query's passages; NaN for one that was not scored.
        """

    def score(self, query: str, texts: Sequence[str], *, probability: bool = False) -> Scores:
        """Score passages for a query.

        Parameters
        ----------
        query : str
        texts : sequence of str, n of them
        probability : bool
            Give sigmoid(score), the scale on which some of the model cards show it; it saturates,
            so that good passages tie. For two labels it is their softmax.

        Returns
        -------
        float32 (n,)
            The model's raw scores (logits), unless `probability` is set.

        Raises
        ------
        ValueError, TypeError
            An empty query, an empty text, text that is no string or no valid Unicode; a reranker that
            takes the first stage's scores into account.
        FloatingPointError
            The model gave NaN or an infinite score.
        """
        if isinstance(texts, str):
            raise TypeError("score() takes a list of texts, not one string.")
        checked_query(query)
        for position, text in enumerate(texts):
            check_text(text, position)
        with self.counting() as counts:
            [scores] = self.relevance([query], [self._without_first_stage(texts)], counts)
        return (1 / (1 + np.exp(-scores))).astype(np.float32) if probability else scores

    def predict(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        """Score (query, passage) pairs: float32 (n,), raw logits. Raises as `score` does."""
        positions: dict[str, list[int]] = {}
        for position, (query, text) in enumerate(pairs):
            checked_query(query)
            check_text(text, position)
            positions.setdefault(query, []).append(position)
        scores = np.empty(len(pairs), dtype=np.float32)
        found = [self._without_first_stage([pairs[i][1] for i in some]) for some in positions.values()]
        with self.counting() as counts:
            for some, own in zip(positions.values(), self.relevance(list(positions), found, counts), strict=True):
                scores[some] = own
        return scores

    def rerank(
        self, query: str, hits: Sequence[Any], k: int | None = None, texts: Any = None, tokens: Any = None
    ) -> Hits:
        """Rerank hits that one already has; the hits themselves are left as they are.

        Parameters
        ----------
        query : str
        hits
            What a Pyserini searcher returned.
        k : int, optional
            How many to return; all by default.
        texts : optional
            See `pyserini_rerank.retrieval.texts.resolve`.
        tokens : path, optional
            A token index of the documents, instead of texts.

        Returns
        -------
        list
            Hits of the same type with all their fields and the model's scores.

        Raises
        ------
        As `RerankingSearcher.search`.
        """
        if k is not None and k < 1:
            raise ValueError(f"k is {k}: ask for at least 1 hit.")
        with self.counting() as counts:
            candidates = from_hits(hits, len(hits))
            source = open_source(texts, tokens, None)
            self.check(source)
            return self.rerank_candidates([checked_query(query)], [candidates], source, k or len(hits), counts)[0]

    def rerank_candidates(
        self, queries: Sequence[str], found: Sequence[Candidates], source: Source, k: int, counts: Counts
    ) -> list[Hits]:
        """Rerank the candidates of some queries: texts, scores, hits."""
        return self.rerank_passages(queries, found, passages(found, source), k, counts)

    def rerank_passages(
        self, queries: Sequence[str], found: Sequence[Candidates], texts: Sequence[Passages], k: int, counts: Counts
    ) -> list[Hits]:
        """Rerank candidates whose texts are there: scores, hits."""
        scores = self.relevance(queries, texts, counts)
        # A document without text has nothing to score: it follows below those that have.
        counts.empty += sum(some.texts.count("") for some in texts)
        return [self.to_hits(candidates, own, k) for candidates, own in zip(found, scores, strict=True)]

    def to_hits(self, candidates: Candidates, scores: Scores, k: int) -> Hits:
        """Make the k best hits, each with its new score, and remember their places in the first stage."""
        positions, new_scores = arrange(scores, candidates.count)
        hits, traces = [], []
        with JAVA_LOCK:
            for position, score in zip(positions[:k].tolist(), new_scores[:k].tolist(), strict=True):
                hit = candidates.hit(position)
                traces.append(Trace(hit.docid, score, position + 1, float(hit.score), hit.docid))
                hits.append(candidates.rescored(hit, score))
        return Hits(hits, traces)

    def models(self) -> Iterator["ModelReranker"]:
        """Give the checkpoints that it scores with."""
        for part in self.parts:
            yield from part.models()

    def cuts(self, query: str, passage: str | Tokens) -> bool:
        """Is a passage too long, so that its score is not of all of it?"""
        return any(part.cuts(query, passage) for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """Stands for all that changes its scores; empty where a checkpoint's is not known."""
        prints = [model.fingerprint for model in self.models()]
        return blake2b(" ".join([self.name, *prints]).encode(), digest_size=16).hexdigest() if all(prints) else ""

    def check(self, source: Source) -> None:
        """Check that a source's passages are ones that all its checkpoints read: texts always are.

        Raises
        ------
        ValueError
            It is a token index of another vocabulary, or a backend reads no tokens.
        """
        if isinstance(source, TokenIndex):
            for model in self.models():
                source.check(model.vocabulary, model.name)

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """Count what one call scores; afterwards add it to `counts`, and warn once of each trouble."""
        counts = Counts()
        yield counts
        with self._lock:
            before = Counts(**vars(self.counts))
            self.counts.add(counts)
        of = f"of {counts.pairs} passages"
        limit = " or ".join(f"{length:,}" for length in sorted({model.max_length for model in self.models()}))
        seen = " Further ones are counted in reranker.counts."
        if counts.cut_passages + counts.cut_queries and not before.cut_passages + before.cut_queries:
            text = f"{counts.cut_passages} {of} and {counts.cut_queries} queries were cut to {limit} tokens."
            warnings.warn(text + seen, CutWarning, stacklevel=4)
        if counts.unknown and not before.unknown:
            text = f"{counts.unknown} {of} are mostly unknown to the vocabulary of {self.name}: is it their language?"
            warnings.warn(text + seen, UnknownTextWarning, stacklevel=4)
        if counts.empty and not before.empty:
            text = f"{counts.empty} documents have no text and stay below the {counts.pairs} that were reranked."
            warnings.warn(text + seen, EmptyDocumentWarning, stacklevel=4)

    def __enter__(self) -> "Reranker":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the device; the reranker cannot be used afterwards."""
        for part in self.parts:
            part.close()

    def _without_first_stage(self, texts: Sequence[str]) -> Passages:
        return Passages([str(position) for position in range(len(texts))], texts, self._no_first_stage)

    def _no_first_stage(self) -> Scores:
        raise TypeError(f"{self.name} takes the first stage's scores into account: use rerank(query, hits).")


def passages(found: Sequence[Candidates], source: Source) -> list[Passages]:
    """Read the texts of some queries' candidates."""
    return [Passages(some.docids, read(source, some), some.first_scores) for some in found]


def open_source(texts: Any, tokens: Any, searcher: Any) -> Source:
    """Decide where the passages of a searcher's hits come from: texts, or a token index.

    Raises
    ------
    TypeError
        Both are given.
    As `pyserini_rerank.retrieval.texts.resolve` and `pyserini_rerank.scoring.tokens.TokenIndex`.
    """
    if tokens is None:
        return resolve(texts, searcher)
    if texts is not None:
        raise TypeError("texts= and tokens= both say where the passages come from: give one of them.")
    return TokenIndex(tokens)


def check_text(text: Any, position: int) -> None:
    """Check that a text is one that can be scored; raises TypeError or ValueError."""
    if not isinstance(text, str):
        raise TypeError(f"text {position} is a {type(text).__name__}, not a string.")
    if not text.strip():
        raise ValueError(f"text {position} is empty: there is nothing to score.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text {position} holds half of a surrogate pair at character {error.start}: "
            "clean it with text.encode('utf-8', 'replace').decode()."
        ) from None
