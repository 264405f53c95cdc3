"""A small experiment for the tests: a collection, topics, a run, judgements and a tiny model; and the command on it."""

import json
import random
import sys
from pathlib import Path

import pytest
from pyserini_rerank.cli.main import main
from tiny_checkpoints import build

NAME = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
WORDS = ["berlin", "people", "live", "flea", "cycle", "temporary", "folder", "remove", "museum", "long"]


def write_experiment(folder: Path, queries: int, hits: int) -> Path:
    numbers = random.Random(1)
    texts = {f"d{i}": " ".join(numbers.choices(WORDS, k=numbers.randint(5, 40))) for i in range(5 * hits)}
    topics = {f"q{i}": " ".join(numbers.choices(WORDS, k=4)) + f" {i}" for i in range(queries)}
    (folder / "docs.jsonl").write_text(
        "".join(json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in texts.items())
    )
    (folder / "topics.tsv").write_text("".join(f"{qid}\t{query}\n" for qid, query in topics.items()))
    run, qrels = [], []
    for qid in topics:
        found = numbers.sample(list(texts), hits)
        run += [f"{qid} Q0 {docid} {rank} {100 - rank}.5 first\n" for rank, docid in enumerate(found, 1)]
        qrels += [f"{qid} 0 {docid} {numbers.randint(0, 2)}\n" for docid in found[::2]]
    (folder / "first.run").write_text("".join(run))
    (folder / "qrels.txt").write_text("".join(qrels))
    build(NAME, folder)
    return folder


def arguments(folder: Path, output: str, *more: str) -> list[str]:
    return [
        *("rerank", "--run", str(folder / "first.run"), "--topics", str(folder / "topics.tsv")),
        *("--collection", str(folder / "docs.jsonl"), "--model", str(folder / NAME), "--device", "cpu"),
        *("--output", str(folder / output), *more),
    ]


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)
