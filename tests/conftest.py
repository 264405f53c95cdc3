"""Real indexes of real documents, made once a session, and the model that reranks them."""

import gc
import json
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import collection
import forking
import numpy as np
import pyserini_rerank
import pytest
from collection import Bge, BinaryBge, HashBackend, SlimWordEncoder, WordEncoder

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A shell has what it runs in the background ignore Ctrl-C, and whatever that starts as well.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Several workers have one server of tests/forking.py; without them the first test that needs it starts one."""
    if getattr(config.option, "numprocesses", None):
        forking.python()


def pytest_collection_finish() -> None:
    """Garbage collections leave out what was imported, and are rarer. This saves 9 % of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="session")
def reranker() -> Iterator[pyserini_rerank.Reranker]:
    """The real model: MiniLM-L-12 on the CPU."""
    loaded = pyserini_rerank.load("bundled", device="cpu")
    yield loaded
    loaded.close()


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the model's nth batch interrupted; gives a list that grows with the batches."""
    from pyserini_rerank.scoring.backends.torch_backend import TorchBackend

    plain, ran = TorchBackend.run, []

    def interrupt_at(nth: int | None) -> list[Any]:
        ran.clear()

        def interrupted(self: Any, batch: Any) -> Any:
            ran.append(batch)
            if len(ran) == nth:
                raise KeyboardInterrupt
            return plain(self, batch)

        monkeypatch.setattr(TorchBackend, "run", interrupted)
        return ran

    return interrupt_at


@pytest.fixture
def backend() -> HashBackend:
    """A backend whose scores are known beforehand."""
    return HashBackend()


@pytest.fixture
def hashing(backend: HashBackend) -> pyserini_rerank.Reranker:
    """The reranker over `backend`."""
    return pyserini_rerank.ModelReranker(backend, "hashing")


@pytest.fixture(scope="session")
def documents() -> dict[str, str]:
    """Some two hundred documents by docid: docstrings of the standard library, under 80 words each."""
    found = collection.documents()
    assert 150 < len(found) < 400
    return found


@pytest.fixture(scope="session")
def numbered(documents: dict[str, str]) -> dict[str, str]:
    """The same texts, with the docids "0", "1" ... that SLIM and BPR indexes need."""
    return collection.numbered(documents)


@pytest.fixture(scope="session")
def queries() -> list[str]:
    return list(collection.QUERIES)


@pytest.fixture(scope="session")
def query(queries: list[str]) -> str:
    return queries[0]


@pytest.fixture(scope="session")
def encoder() -> Bge:
    """The real bge-small-en-v1.5."""
    return Bge()


@pytest.fixture(scope="session")
def vectors(encoder: Bge, documents: dict[str, str]) -> np.ndarray:
    """The documents' vectors: float32 (n, 384)."""
    texts = list(documents.values())
    by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    made = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    for start in range(0, len(texts), 32):
        rows = by_length[start : start + 32]
        made[rows] = encoder.encode_documents([texts[row] for row in rows])
    return made


@pytest.fixture(scope="session")
def lucene_index(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, str]) -> str:
    """A Lucene index for BM25, with raw documents, positions and document vectors."""
    return collection.build_lucene_index(tmp_path_factory.mktemp("bm25") / "index", documents)


@pytest.fixture(scope="session")
def lucene_halves(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, str]) -> list[str]:
    """Two Lucene indexes, each with every other document."""
    folder, items = tmp_path_factory.mktemp("halves"), list(documents.items())
    return [collection.build_lucene_index(folder / str(half), dict(items[half::2])) for half in (0, 1)]


@pytest.fixture(scope="session")
def impact_index(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, str]) -> str:
    """An impact index with raw documents; a word weighs as often as it is there."""
    return _impact_index(tmp_path_factory.mktemp("impact"), documents)


@pytest.fixture(scope="session")
def slim_index(tmp_path_factory: pytest.TempPathFactory, numbered: dict[str, str]) -> tuple[str, str]:
    """The folder of a SLIM corpus, and its impact index."""
    import scipy.sparse

    corpus = tmp_path_factory.mktemp("slim")
    matrices = [collection.word_vectors(collection.words(text)) for text in numbered.values()]
    ends = np.cumsum([matrix.shape[0] for matrix in matrices]).tolist()
    with open(corpus / "sparse_range.pkl", "wb") as file:
        pickle.dump(list(zip([0, *ends], ends, strict=False)), file)
    scipy.sparse.save_npz(corpus / "sparse_vec.npz", scipy.sparse.vstack(matrices).tocsr())
    return str(corpus), _impact_index(corpus / "impact", numbered)


@pytest.fixture(scope="session")
def hnsw_index(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, str], vectors: np.ndarray) -> str:
    """A Lucene HNSW index of the bge vectors; it stores no text."""
    folder = tmp_path_factory.mktemp("hnsw")
    options = ("-generator", "DenseVectorDocumentGenerator", "-M", "16", "-efC", "100", "-quiet")
    rows = _dense_rows(documents, vectors)
    return collection.run_indexer("IndexHnswDenseVectors", "JsonDenseVectorCollection", folder, rows, *options)


@pytest.fixture(scope="session")
def flat_index(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, str], vectors: np.ndarray) -> str:
    """A flat Lucene index of the bge vectors; it stores no text."""
    folder = tmp_path_factory.mktemp("flat")
    options = ("-generator", "DenseVectorDocumentGenerator", "-quiet")
    rows = _dense_rows(documents, vectors)
    return collection.run_indexer("IndexFlatDenseVectors", "JsonDenseVectorCollection", folder, rows, *options)


@pytest.fixture(scope="session")
def faiss_index(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, str], vectors: np.ndarray) -> str:
    """A Faiss index of the bge vectors: flat, inner product."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return write_faiss_index(tmp_path_factory.mktemp("faiss"), index, documents)


@pytest.fixture(scope="session")
def ivf_index(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, str], vectors: np.ndarray) -> str:
    """A Faiss index that looks into one of four cells, and pads what it does not find there."""
    import faiss

    index = faiss.index_factory(vectors.shape[1], "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return write_faiss_index(tmp_path_factory.mktemp("ivf"), index, documents)


@pytest.fixture(scope="session")
def binary_index(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> str:
    """A binary Faiss index as BPR has it; its docids are row numbers."""
    import faiss

    folder = tmp_path_factory.mktemp("binary")
    index = faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(vectors.shape[1]))
    index.add_with_ids(np.packbits(vectors > 0, axis=1), np.arange(len(vectors)))
    faiss.write_index_binary(index, str(folder / "index"))
    return str(folder)


@pytest.fixture
def searcher(lucene_index: str) -> Iterator[Any]:
    """A LuceneSearcher, as Pyserini makes it."""
    from pyserini.search.lucene import LuceneSearcher

    made = LuceneSearcher(lucene_index)
    yield made
    made.close()


@pytest.fixture
def make_searcher(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Any]]:
    """Make a searcher by a short name of its kind: see `MAKERS`. It is closed afterwards."""
    made = []

    def make(kind: str) -> Any:
        searcher = MAKERS[kind](request.getfixturevalue)
        made.append(searcher)
        return searcher

    yield make
    for searcher in made:
        if hasattr(searcher, "close"):
            searcher.close()


def write_faiss_index(folder: Path, index: Any, docids: Any) -> str:
    """Write an index as Pyserini reads it."""
    import faiss

    faiss.write_index(index, str(folder / "index"))
    (folder / "docid").write_text("".join(f"{docid}\n" for docid in docids))
    return str(folder)


def _impact_index(folder: Path, documents: dict[str, str]) -> str:
    encode = WordEncoder().encode
    rows = [{"id": docid, "contents": text, "vector": encode(text)} for docid, text in documents.items()]
    options = ("-generator", "DefaultLuceneDocumentGenerator", "-impact", "-pretokenized", "-storeRaw", "-quiet")
    return collection.run_indexer("IndexCollection", "JsonVectorCollection", folder, rows, *options)


def _dense_rows(documents: dict[str, str], vectors: np.ndarray) -> list[dict[str, Any]]:
    rows = zip(documents, vectors.tolist(), strict=True)
    return [{"docid": docid, "contents": "", "vector": vector} for docid, vector in rows]


def _bm25(get: Any) -> Any:
    from pyserini.search.lucene import LuceneSearcher

    return LuceneSearcher(get("lucene_index"))


def _impact(get: Any) -> Any:
    from pyserini.search.lucene import LuceneImpactSearcher

    return LuceneImpactSearcher(get("impact_index"), WordEncoder())


def _wordpieces(get: Any) -> Any:
    from pyserini.search.lucene import LuceneImpactSearcher

    return LuceneImpactSearcher(get("impact_index"), None)


def _slim(get: Any) -> Any:
    from pyserini.search.lucene import SlimSearcher

    corpus, index = get("slim_index")
    return SlimSearcher(corpus, index, SlimWordEncoder())


def _fusion(get: Any) -> Any:
    from pyserini.fusion import FusionMethod
    from pyserini.search.lucene import LuceneFusionSearcher

    return LuceneFusionSearcher(get("lucene_halves"), FusionMethod.RRF)


def _hnsw(get: Any) -> Any:
    from pyserini.search.lucene import LuceneHnswDenseSearcher

    return LuceneHnswDenseSearcher(get("hnsw_index"))


def _flat(get: Any) -> Any:
    from pyserini.search.lucene import LuceneFlatDenseSearcher

    return LuceneFlatDenseSearcher(get("flat_index"))


def _faiss(get: Any) -> Any:
    from pyserini.search.faiss import FaissSearcher

    return FaissSearcher(get("faiss_index"), get("encoder"))


def _ivf(get: Any) -> Any:
    from pyserini.search.faiss import FaissSearcher

    return FaissSearcher(get("ivf_index"), get("encoder"))


def _binary(get: Any) -> Any:
    from pyserini.search.faiss import BinaryDenseFaissSearcher

    return BinaryDenseFaissSearcher(get("binary_index"), BinaryBge(get("encoder")))


def _hybrid(get: Any) -> Any:
    from pyserini.search.hybrid import HybridSearcher

    return HybridSearcher(_faiss(get), _bm25(get))


#: Pyserini's searchers, each on a real index.
MAKERS: dict[str, Callable[[Any], Any]] = {
    "bm25": _bm25,
    "impact": _impact,
    "wordpieces": _wordpieces,
    "slim": _slim,
    "fusion": _fusion,
    "hnsw": _hnsw,
    "flat": _flat,
    "faiss": _faiss,
    "ivf": _ivf,
    "binary": _binary,
    "hybrid": _hybrid,
}


@pytest.fixture
def vector_query(encoder: Bge) -> Callable[[str], str]:
    """Write a text's vector as the JSON that Lucene's dense searchers read where they have no encoder."""
    return lambda text: json.dumps(encoder.encode(text).tolist())
