"""A reranker: a query and candidates to scores, and to hits in a new order."""

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from .ranking import arrange
from .retrieval.candidates import Candidates, from_hits
from .retrieval.hits import Hits, Trace
from .retrieval.jvm import JAVA_LOCK
from .retrieval.queries import checked_query, shown
from .retrieval.texts import Source, read, resolve
from .scoring.backend import Backend, Pair, create
from .scoring.tokens import TokenIndex

#: Pairs that are tokenized and planned together, at most; more would be held in memory for nothing.
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


class Reranker:
    """Scores query-passage pairs with a backend, and reranks hits by them.

    Safe to share between searchers and threads. Use `pyserini_rerank.load` to make one.

    Attributes
    ----------
    name : str
        The checkpoint.
    counts : Counts
        All that it has scored so far.
    """

    def __init__(self, backend: Backend, name: str) -> None:
        self.backend: Backend | None = backend
        self.name = name
        self.counts = Counts()
        self._lock = threading.Lock()

    def score(self, query: str, texts: Sequence[str], *, probability: bool = False) -> NDArray[np.float32]:
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
            An empty query, an empty text, text that is no string or no valid Unicode.
        FloatingPointError
            The model gave NaN or an infinite score.
        """
        if isinstance(texts, str):
            raise TypeError("score() takes a list of texts, not one string.")
        checked_query(query)
        scores = self.predict([(query, text) for text in texts])
        return (1 / (1 + np.exp(-scores))).astype(np.float32) if probability else scores

    def predict(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Score (query, passage) pairs: float32 (n,), raw logits. Raises as `score` does."""
        for position, (query, text) in enumerate(pairs):
            checked_query(query)
            _check_text(text, position)
        with self.counting() as counts:
            return self._score(pairs, counts)

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
        passages = [read(source, candidates) for candidates in found]
        pairs = [(query, text) for query, texts in zip(queries, passages, strict=True) for text in texts if text]
        scores = iter(self._score(pairs, counts))
        results = []
        for candidates, texts in zip(found, passages, strict=True):
            # A document without text has nothing to score: it follows below those that have.
            counts.empty += texts.count("")
            own = np.array([next(scores) if text else np.nan for text in texts], dtype=np.float32)
            results.append(_hits(candidates, own, k))
        return results

    def check(self, source: Source) -> None:
        """Check that a source's passages are ones that the backend reads: texts always are.

        Raises
        ------
        ValueError
            It is a token index of another vocabulary, or the backend reads no tokens.
        """
        if isinstance(source, TokenIndex):
            source.check(getattr(self.backend, "vocabulary", None), self.name)

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """Count what one call scores; afterwards add it to `counts`, and warn once of each trouble."""
        counts = Counts()
        yield counts
        with self._lock:
            before = Counts(**vars(self.counts))
            self.counts.add(counts)
        of = f"of {counts.pairs} passages"
        limit = f"{self.backend.max_length} tokens" if self.backend else ""
        seen = " Further ones are counted in reranker.counts."
        if counts.cut_passages + counts.cut_queries and not before.cut_passages + before.cut_queries:
            text = f"{counts.cut_passages} {of} and {counts.cut_queries} queries were cut to {limit}."
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
        if self.backend:
            self.backend.close()
            self.backend = None

    def _score(self, pairs: Sequence[Pair], counts: Counts) -> NDArray[np.float32]:
        """Score pairs in the batches that the backend plans; equal pairs once."""
        if self.backend is None:
            raise RuntimeError(f"the reranker {self.name} is closed: load it again.")
        unique = {pair: position for position, pair in enumerate(dict.fromkeys(pairs))}
        distinct = list(unique)
        scores = np.empty(len(unique), dtype=np.float32)
        # Shown on a terminal and in a notebook, once it takes longer than two seconds.
        with tqdm(total=len(unique), desc="reranking", unit=" pairs", delay=2, leave=False, disable=None) as progress:
            for start in range(0, len(distinct), SHARD):
                plan = self.backend.plan(distinct[start : start + SHARD])
                for batch in plan.batches:
                    with self._lock:
                        scores[start + batch.positions] = self.backend.run(batch)
                    progress.update(len(batch.positions))
                counts.cut_passages += plan.cut_passages
                counts.cut_queries += plan.cut_queries
                counts.unknown += plan.unknown
        counts.pairs += len(pairs)
        counts.scored += len(unique)
        wrong = np.flatnonzero(~np.isfinite(scores))
        if len(wrong):
            query, text = distinct[wrong[0]]
            raise FloatingPointError(
                f"{self.name} scored {scores[wrong[0]]} for {len(wrong)} pairs, first for the query {shown(query)} and "
                f"the passage {shown(str(text))}: its weights are damaged or too large for this dtype; load it with "
                "dtype='float32'."
            )
        return scores[[unique[pair] for pair in pairs]]


def load(
    name: str | os.PathLike[str],
    *,
    backend: str = "torch",
    cache: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Reranker:
    """Load a checkpoint.

    Parameters
    ----------
    name : str or path
        A hub name, such as ``"cross-encoder/ms-marco-MiniLM-L-6-v2"``; the path of a local folder;
        or ``"bundled"``, the MiniLM-L-12 of the extra `bundled-model`.
    backend : str
        What computes the scores: ``"torch"``, ``"sentence-transformers"``, ``"http"`` (`name` is then a
        server's URL), or a backend that another package brings (entry points of the group
        ``pyserini_rerank.backends``).
    cache : path, optional
        A folder where scores are kept, and looked up before they are computed; see
        `pyserini_rerank.scoring.cache.CachedBackend`.
    **options
        The backend's own; for torch see `pyserini_rerank.scoring.torch.TorchBackend`: `device`, `dtype`,
        `max_length`, `batch_tokens`, `head`, `known_as`.

    Raises
    ------
    OSError
        There is no such folder, it holds no checkpoint, or the hub cannot be reached.
    ValueError
        The checkpoint cannot be read without guessing (pass `head=`), it lacks weights, the device is
        not there, or there is no such backend.
    """
    made = create(backend)(name, **options)
    return Reranker(made if cache is None else _cached(made, cache), os.fspath(name))


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


def _cached(backend: Backend, folder: str | os.PathLike[str]) -> Backend:
    from .scoring.cache import CachedBackend

    return CachedBackend(backend, folder)


def _check_text(text: Any, position: int) -> None:
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


def _hits(candidates: Candidates, scores: NDArray[np.float32], k: int) -> Hits:
    """Make the k best hits, each with its new score, and remember their places in the first stage."""
    positions, new_scores = arrange(scores, candidates.count)
    hits, traces = [], []
    with JAVA_LOCK:
        for position, score in zip(positions[:k].tolist(), new_scores[:k].tolist(), strict=True):
            hit = candidates.hit(position)
            traces.append(Trace(hit.docid, score, position + 1, float(hit.score)))
            hits.append(candidates.rescored(hit, score))
    return Hits(hits, traces)
