"""Segments of documents to documents."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from collection import HashBackend, build_lucene_index, hashed
from pyserini_rerank import ModelReranker, Segments, Windows, load, trace

TEXTS = {
    f"D{document}#{part}": f"flea number {part} of house {document}" + " blood" * (document * part % 5)
    for document in range(12)
    for part in range(1 + document % 4)
}


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(build_lucene_index(tmp_path_factory.mktemp("segments") / "index", TEXTS))
    yield searcher
    searcher.close()


AGGREGATED = {
    "max": max,
    "first": lambda scores: scores[0],
    "sum": lambda scores: sum(1 / (1 + np.exp(-score)) for score in scores),
    2: lambda scores: np.mean(sorted(scores)[-2:]),
}


@pytest.mark.parametrize("aggregate", AGGREGATED)
@pytest.mark.parametrize("batch", [False, True], ids=["search", "batch"])
def test_one_hit_a_document(aggregate: Any, batch: bool, segmented: Any) -> None:
    query = "flea house"
    first = segmented.search(query, k=100)
    ranks: dict[str, int] = {}
    scores: dict[str, list[float]] = {}
    for rank, hit in enumerate(first, 1):
        document = hit.docid.split("#")[0]
        ranks.setdefault(document, rank)
        scores.setdefault(document, []).append(hashed(query, TEXTS[hit.docid]))
    wanted = {document: AGGREGATED[aggregate](own) for document, own in scores.items()}
    segmented.set_reranker(Segments(ModelReranker(HashBackend(), "hashing"), aggregate))
    found = segmented.batch_search([query], ["1"], k=9)["1"] if batch else segmented.search(query, k=9)
    segmented.unset_reranker()
    assert [hit.docid for hit in found] == sorted(wanted, key=lambda docid: (-wanted[docid], ranks[docid]))[:9]
    assert [hit.score for hit in found] == pytest.approx(sorted(wanted.values(), reverse=True)[:9], abs=1e-6)
    assert type(found[0]) is type(first[0])
    assert [place.first_rank for place in trace(found)] == [ranks[hit.docid] for hit in found]
    assert {hit.docid.split("#")[0] for hit in first} == set(wanted)


def test_what_is_below_the_depth_comes_once_as_well(segmented: Any) -> None:
    segmented.set_reranker(Segments(ModelReranker(HashBackend(), "hashing")), depth=5)
    found = segmented.search("flea house", k=100)
    segmented.unset_reranker()
    assert sorted(hit.docid for hit in found) == sorted(f"D{i}" for i in range(12))
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True)


def test_docids_without_a_delimiter_stay(segmented: Any) -> None:
    segmented.set_reranker(Segments(ModelReranker(HashBackend(), "hashing"), delimiter="/"), depth=100)
    found = segmented.search("flea house", k=100)
    segmented.unset_reranker()
    assert sorted(hit.docid for hit in found) == sorted(TEXTS)


def test_an_empty_delimiter(hashing: Any) -> None:
    with pytest.raises(ValueError, match="the delimiter is empty"):
        Segments(hashing, delimiter="")


@pytest.mark.parametrize("text", ["\u200b", "\u00ad", "\x00"])
def test_a_text_without_tokens_is_scored_as_by_the_model_alone(text: str) -> None:
    """A tokenizer removes these characters, and the pair of the query and nothing has a score."""
    with load("bundled", device="cpu") as model:
        alone = model.score("a flea", [text, "a flea lives"])
        windows = Windows(model)
        np.testing.assert_allclose(windows.score("a flea", [text, "a flea lives"]), alone, atol=1e-5)
        segments = {"d1#0": "a flea lives", "d1#1": text, "d2#0": "a dog"}
        hits = [SimpleNamespace(docid=docid, score=-float(rank)) for rank, docid in enumerate(segments)]
        reranked = Segments(windows).rerank("a flea", hits, texts=segments)
        assert [hit.docid for hit in reranked] == ["d1", "d2"] and reranked[0].score > 0
