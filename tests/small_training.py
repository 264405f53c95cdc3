"""Twenty queries with judgements for the tests of training data, and what reads a folder of it."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiment import NAME, WORDS
from pyserini_rerank import TrainingData
from pyserini_rerank.training.training_data import SPLITS, JudgedQuery
from tiny_checkpoints import build

OTHER = "cross-encoder/ms-marco-MiniLM-L-2-v2"
QUERIES, HITS = 20, 12


@dataclass(frozen=True)
class Small:
    """Twenty queries, none of which is related to another, with twelve hits each of a hundred documents.

    Of query i the document d(5i) has grade 2, d(5i+1) grade 1 and d(5i+3) grade 0, and all three are found; d(5i+2) has
    grade 1 and is not found.
    """

    folder: Path

    @cached_property
    def texts(self) -> dict[str, str]:
        numbers = random.Random(1)
        return {f"d{i}": " ".join(numbers.choices(WORDS, k=numbers.randint(3, 30))) for i in range(5 * QUERIES)}

    @cached_property
    def topics(self) -> dict[str, str]:
        return {f"q{i}": f"{WORDS[i % 10]} {WORDS[i // 2 % 10]} {i}" for i in range(QUERIES)}

    @cached_property
    def qrels(self) -> dict[str, dict[str, int]]:
        grades = ((0, 2), (1, 1), (2, 1), (3, 0))
        return {f"q{i}": {f"d{5 * i + place}": grade for place, grade in grades} for i in range(QUERIES)}

    @cached_property
    def hits(self) -> dict[str, list[str]]:
        found = {}
        for i, qid in enumerate(self.topics):
            numbers = random.Random(i)
            own = {5 * i + place for place in range(5)}
            others = numbers.sample([j for j in range(5 * QUERIES) if j not in own], HITS - 3)
            mixed = [f"d{j}" for j in (5 * i, 5 * i + 1, 5 * i + 3, *others)]
            numbers.shuffle(mixed)
            found[qid] = mixed
        return found

    def hits_of_scores(self) -> dict[str, dict[str, float]]:
        return {qid: {docid: -float(rank) for rank, docid in enumerate(found)} for qid, found in self.hits.items()}

    @property
    def given(self) -> dict[str, Any]:
        return {
            "first_stage": self.folder / "first.run",
            "topics": self.folder / "topics.tsv",
            "qrels": self.folder / "qrels.txt",
            "texts": self.folder / "docs.jsonl",
            "seed": 3,
        }

    @property
    def model(self) -> str:
        return str(self.folder / NAME)

    @property
    def taught(self) -> dict[str, Any]:
        return self.given | {"teacher": self.model, "device": "cpu"}

    @property
    def words(self) -> list[str]:
        files = [str(self.folder / name) for name in ("first.run", "topics.tsv", "qrels.txt", "docs.jsonl")]
        named = zip(("--run", "--topics", "--qrels", "--collection"), files, strict=True)
        return ["train-data", *(word for pair in named for word in pair), "--seed", "3"]

    def write(self) -> "Small":
        rows = (json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in self.texts.items())
        (self.folder / "docs.jsonl").write_text("".join(rows))
        (self.folder / "topics.tsv").write_text("".join(f"{qid}\t{query}\n" for qid, query in self.topics.items()))
        write_run(self.folder / "first.run", self.hits)
        lines = (f"{qid} 0 {docid} {grade}\n" for qid, grades in self.qrels.items() for docid, grade in grades.items())
        (self.folder / "qrels.txt").write_text("".join(lines))
        build(NAME, self.folder)
        build(OTHER, self.folder)
        return self


def write_run(path: Path, hits: Mapping[str, list[str]]) -> Path:
    ranked = ((qid, docid, rank) for qid, found in hits.items() for rank, docid in enumerate(found, 1))
    path.write_text("".join(f"{qid} Q0 {docid} {rank} {100 - rank}.5 first\n" for qid, docid, rank in ranked))
    return path


def files(folder: Path, *names: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not names or path.name in names}


#: The files that do not say where the data came from.
DATA = (*(f"{split}.parquet" for split in SPLITS), "qrels.txt")


def splits_of(data: TrainingData) -> dict[str, list[JudgedQuery]]:
    return {split: list(data.queries(split)) for split in SPLITS}


def ranked(query: JudgedQuery) -> list[str]:
    """The docids of a query's candidates."""
    found = {document.rank: document.docid for document in query.documents if document.rank is not None}
    return [found[rank] for rank in sorted(found)]


def all_candidates(data: TrainingData) -> dict[str, list[str]]:
    return {query.qid: ranked(query) for split in SPLITS for query in data.queries(split)}
