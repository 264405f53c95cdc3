"""Training data that a tiny model learns within seconds: a relevant passage says "gold", and others say "black".

It is made by `train_data` itself, of hits by qid and a mapping of texts, so that no index is needed.
"""

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import forking
import tiny_checkpoints as tiny
from pyserini_rerank import train_data
from pyserini_rerank.training.quiet import quiet
from pyserini_rerank.training.student import make_student
from pyserini_rerank.training.training_data import TrainingData

NAME = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
FOUR_LAYERS = "cross-encoder/ms-marco-MiniLM-L-12-v2"
WORDS = list(dict.fromkeys(tiny._WORDS.split()))
MARKS = {0: "black", 1: "gold", 2: "gold gold"}
#: What the tests train with, unless they say otherwise.
FAST: dict[str, Any] = {
    "device": "cpu", "epochs": 3, "batch_size": 32, "learning_rate": 3e-3, "evaluations": 3, "loss": "bce"
}  # fmt: skip


def write_data(
    folder: Path, *, queries: int = 48, grades: Sequence[int] = (1,), hits: int = 8, **options: Any
) -> TrainingData:
    """Make data whose queries have hits in an order that says nothing, of which the first ones have the grades."""
    chance = random.Random(3)
    topics, found, qrels, texts = {}, {}, {}, {}
    for number in range(queries):
        qid = f"q{number}"
        topics[qid] = f"{WORDS[number]} {number}"
        of_query = {f"d{number}_{place}": (*grades, *[0] * hits)[place] for place in range(hits)}
        for docid, grade in of_query.items():
            texts[docid] = " ".join([MARKS[grade], *chance.choices(["water", "stone", "bank", "money"], k=3)])
        found[qid] = {docid: chance.random() for docid in of_query}
        qrels[qid] = of_query
    return train_data(found, topics, qrels, folder, texts=texts, **{"validation": 0.2, "test": 0.2, **options})


def student_of(base: Path) -> Any:
    """Load a base as `train` does it."""
    with quiet():
        return make_student(base, None)


def of_log(log: Sequence[dict[str, float]], key: str) -> list[float]:
    """Give the values of a log's key in the order of the steps."""
    return [entry[key] for entry in log if key in entry]


def python(script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script, or with words a module, in a process of its own that finds what this one finds."""
    given = ["-m", *words] if words else ["-c", script]
    return subprocess.run(
        [forking.python(), *given], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **variables},
    )  # fmt: skip
