"""Hits as a table."""

import sys
from typing import Any

import pytest
from pyserini_rerank import Reranker


def test_a_row_is_a_hit(searcher: Any, hashing: Reranker, query: str) -> None:
    first = {hit.docid: (rank, hit.score) for rank, hit in enumerate(searcher.search(query, k=30), 1)}
    searcher.set_reranker(hashing, depth=30)
    hits = searcher.search(query, k=5)
    frame = hits.to_pandas()
    assert list(frame.columns) == ["rank", "docid", "score", "first_rank", "first_score"]
    assert list(frame.itertuples(index=False, name=None)) == [
        (rank, hit.docid, hit.score, *first[hit.docid]) for rank, hit in enumerate(hits, 1)
    ]
    assert frame["score"].dtype == "float64" and frame["first_rank"].dtype == "int64"


def test_no_hits(searcher: Any, hashing: Reranker) -> None:
    searcher.set_reranker(hashing)
    frame = searcher.search("nosuchwordanywhere").to_pandas()
    assert len(frame) == 0 and len(frame.columns) == 5


def test_without_pandas(searcher: Any, hashing: Reranker, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher.set_reranker(hashing)
    hits = searcher.search(query)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^to_pandas\(\) needs pandas: pip install pandas\.$"):
        hits.to_pandas()
