"""Reranking a run in this process. `ray_cluster` does the same on many machines, and writes the same bytes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from ..model import ModelReranker
from ..prefetch import prefetched
from ..reranker import Reranker
from .bm25_run import BM25, Topics, TopicSearcher
from .provenance import provenance
from .rescoring import Reader, Rescored, Scorer, Shard


class OneProcess:
    """The reader and the scorer of this process, with the interface of a `Cluster`.

    The checkpoints that it loads are freed at the end of the context.

    Parameters
    ----------
    reader : Reader
    load : callable
        ``load(cache=)`` gives the reranker, and the models that were loaded for it.
    cache : path
        A folder of scores.

    Attributes
    ----------
    facts : dict
        The `provenance` of the scores.
    location : str, optional
        The file, index or folder that holds the texts.

    Raises
    ------
    As `pyserini_rerank.load`, and as opening the texts does.
    """

    def __init__(self, reader: Reader, load: Callable[..., tuple[Reranker, list[ModelReranker]]], cache: Path) -> None:
        with ExitStack() as stack:
            reranker, loaded_models = load(cache=cache)
            for model in loaded_models:
                stack.callback(model.close)
            self.facts = provenance(reranker)
            self.location = reader.location()
            self._reader = reader
            self._scorer = Scorer(reader.settings, reranker)
            self._held = stack.pop_all()

    def __enter__(self) -> "OneProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def search(self, bm25: BM25, shards: Iterator[Topics]) -> Iterator[str]:
        """Search shards of topics one after the other. Raises as `TopicSearcher.search`."""
        return map(TopicSearcher(bm25.depth, bm25.open).search, shards)

    def rescore(self, shards: Iterator[Shard]) -> Iterator[Rescored]:
        """Rescore shards one after the other, and read the next shard's texts meanwhile. Raises as `Reader.read` and
        `Scorer.score`."""
        return map(self._scorer.score, prefetched(self._reader.read, shards))
