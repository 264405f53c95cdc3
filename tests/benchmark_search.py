"""How long a person waits for one query whose 100 candidates are reranked, for each backend and dtype of the CPU.

    python tests/benchmark_search.py [QUERIES]

prints the median and the 95th of 100 of so many searches, in milliseconds, with the bundled MiniLM-L-12 and with its
first six layers, which is MiniLM-L-6's shape. The last column is the first search, after the model was loaded.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from shutil import copytree

import numpy as np
import pyserini_rerank
from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank.scoring.checkpoints import bundled
from rounds import asked, indexed
from safetensors.numpy import load_file, save_file

DEPTH, K = 100, 10
WAYS = [
    {"backend": "torch"},
    {"backend": "torch", "dtype": "bfloat16"},
    {"backend": "onnx"},
    {"backend": "onnx", "dtype": "int8"},
    {"backend": "openvino"},
    {"backend": "openvino", "dtype": "bfloat16"},
    {"backend": "openvino", "dtype": "int8"},
]


def main(count: int = 10) -> None:
    with tempfile.TemporaryDirectory() as folder:
        indexed(str(Path(folder, "index")))
        searcher = LuceneSearcher(str(Path(folder, "index")))
        six = first_layers(6, Path(folder, "six"))
        for name, checkpoint in (("12 layers", "bundled"), ("6 layers", six)):
            for way in WAYS:
                try:
                    reranker = pyserini_rerank.load(checkpoint, device="cpu", **way)
                except TypeError:  # backends of the CPU alone take no device
                    reranker = pyserini_rerank.load(checkpoint, **way)
                with reranker:
                    searcher.set_reranker(reranker, depth=DEPTH)
                    taken = [timed(searcher, query) for query in asked(count + 1)]
                    median, most = np.percentile(taken[1:], [50, 95])
                    print(
                        f"{median:7.0f} / {most:7.0f} ms, first {taken[0]:7.0f}  {name}, {' '.join(way.values())}",
                        flush=True,
                    )
                    searcher.unset_reranker()


def timed(searcher: LuceneSearcher, query: str) -> float:
    start = time.perf_counter()
    searcher.search(query, k=K)
    return 1000 * (time.perf_counter() - start)


def first_layers(count: int, folder: Path) -> Path:
    """Write the bundled checkpoint with its first layers alone."""
    copytree(bundled.folder(), folder)
    weights = load_file(folder / "model.safetensors")
    kept = {
        name: array
        for name, array in weights.items()
        if ".layer." not in name or int(name.split(".layer.")[1].split(".")[0]) < count
    }
    save_file(kept, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": count}))
    return folder


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
