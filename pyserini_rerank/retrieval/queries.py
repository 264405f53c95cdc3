"""The text of a query, which is what a cross-encoder reads whatever the first stage searched with."""

import json
from collections.abc import Sequence
from typing import Any

from .ownership import is_a


def query_text(query: Any, given: Any, searcher: Any) -> str:
    """Give the text to rerank with.

    Parameters
    ----------
    query
        What the first stage searches with.
    given : str or None
        The caller's `rerank_query`, which counts where there is one.
    searcher
        The first stage.

    Returns
    -------
    str
        "" for an empty query, with which there is nothing to rerank.

    Raises
    ------
    TypeError
        The query is no text (a Lucene query, a vector, a dict), and no text was given.
    ValueError
        It is text that no person wrote (a JSON vector, wordpieces), or no valid Unicode.
    """
    if given is None:
        if not isinstance(query, str):
            raise TypeError(
                f"the query is a {type(query).__name__}, not text: pass the text to rerank with as "
                "rerank_query= (rerank_queries= for a batch)."
            )
        kind = no_language(query, searcher)
        if kind:
            raise ValueError(
                f"the query is {kind}, not text: pass the text to rerank with as rerank_query= "
                "(rerank_queries= for a batch)."
            )
        given = query
    return text_or_blank(given)


def checked_query(query: Any) -> str:
    """Check that a query is text that can be scored; raises as `text_or_blank`, and ValueError if it is empty."""
    text = text_or_blank(query)
    if not text:
        raise ValueError("the query is empty: there is nothing to rerank with.")
    return text


def text_or_blank(query: Any) -> str:
    """Check that a query is text; where there is nothing but white space in it, give "".

    Raises
    ------
    TypeError, ValueError
        It is no string; it holds half of a surrogate pair.
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
    """Check a batch before Pyserini sees it, which would cut or collapse it in silence.

    Raises
    ------
    TypeError, ValueError
        Queries and qids of different number; a qid that is no string, or that comes twice.
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


def no_language(query: str, searcher: Any) -> str:
    """Say what a searcher's query is that is no text; empty where it is text."""
    while hasattr(searcher, "first_stage"):  # one that reranks already
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
    """Show the beginning of a text in an error, in ASCII."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
