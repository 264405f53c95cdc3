"""The text of a query: the first stage may search with something else, but a cross-encoder reads text."""

import json
from collections.abc import Sequence
from typing import Any

from .ownership import is_a


def query_text(query: Any, rerank_query: Any, searcher: Any) -> str:
    """Give the text to rerank with.

    Parameters
    ----------
    query
        The query that the first stage searches with.
    rerank_query : str or None
        The text that the caller gives to rerank with, in place of the query.
    searcher
        The first stage.

    Returns
    -------
    str
        The text; "" for an empty query, which is not reranked.

    Raises
    ------
    TypeError
        The query is not text (a Lucene query, a vector, a dict), and there is no `rerank_query`.
    ValueError
        The query is a string for machines (a JSON vector, wordpieces), or no valid Unicode.
    """
    if rerank_query is None:
        if not isinstance(query, str):
            raise TypeError(
                f"the query is a {type(query).__name__}, not text: pass the text to rerank with as "
                "rerank_query= (rerank_queries= for a batch)."
            )
        kind = machine_format(query, searcher)
        if kind:
            raise ValueError(
                f"the query is {kind}, not text: pass the text to rerank with as rerank_query= "
                "(rerank_queries= for a batch)."
            )
        rerank_query = query
    return text_or_blank(rerank_query)


def checked_query(query: Any) -> str:
    """Check that a query is text that can be scored; raises as `text_or_blank`, and ValueError if it is empty."""
    text = text_or_blank(query)
    if not text:
        raise ValueError("the query is empty: there is nothing to rerank with.")
    return text


def text_or_blank(query: Any) -> str:
    """Check that a query is text, and return it; return "" if it is white space only.

    Raises
    ------
    TypeError, ValueError
        The query is no string; it holds half of a surrogate pair.
    """
    if not isinstance(query, str):
        raise TypeError(f"the query to rerank with is a {type(query).__name__}, not a string.")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the query {excerpt(query)} holds half of a surrogate pair at character {error.start}: "
            "clean it with query.encode('utf-8', 'replace').decode()."
        ) from None
    return query if query.strip() else ""


def check_batch(queries: Sequence[Any], qids: Sequence[Any]) -> None:
    """Check the queries and qids of a batch. Pyserini would cut the longer list, or merge equal qids, in silence.

    Raises
    ------
    TypeError, ValueError
        The numbers of queries and qids differ; a qid is no string, or comes twice.
    """
    if len(queries) != len(qids):
        raise ValueError(f"there are {len(queries)} queries and {len(qids)} qids: give one qid a query.")
    seen = set()
    for qid in qids:
        if not isinstance(qid, str):
            raise TypeError(f"the qid {qid!r} is a {type(qid).__name__}: Pyserini's qids are strings.")
        if qid in seen:
            raise ValueError(f"the qid {qid!r} comes twice: the results are kept by qid, and one would be lost.")
        seen.add(qid)


def machine_format(query: str, searcher: Any) -> str:
    """Describe the format of a query that is a string but not a person's words; "" for all others."""
    while hasattr(searcher, "first_stage"):  # the searcher reranks already
        searcher = searcher.first_stage.searcher
    if type(getattr(searcher, "query_encoder", None)).__name__ == "TokFreqQueryEncoder":
        return "pre-tokenized (an impact searcher without an encoder takes wordpieces)"
    dense = any(is_a(searcher, f"Lucene{kind}DenseSearcher") for kind in ("Hnsw", "Flat"))
    if dense and query.lstrip().startswith("["):
        try:
            json.loads(query)
        except json.JSONDecodeError:
            return ""
        return "a JSON vector"
    return ""


def excerpt(text: str) -> str:
    """Give the beginning of a text for an error message, in ASCII."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
