"""Hits as a table: pandas', a notebook's, a terminal's."""

import io
from typing import Any

import pandas
from pyserini_rerank import Reranker
from pyserini_rerank.retrieval.hits import Hits, Trace


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


def test_a_notebook_shows_what_pandas_has(searcher: Any, hashing: Reranker, query: str) -> None:
    searcher.set_reranker(hashing, depth=30)
    hits = searcher.search(query, k=5)
    page = hits._repr_html_()
    assert page.startswith("<div>5 reranked hits</div><table>")
    (shown,) = pandas.read_html(io.StringIO(page))
    frame = hits.to_pandas().rename(columns={"first_rank": "was", "first_score": "before"})
    pandas.testing.assert_frame_equal(shown, frame[list(shown.columns)].round(4))
    assert sorted(shown.columns) == sorted(frame.columns)


def test_of_a_long_list_the_start_is_shown() -> None:
    """And what is in a docid is text."""
    traces = [Trace(f"<b>{rank}</b>", -rank / 7, 1001 - rank, 0.5, f"<b>{rank}</b>") for rank in range(1, 1001)]
    hits = Hits([None] * 1000, traces, scored=1000)
    lines = repr(hits).splitlines()
    assert lines[0] == "1000 reranked hits, of which the first 20 (to_pandas() gives all)"
    assert lines[20] == "  20    -2.8571  <b>20</b> (was 981)" and len(lines) == 21
    page = hits._repr_html_()
    assert page.startswith(f"<div>{lines[0]}</div>")
    (shown,) = pandas.read_html(io.StringIO(page))
    assert shown["docid"].tolist() == [f"<b>{rank}</b>" for rank in range(1, 21)]
    assert "<b>" not in page
    assert len(hits.to_pandas()) == 1000
