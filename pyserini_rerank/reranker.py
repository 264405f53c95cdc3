"""The base class of all rerankers: it scores a query's passages, and puts hits in a new order."""

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np

from .arguments import listed, whole
from .caller import warn
from .counts import Counts
from .passages import Passages, Tokens, check_text
from .progress import bars_apart, moving_queries_bar
from .ranking import RankedText, Ranking, Scores, arrange
from .retrieval.candidates import Candidates, as_found, from_hits
from .retrieval.hits import Hits, Trace
from .retrieval.jvm import JAVA_LOCK
from .retrieval.queries import checked_query, text_or_blank
from .scales import Scale, probabilities
from .scoring.door import close_all
from .texts.opening import open_source
from .texts.source import passages

#: About how many candidates' texts are held in memory together; twice as many while the next shard is fetched.
SHARD = 20_000


class Reranker(ABC):
    """Scores a query's passages, and reranks hits by the scores.

    A reranker can be shared between searchers and threads. Use `pyserini_rerank.load` to make one.

    Parameters
    ----------
    name : str
        The checkpoint's name, or a description of the combination.
    parts : sequence of Reranker
        The rerankers whose scores a combination uses.

    Attributes
    ----------
    counts : Counts
        The counts of all calls so far.
    depth : int, optional
        The number of candidates that the reranker is made for; None if it takes any number.
    scale : str
        The scale of its scores: ``"logit"``, ``"probability"``, or ``"other"``, numbers that only order passages.
    max_length : int
        The number of tokens beyond which pairs are cut; 0 for a combination, or if it is not known.
    """

    depth: int | None = None
    scale: Scale = "other"
    max_length: int = 0

    def __init__(self, name: str, parts: Sequence["Reranker"] = ()) -> None:
        self.name = name
        self.parts = tuple(parts)
        if depths := [part.depth for part in self.parts if part.depth]:
            self.depth = max(depths)
        self.counts = Counts()
        self._lock = threading.Lock()

    @abstractmethod
    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        """Score the passages of some queries.

        The pairs are counted already. A reranker with a model adds to the other `counts`: the pairs that went through
        the model, and the texts that were cut.

        Returns
        -------
        list of float32 (n,)
            For each query the scores of its passages, NaN for a passage that was not scored. The score of a passage
            without text ("") is ignored.
        """

    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]:
        """Rank the passages of some queries. A passage may be a document in parts."""
        flat = [passages.flat() for passages in found]
        counts.pairs += sum(1 for passages in flat for text in passages.texts if text != "")
        relevance = listed(self.relevance(queries, flat, counts), f"the relevance of {self.name}")
        if len(relevance) != len(flat):
            raise ValueError(
                f"{self.name} gave scores for {len(relevance)} queries of {len(flat)}: give an array a query."
            )
        flat_scores = [self._checked(*of_query) for of_query in zip(relevance, flat, strict=True)]
        return [
            Ranking(passages.gather(scores, self.scale)) for passages, scores in zip(found, flat_scores, strict=True)
        ]

    def _checked(self, relevance: Any, passages: Passages) -> Scores:
        """Check and convert the scores that `relevance` gave for a query; a passage without text gets NaN."""
        scores = np.asarray(relevance, dtype=np.float32)
        if scores.shape != (len(passages.texts),):
            raise ValueError(
                f"{self.name} gave scores of the shape {scores.shape} for {len(passages.texts)} passages: give one a "
                "passage, NaN for one that is not scored."
            )
        if np.isinf(scores).any():
            raise FloatingPointError(f"{self.name} gave an infinite score: give NaN for a passage that is not scored.")
        return np.where([text == "" for text in passages.texts], np.float32(np.nan), scores)

    def leaves(self) -> Iterator["Reranker"]:
        """Give the rerankers that read passages: the leaves of its parts, or itself if it has no parts."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def with_leaves(self, replace: Callable[["Reranker"], "Reranker"]) -> "Reranker":
        """Copy the reranker with its leaves replaced; the copy has counts of its own."""
        if not self.parts:
            return replace(self)
        clone = copy.copy(self)
        clone.parts = tuple(part.with_leaves(replace) for part in self.parts)
        clone.counts, clone._lock = Counts(), threading.Lock()
        return clone

    @property
    def vocabulary(self) -> str | None:
        """The fingerprint of the reranker's tokenizer; None if it takes texts only."""
        return None

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Give the tokens of texts; raises TypeError where there is no vocabulary."""
        raise TypeError(f"{self.name} takes texts and no tokens.")

    @property
    def known_scores(self) -> int:
        """The number of scores that came from a cache so far."""
        return sum(part.known_scores for part in self.parts)

    @property
    def description(self) -> Mapping[str, str]:
        """Facts for a report about how the scores are computed: device, dtype and the like."""
        return {}

    @property
    def scales_of_parts(self) -> set[Scale]:
        """The scales of the scores that the parts of a document get, if the reranker is given documents in parts."""
        return set().union(*(part.scales_of_parts for part in self.parts)) if self.parts else {self.scale}

    def score(self, query: str, texts: Iterable[str], *, probability: bool = False) -> Scores:
        """Score passages for a query.

        Parameters
        ----------
        query : str
        texts : iterable of str, n of them
        probability : bool
            Give sigmoid(score), the scale on which some of the model cards show scores. It saturates, so that good
            passages tie. For two labels it is their softmax. Scores that are probabilities stay as they are.

        Returns
        -------
        float32 (n,)
            The model's raw scores (logits), unless `probability` is set.

        Raises
        ------
        ValueError, TypeError
            The query or a text is empty, no string, or no valid Unicode; the reranker uses the first stage's scores;
            no probability is defined for the reranker's scores.
        FloatingPointError
            The model gave NaN or an infinite score.
        """
        texts = listed(texts, "texts")
        with self.counting() as counts:
            scores = self._rank_texts(query, texts, counts).filled()
        return probabilities(scores, self.scale, self.name).astype(np.float32) if probability else scores

    def rank(self, query: str, documents: Iterable[str], top_k: int | None = None) -> list[RankedText]:
        """Rank plain texts for a query, best first, as `rank` of sentence-transformers' CrossEncoder does.

        Parameters
        ----------
        query : str
        documents : iterable of str, n of them
        top_k : int, optional
            How many to return; all by default.

        Returns
        -------
        list of RankedText
            Named tuples (index, score, text): a document's position in the input, the model's raw score, and the
            document. Documents with equal scores stay in their order.

        Raises
        ------
        As `score`; ValueError for a `top_k` below 1.
        """
        texts = listed(documents, "documents")
        top_k = len(texts) if top_k is None else whole(top_k, "top_k", least=1)
        with self.counting() as counts:
            positions, scores = arrange(self._rank_texts(query, texts, counts), len(texts))
        best = zip(positions[:top_k].tolist(), scores[:top_k].tolist(), strict=True)
        return [RankedText(position, score, texts[position]) for position, score in best]

    def predict(self, pairs: Iterable[tuple[str, str]]) -> Scores:
        """Score (query, passage) pairs: float32 (n,), raw logits. Raises as `score` does."""
        positions: dict[str, list[int]] = {}
        texts: list[str] = []
        for position, pair in enumerate(listed(pairs, "pairs")):
            try:
                query, text = listed(pair, "pair")
            except (TypeError, ValueError):
                raise TypeError(f"pair {position} is {pair!r:.60}: give a query and a passage.") from None
            checked_query(query)
            check_text(text, position)
            positions.setdefault(query, []).append(position)
            texts.append(text)
        scores = np.empty(len(texts), dtype=np.float32)
        found = [self._without_first_stage([texts[i] for i in of_query]) for of_query in positions.values()]
        with self.counting() as counts:
            rankings = self.rankings(list(positions), found, counts)
        for of_query, ranking in zip(positions.values(), rankings, strict=True):
            scores[of_query] = ranking.filled()
        return scores

    def rerank(
        self,
        query: str,
        hits: Iterable[Any],
        k: int | None = None,
        texts: Any = None,
        missing: str = "error",
    ) -> Hits:
        """Rerank hits that were retrieved before. The hits themselves are not changed.

        Parameters
        ----------
        query : str
            If it is empty, the hits come back in their order and with their scores.
        hits : iterable
            The hits that a Pyserini searcher returned.
        k : int, optional
            How many hits to return; all by default.
        texts : optional
            See `pyserini_rerank.texts.opening.resolve`. Each call reads a collection file through.
        missing : str
            ``"skip"`` leaves hits without text below the others: see `pyserini_rerank.texts.opening.open_source`.

        Returns
        -------
        Hits
            Hits of the same type with all their fields and the model's scores.

        Raises
        ------
        As `RerankingSearcher.search`.
        """
        hits = listed(hits, "hits")
        if hits and isinstance(hits[0], str):
            raise TypeError("hits are texts: rerank() takes a searcher's hits; call rank(query, texts) for texts.")
        k = len(hits) if k is None else whole(k, "k", least=1)
        with self.counting() as counts, bars_apart():
            candidates = from_hits(hits, len(hits))
            source = open_source(texts, None, missing)
            texts_found = passages([candidates], source)
            return self.rerank_passages([text_or_blank(query)], [candidates], texts_found, k, counts)[0]

    def rerank_passages(
        self, queries: Sequence[str], found: Sequence[Candidates], texts: Sequence[Passages], k: int, counts: Counts
    ) -> list[Hits]:
        """Rerank candidates whose texts have been read. The candidates of an empty query stay as they were found."""
        nonempty = [position for position, query in enumerate(queries) if query]
        with moving_queries_bar(len(queries), scorings=sum(1 for _ in self.leaves())):
            rankings = self.rankings([queries[i] for i in nonempty], [texts[i] for i in nonempty], counts)
        # A document without text is not scored: it follows below the documents with text.
        missing = sum(len(texts[i].missing) for i in nonempty)
        counts.missing += missing
        counts.empty += sum(texts[i].texts.count("") for i in nonempty) - missing
        counts.empty_queries += len(queries) - len(nonempty)
        ranked = dict(zip(nonempty, rankings, strict=True))
        return [
            self.to_hits(candidates, ranked[position], k) if position in ranked else as_found(candidates, k)
            for position, candidates in enumerate(found)
        ]

    def to_hits(self, candidates: Candidates, ranking: Ranking, k: int) -> Hits:
        """Make the k best hits, each with its new score and its place in the first stage."""
        positions, new_scores = arrange(ranking, candidates.count)
        hits, traces = [], []
        with JAVA_LOCK:
            for position, score in zip(positions[:k].tolist(), new_scores[:k].tolist(), strict=True):
                hit = candidates.hit(position)
                traces.append(Trace(hit.docid, score, position + 1, float(hit.score), hit.docid))
                hits.append(candidates.rescored(hit, score))
        return Hits(hits, traces, min(k, ranking.scored))

    def cuts(self, query: str, passage: str | Tokens) -> bool:
        """Tell whether a passage is too long, so that its score does not cover all of it."""
        return any(part.cuts(query, passage) for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that changes the scores; empty if it is not known for a part, or there are no parts."""
        fingerprints = [part.fingerprint for part in self.parts]
        known = fingerprints and all(fingerprints)
        return blake2b(" ".join([self.name, *fingerprints]).encode(), digest_size=16).hexdigest() if known else ""

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """Give one call its own counts; afterwards add them to `counts`, and warn once of each trouble."""
        counts = Counts()
        yield counts
        with self._lock:
            before = Counts(**vars(self.counts))
            self.counts.add(counts)
        limits = " or ".join(f"{length:,}" for length in sorted({leaf.max_length for leaf in self.leaves()}))
        for kind, text in counts.troubles(before, self.name, limits):
            warn(f"{text} Further cases are counted in reranker.counts.", kind)

    def __enter__(self) -> "Reranker":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Show the name and the checkpoints, and whether these are closed."""
        leaves = dict.fromkeys(repr(leaf) for leaf in self.leaves()) if self.parts else ()
        return f"{type(self).__name__}({', '.join([repr(self.name), *leaves])})"

    def close(self) -> None:
        """Free the devices that the reranker and its parts use. It cannot be used afterwards."""
        close_all(self.parts)

    def _rank_texts(self, query: str, texts: Sequence[Any], counts: Counts) -> Ranking:
        """Check a query and plain texts, and rank the texts; they have no first stage."""
        checked_query(query)
        for position, text in enumerate(texts):
            check_text(text, position)
        [ranking] = self.rankings([query], [self._without_first_stage(texts)], counts)
        return ranking

    def _without_first_stage(self, texts: Sequence[str]) -> Passages:
        return Passages([str(position) for position in range(len(texts))], texts, self._no_first_stage)

    def _no_first_stage(self) -> Scores:
        raise TypeError(f"{self.name} takes the first stage's scores into account: use rerank(query, hits).")
