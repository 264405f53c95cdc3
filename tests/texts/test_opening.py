"""A collection file as the source of a searcher's texts, and hits whose documents have none."""

import gc
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
from collection import HashBackend, WordBackend, docids, expected, listed, threaded
from pyserini_rerank import (
    Cascade,
    Counts,
    EmptyDocumentWarning,
    Interpolation,
    MissingText,
    ModelReranker,
    Reranker,
    RerankingSearcher,
    Segments,
    SkippedDocumentWarning,
    Windows,
)
from pyserini_rerank.texts.opening import open_source

QIDS = list("abcdef")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, str]) -> dict[str, Path]:
    """The documents as collection files of both formats."""
    folder = tmp_path_factory.mktemp("collections")
    rows = [json.dumps({"id": docid, "contents": text}) for docid, text in documents.items()]
    (folder / "docs.jsonl").write_text("".join(f"{row}\n" for row in rows))
    lines = [f"{docid}\t{' '.join(text.split())}\n" for docid, text in documents.items()]
    (folder / "docs.tsv").write_text("".join(lines))
    return {"jsonl": folder / "docs.jsonl", "tsv": folder / "docs.tsv"}


@pytest.mark.parametrize("kind", ["jsonl", "tsv"])
def test_texts_of_a_collection_file(
    kind: str, files: Any, make_searcher: Any, queries: list[str], documents: dict[str, str], hashing: Reranker
) -> None:
    texts = documents if kind == "jsonl" else {docid: " ".join(text.split()) for docid, text in documents.items()}
    plain, searcher = make_searcher("faiss"), make_searcher("faiss")
    first = plain.batch_search(queries, QIDS, 15)
    wanted = {qid: expected(query, docids(first[qid]), texts, 5) for qid, query in zip(QIDS, queries, strict=True)}
    searcher.set_reranker(hashing, depth=15, texts=files[kind])
    assert {qid: listed(hits) for qid, hits in searcher.batch_search(queries, QIDS, 5).items()} == wanted
    assert listed(searcher.search(queries[0], 5)) == wanted["a"]
    assert listed(hashing.rerank(queries[0], first["a"], 5, texts=str(files[kind]))) == wanted["a"]
    made = RerankingSearcher(plain, hashing, depth=15, texts=str(files[kind]))
    assert listed(made.search(queries[0], 5)) == wanted["a"]


def test_a_collection_is_read_by_many_threads(files: Any, documents: dict[str, str]) -> None:
    source = open_source(files["jsonl"], None)
    assert source.location == str(files["jsonl"])
    names = list(documents)
    orders = [np.random.default_rng(seed).permutation(names).tolist() for seed in range(8)]
    for order, texts in zip(orders, threaded(8, lambda order: source.read(order * 5, []), orders), strict=True):
        assert texts == [documents[docid].strip() for docid in order * 5]


@pytest.mark.parametrize("write", ["shorter", "longer", "empty", "shifted"])
def test_a_collection_that_is_written_to_while_it_is_open(write: str, tmp_path: Path, hashing: Reranker) -> None:
    """Nor are its documents skipped as missing. A file that takes its place is another one."""
    path, hits = tmp_path / "docs.jsonl", [Hit(f"d{i}", 9.0 - i) for i in range(9)]
    before = "".join(json.dumps({"id": hit.docid, "contents": "x" * (i + 20)}) + "\n" for i, hit in enumerate(hits))
    path.write_text(before)
    source = open_source(path, None, missing="skip")
    texts = source.read([hit.docid for hit in hits], [])
    other = tmp_path / "other.jsonl"
    other.write_text("")
    path.rename(tmp_path / "renamed.jsonl")
    other.rename(path)
    assert source.read([hit.docid for hit in hits], []) == texts
    after = {"shorter": before.replace("x", ""), "longer": before.replace("x", "xxx"), "shifted": f"\n{before}"}
    (tmp_path / "renamed.jsonl").write_text(after.get(write, ""))
    with pytest.raises(ValueError, match=r"docs\.jsonl has changed since it was opened: open it again\.$"):
        source.read([hit.docid for hit in hits], [])


def test_a_collection_that_nobody_needs_any_more_is_closed(files: Any, hashing: Reranker, documents: Any) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        hashing.rerank("flea", [Hit(next(iter(documents)), 1.0)], texts=files["jsonl"])
        gc.collect()
    assert not [str(warning.message) for warning in warned if str(files["jsonl"]) in str(warning.message)]


def test_what_is_no_collection_file(tmp_path: Path, hashing: Reranker, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs.jsonl").write_text('{"contents": "no docid"}\n')
    (tmp_path / "docs.gz").write_bytes(b"\x1f\x8b\x08\x00")
    for name, message in [("docs.jsonl", "line 1: .*correct the line"), ("docs.gz", "docs.gz is compressed, and ")]:
        with pytest.raises(ValueError, match=message) as error:
            hashing.rerank("q", [Hit("d1", 1.0)], texts=tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"texts= names 'gone\.jsonl', .*nor a collection file"):
        hashing.rerank("q", [Hit("d1", 1.0)], texts="gone.jsonl")
    (tmp_path / "docs.jsonl").write_text("")
    with pytest.raises(MissingText, match=r"hit d1 has no text in .*docs\.jsonl: pass texts=.*missing='skip'"):
        hashing.rerank("q", [Hit("d1", 1.0)], texts=tmp_path / "docs.jsonl")


# ------------------------------------------------------------------------------------------------ hits without a text


class Hit:
    def __init__(self, docid: str, score: float) -> None:
        self.docid, self.score = docid, score


HITS = [Hit(f"D{i // 2}#{i % 2}", 20.0 - i) for i in range(12)]
WHOLE = {hit.docid: f"words of the flea number {i} and more of them" for i, hit in enumerate(HITS)}
#: The same, without some documents: two in the middle, the first, the last, and both segments of one.
PARTIAL = {docid: text for docid, text in WHOLE.items() if docid not in ("D0#0", "D2#0", "D2#1", "D3#1", "D5#1")}
EMPTY = {docid: PARTIAL.get(docid, " ") for docid in WHOLE}


class Everything:
    def search(self, query: str, k: int = 10) -> list[Hit]:
        return HITS[:k]

    def batch_search(self, queries: list[str], qids: list[str], k: int = 10) -> dict[str, list[Hit]]:
        return dict.fromkeys(qids, HITS[:k])


def model() -> ModelReranker:
    return ModelReranker(WordBackend(), "model")


COMBINATIONS: dict[str, Any] = {
    "model": model,
    "cascade": lambda: Cascade([(model(), 9), (model(), 4)]),
    "interpolation": lambda: Interpolation(model()),
    "windows": lambda: Windows(model(), 3, 2),
    "segments": lambda: Segments(model()),
    "segments of windows of a cascade": lambda: Segments(Windows(Cascade([(model(), 3), (model(), 2)]), 3, 2)),
}


@pytest.mark.parametrize("kind", COMBINATIONS)
def test_hits_without_text_stay_where_empty_ones_do(kind: str) -> None:
    results = []
    for given, kind_of_warning in (({"texts": EMPTY}, EmptyDocumentWarning),
                                   ({"texts": PARTIAL, "missing": "skip"}, SkippedDocumentWarning)):  # fmt: skip
        reranker = COMBINATIONS[kind]()
        searcher = RerankingSearcher(Everything(), reranker, depth=10, **given)
        with pytest.warns(kind_of_warning, match=f"{4} documents .*stay below the") as warned:
            found = [searcher.search("flea", k=12)]
        assert len(warned) == 1
        found += searcher.batch_search(["flea", "cat"], ["1", "2"], k=12).values()
        found.append(reranker.rerank("flea", HITS, **given))
        counts = vars(reranker.counts)
        skipped = 4 + 4 + 4 + 5
        assert (counts.pop("empty"), counts.pop("missing")) in ((skipped, 0), (0, skipped))
        results.append(([(listed(hits), hits.traces, hits.scored) for hits in found], counts))
    assert results[0] == results[1]
    best, rest = results[0][0][0][0], [docid for docid, _ in results[0][0][0][0]][-6:]
    assert all(before > after for (_, before), (_, after) in zip(best[-6:], best[-5:], strict=False))
    if kind == "model":
        assert rest == ["D0#0", "D2#0", "D2#1", "D3#1", "D5#0", "D5#1"], "the four, and those below the depth"


@pytest.mark.parametrize("kind", COMBINATIONS)
def test_without_a_word_a_hit_without_text_is_an_error(kind: str) -> None:
    reranker = COMBINATIONS[kind]()
    for given in ({}, {"missing": "error"}):
        with pytest.raises(MissingText, match="hit D0#0 has no text in the mapping given as texts="):
            reranker.rerank("flea", HITS, texts=PARTIAL, **given)
    assert reranker.counts == Counts()


def test_skipping_over_stored_documents(
    searcher: Any, make_searcher: Any, query: str, hashing: Reranker, documents: dict[str, str], tmp_path: Path
) -> None:
    """Of Java's hits, by a file, and with all of the texts gone."""
    first = docids(make_searcher("bm25").search(query, 12))
    kept = [docid for docid in first if docid not in (first[0], first[7])]
    rows = [json.dumps({"id": docid, "contents": documents[docid]}) for docid in kept]
    (tmp_path / "docs.jsonl").write_text("\n".join(rows))
    searcher.set_reranker(hashing, depth=12, texts=tmp_path / "docs.jsonl", missing="skip")
    with pytest.warns(SkippedDocumentWarning, match="2 documents were not found and stay below the 10"):
        hits = searcher.search(query, 12)
    assert listed(hits)[:10] == expected(query, kept, documents, 10)
    assert docids(hits)[10:] == [first[0], first[7]] and hits[9].score > hits[10].score > hits[11].score
    made = pyserini_rerank.compare(searcher, query, k=12)
    assert [row.docid for row in made.rows if row.score is None] == [first[0], first[7]]
    searcher.set_reranker(hashing, depth=12, texts={}, missing="skip")
    assert docids(searcher.search(query, 12)) == first
    assert searcher._reranking.texts.skips_missing and hashing.counts.missing == 2 + 2 + 12


@pytest.mark.parametrize("missing", ["ignore", None, True])
def test_what_missing_may_be(missing: Any, hashing: Reranker, searcher: Any) -> None:
    for call in (lambda: hashing.rerank("q", [], texts={}, missing=missing),
                 lambda: searcher.set_reranker(ModelReranker(HashBackend(), "m"), missing=missing)):  # fmt: skip
        with pytest.raises(ValueError, match=f"^missing={missing!r}: give 'error' or 'skip'.$"):
            call()
    assert not searcher.is_using_reranker()
