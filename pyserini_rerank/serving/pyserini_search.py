"""A search of Pyserini's servers, reranked: the same for its REST server and its MCP server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..reranker import Reranker
from ..retrieval.jvm import JAVA_LOCK
from ..retrieval.queries import checked_query
from ..scoring.backend import BackendFault
from ..searcher import DEPTH
from ..texts.source import MissingText
from .locked_backend import detach, download, lock_backend

if TYPE_CHECKING:
    from pyserini.server.backend import SharedSearchBackend

#: The decimals of a score, as in the answers of Pyserini's servers.
DECIMALS = 6


@dataclass(frozen=True)
class Candidate:
    """A candidate of Pyserini's answer, as a hit that can be reranked."""

    docid: str
    score: float
    doc: Any
    """The document as Pyserini shows it."""


def reranked_search(
    backend: "SharedSearchBackend",
    reranker: Reranker,
    query: str | dict[str, Any],
    index: str,
    hits: int = 10,
    *,
    depth: int | None = None,
    default_depth: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Search with Pyserini's backend, and rerank the candidates.

    The backend's cache is neither asked nor filled. Scoring does not hold up other searches.

    Parameters
    ----------
    backend : SharedSearchBackend
        All its work in Java is behind the lock from now on.
    reranker : Reranker
    query : str or dict
        A dict has the text to rerank with as ``query_txt``.
    index : str
        An index that the backend knows: a prebuilt name, a path or an alias.
    hits : int
        The number of candidates to return.
    depth : int, optional
        The number of candidates to rescore, at least `hits`. Where it is not given, it is the larger of `hits` and
        `default_depth`.
    default_depth : int, optional
        By default the reranker's own depth, else 100.
    **options
        Those of the backend's `search`: ``parse``, ``k1``, ``b``, ``ef_search`` and so on.

    Returns
    -------
    dict
        The payload of the backend's `search`. Each candidate has its ``first_rank`` and ``first_score`` as well.

    Raises
    ------
    pyserini.server.errors.BackendError
        Pyserini's own errors; the depth is below `hits`; the query has no text; a candidate has no text; the reranker
        refuses its input. The message is for the client.
    FloatingPointError
        The model gave NaN or an infinite score.
    """
    from jnius import JavaException
    from pyserini.server.errors import BadSearchRequestError

    if hits < 1:
        raise BadSearchRequestError(f"hits={hits}: ask for at least 1.")
    if depth is not None and depth < hits:
        raise BadSearchRequestError(f"depth={depth} is below hits={hits}: give a depth of at least {hits}.")
    depth = depth or max(hits, default_depth or reranker.depth or DEPTH)
    lock_backend(backend)
    with _errors_of_the_client():
        text = checked_query(_text_of(query))
    # Pyserini changes a dict, and keeps no dict's answer in its cache: there a hundred candidates with their documents
    # would take ten times the space.
    asked = dict(query) if isinstance(query, dict) else {"query_txt": query}
    download(backend, index)
    try:
        with JAVA_LOCK:
            payload = backend.search(asked, index, depth, **options)
            stored = backend.indexes[index].base_index or index
            texts = backend._doc_store_lucene_searcher(stored, allow_local_index=True)
        candidates = [Candidate(found["docid"], found["score"], found["doc"]) for found in payload["candidates"]]
        with _errors_of_the_client():
            reranked = reranker.rerank(text, candidates, k=hits, texts=texts)
    except JavaException as error:
        if "TooManyClauses" not in str(error):
            raise
        raise BadSearchRequestError("the query has more different words than Lucene takes: shorten it.") from None
    finally:
        detach()
    return {
        **payload,
        "candidates": [
            {
                "docid": hit.docid,
                "score": round(hit.score, DECIMALS),
                "rank": rank,
                "doc": hit.doc,
                "first_rank": trace.first_rank,
                "first_score": trace.first_score,
            }
            for rank, (hit, trace) in enumerate(zip(reranked, reranked.traces, strict=True), 1)
        ],
    }


def _text_of(query: str | dict[str, Any]) -> Any:
    if not isinstance(query, dict):
        return query
    if not query.get("query_txt"):
        raise ValueError("the query has no text to rerank with: give query_txt, beside the image if there is one.")
    return query["query_txt"]


@contextmanager
def _errors_of_the_client() -> Iterator[None]:
    """Turn this package's errors about what it is given into Pyserini's, which its servers answer with the message."""
    from pyserini.server.errors import BadSearchRequestError

    try:
        yield
    except BackendFault:
        raise
    except (MissingText, ValueError, TypeError) as error:
        raise BadSearchRequestError(str(error)) from error
