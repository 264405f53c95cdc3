"""What Pyserini's servers serve in the tests: an index of every type, and the library's answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from collection import Bge, HashBackend, WordEncoder, hashed
from pyserini_rerank import ModelReranker, Reranker, RerankingSearcher
from pyserini_rerank.scoring.backend import BackendFault

KINDS = ["bm25", "impact", "flat", "hnsw", "faiss"]
TYPES = {"bm25": "tf", "impact": "impact", "flat": "lucene_flat", "hnsw": "lucene_hnsw", "faiss": "faiss"}
DEPTH = 12
#: A document with fields, as MS MARCO V2 has them.
PAGE = {"id": "page", "title": "Threads", "contents": "zither " * 600, "parts": [{"body": "x" * 3000}], "year": 2025}


def write_config(get: Any, folder: Path, encoder: Bge, patch: pytest.MonkeyPatch, **more: Any) -> str:
    """Write Pyserini's YAML of an index of every type. Encoders, which it names, come from here and not from a hub."""
    from pyserini.index.lucene import LuceneIndexer
    from pyserini.search.faiss import FaissSearcher
    from pyserini.search.lucene import LuceneFlatDenseSearcher, LuceneHnswDenseSearcher, LuceneImpactSearcher
    from pyserini.server.utils import SEARCHER_FACTORIES

    class Hnsw(LuceneHnswDenseSearcher):
        def search(self, q: str, k: int = 10) -> Any:
            return super().search(json.dumps(encoder.encode(q).tolist()), k)

    class Flat(LuceneFlatDenseSearcher):
        def search(self, q: str, k: int = 10) -> Any:
            return super().search(json.dumps(encoder.encode(q).tolist()), k)

    made = {
        "impact": lambda path, query_encoder: LuceneImpactSearcher(path, WordEncoder()),
        "lucene_flat": lambda path, encoder: Flat(path),
        "lucene_hnsw": lambda path, ef_search, encoder, verbose: Hnsw(path, ef_search),
        "faiss": lambda path, query_encoder: FaissSearcher(path, encoder),
    }
    for kind, make in made.items():
        patch.setitem(SEARCHER_FACTORIES, kind, (make, *SEARCHER_FACTORIES[kind][1:]))
    paths = {kind: get("lucene_index" if kind == "bm25" else f"{kind}_index") for kind in KINDS}
    indexes: dict[str, Any] = {
        kind: {"path": path, "index_type": TYPES[kind]}
        | ({} if kind == "bm25" else {"base_index": "bm25", "encoder": "by-name"})
        for kind, path in paths.items()
    }
    indexes["hnsw"]["ef_search"] = 100  # without it Pyserini's REST server cannot open an HNSW index
    for name, options in {"no-text": [], "pages": ["-storeRaw"]}.items():
        indexes[name] = str(folder / name)
        indexer = LuceneIndexer(args=["-index", str(folder / name), *options], threads=1)
        indexer.add_doc_raw(json.dumps(PAGE))
        indexer.close()
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({"indexes": indexes, **more}))
    return str(file)


def known_scores() -> Reranker:
    """A reranker whose scores are known beforehand, and which fails where a query says so."""
    return ModelReranker(HashBackend(_score), "hashing")


def _score(query: str, text: str) -> float:
    """Score a pair, or fail as a query says."""
    if "refused" in query:
        raise ConnectionError("the server cannot be reached")
    if "garbled" in query:
        raise BackendFault("the server gave no list of results")
    return float("nan") if "NaN" in query else hashed(query, text)


class Library:
    """The library's own answers on the same indexes: docid, score, first rank and first score, as servers round.

    A first score may lie so near to the middle between two rounded ones that a server has the other one.
    """

    def __init__(self, make_searcher: Any, documents: dict[str, str], encoder: Bge) -> None:
        self.make, self.texts, self.encoder = make_searcher, documents, encoder

    def __call__(self, kind: str, query: str, hits: int, depth: int = DEPTH) -> list[tuple[str, float, int, Any]]:
        searcher = RerankingSearcher(
            self.make(kind), known_scores(), depth=depth, texts=None if kind == "bm25" else self.texts
        )
        asked = json.dumps(self.encoder.encode(query).tolist()) if kind in ("flat", "hnsw") else query
        found = searcher.search(asked, k=hits, rerank_query=query)
        return [
            (t.docid, round(t.score, 6), t.first_rank, pytest.approx(t.first_score, rel=0, abs=2e-6))
            for t in found.traces
        ]


def listed(candidates: list[dict[str, Any]]) -> list[tuple[str, float, int, float]]:
    """Give a server's candidates as `Library` does, and check their ranks."""
    assert [candidate["rank"] for candidate in candidates] == list(range(1, len(candidates) + 1))
    return [tuple(one[name] for name in ("docid", "score", "first_rank", "first_score")) for one in candidates]
