"""Distil the bundled checkpoint into 4 and 6 of its layers, and fine-tune the 6 on CACM; all are tested on new queries.

    python examples/distil.py --cacm FOLDER --dl19 FOLDER

Without the two folders, which cannot be handed on, the standard library's documentation is the only collection.
"""

import argparse
from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import pyserini_rerank
from pyserini_rerank.runs.evaluation import read_run
from pyserini_rerank.scoring.device import device_of
from pyserini_rerank.training.layers import keep_layers
from pyserini_rerank.training.loop import precision_on
from pyserini_rerank.training.quiet import quiet
from pyserini_rerank.training.student import make_student
from training_collections import Collection, cacm, dl19, library

TEACHER = "bundled"
#: On a CPU with AMX a teacher scores in bfloat16 in half of the time.
TEACHER_DTYPE = precision_on(device_of(None).type)
#: The tokens to which pairs are cut in training. The tests cut to 512, as any search does.
MAX_LENGTH = 192
#: The share of the candidates that the teacher reranks in the cascade, after a student.
BEST = 0.2
FOLDS = 3


class Student(NamedTuple):
    """The layers of the teacher that a student keeps, and the rate at which it learns."""

    layers: list[int]
    learning_rate: float


#: By their number of layers. Fewer layers begin further from the teacher, and take a higher rate.
STUDENTS = {4: Student([0, 1, 7, 8], 1e-4), 6: Student([0, 1, 4, 6, 7, 8], 5e-5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cacm", type=Path, help="the folder of CACM: documents.tar.gz, topics.txt, qrels.txt")
    parser.add_argument("--dl19", type=Path, help="the folder of DL 2019: topics.tsv, qrels.txt, bm25-top100.json.gz")
    parser.add_argument("--queries", type=int, default=200, help="the queries that are made from each collection")
    parser.add_argument("--output", type=Path, default=Path("distilled"), help="the folder for data and checkpoints")
    options = parser.parse_args()
    for folder in filter(None, (options.cacm, options.dl19)):
        if not folder.is_dir():
            parser.error(f"{folder} is no folder.")
    start = perf_counter()
    options.output.mkdir(parents=True, exist_ok=True)
    collections = {"library": library(options.output, options.queries)}
    if options.cacm:
        collections["cacm"] = cacm(options.cacm, options.output, options.queries)
    if options.dl19:
        collections["dl19"] = dl19(options.dl19, options.output, options.queries)
    tables = distil(collections, options.output)
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    if len(tables) > 1:
        print(f"\nall\n{over_all(tables, collections)}")
    if options.cacm:
        table = fine_tune(collections["cacm"], options.output / "6-layers", options.output)
        print(f"\ncacm: 6 layers, fine-tuned in {FOLDS} folds\n{table}")
        for measure, differences in table.differences.items():
            print(f"{measure}: {differences['fine-tuned']}")
    print(f"{(perf_counter() - start) / 60:.0f} minutes")


def distil(
    collections: dict[str, Collection], folder: Path, students: Mapping[int, Student] = STUDENTS, epochs: int = 1
) -> dict[str, pyserini_rerank.ExperimentResult]:
    """Train students on the teacher's scores, and compare them on each collection's test topics."""
    hits, topics, qrels, texts = (
        merged(getattr(collection, name) for collection in collections.values())
        for name in ("hits", "topics", "qrels", "texts")
    )
    data = folder / "data"
    if not data.exists():
        # All candidates are trained on.
        print(pyserini_rerank.train_data(
            hits, topics, qrels, data, texts=texts, depth=100, positives=100, negatives=100, validation=0.01, test=0.0,
            teacher=TEACHER, max_length=MAX_LENGTH, dtype=TEACHER_DTYPE,
        ))  # fmt: skip
    rerankers: dict[str, Any] = {}
    for count, student in students.items():
        rerankers[f"{count} layers, untrained"] = cut_off(student, folder / f"{count}-layers-untrained")
        rerankers[f"{count} layers"] = learn(data, student, folder / f"{count}-layers", epochs)
    rerankers["12 layers"] = TEACHER
    return {name: compare(collection, rerankers, min(students)) for name, collection in collections.items()}


def cut_off(student: Student, folder: Path) -> Path:
    """Write a student as it is before it has learned anything."""
    with quiet():
        model = make_student(TEACHER, None)
        keep_layers(model, student.layers)
        model.save_pretrained(str(folder))
    return folder


def learn(data: Path, student: Student, checkpoint: Path, epochs: int) -> Path:
    """Train a student on the teacher's scores."""
    if not checkpoint.exists():
        pyserini_rerank.train(
            data, TEACHER, checkpoint, layers=student.layers, loss="mse", epochs=epochs, batch_size=16,
            learning_rate=student.learning_rate, max_length=MAX_LENGTH, evaluations=1,
        )  # fmt: skip
    return checkpoint


def compare(collection: Collection, rerankers: dict, fewest: int) -> pyserini_rerank.ExperimentResult:
    """Rerank the test topics of a collection, also with the smallest student and then the teacher."""
    depth = max(map(len, collection.test_hits.values()))
    cascade = [(rerankers[f"{fewest} layers"], depth), (TEACHER, round(BEST * depth))]
    rerankers = rerankers | {f"{fewest} layers, then 12 for {BEST:.0%}": cascade}
    systems = {"BM25": collection.test_hits}
    systems |= {name: (collection.test_hits, reranker) for name, reranker in rerankers.items()}
    return pyserini_rerank.experiment(
        systems, collection.test_topics, collection.test_qrels, texts=collection.texts, measures=["nDCG@10"],
        baseline="12 layers", device="cpu", max_length=512,
    )  # fmt: skip


def over_all(
    tables: Mapping[str, pyserini_rerank.ExperimentResult], collections: Mapping[str, Collection]
) -> pyserini_rerank.ExperimentResult:
    """Evaluate the runs of all collections together."""
    systems = next(iter(tables.values())).systems
    return pyserini_rerank.experiment(
        {system: merged(read_run(table.runs[system]) for table in tables.values()) for system in systems},
        merged(collection.test_topics for collection in collections.values()),
        merged(collection.test_qrels for collection in collections.values()),
        measures=["nDCG@10"], baseline="12 layers",
    )  # fmt: skip


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the topics, judgements or hits of several collections into one mapping."""
    return dict(ChainMap(*map(dict, parts)))


def fine_tune(collection: Collection, base: Path, folder: Path) -> pyserini_rerank.ExperimentResult:
    """Fine-tune a student on the judgements of two thirds of the topics, and test it on the others, in turn."""
    qids = sorted(collection.test_topics)
    runs: dict[str, dict[str, dict[str, float]]] = {"BM25": collection.test_hits, "6 layers": {}, "fine-tuned": {}}
    for fold in range(FOLDS):
        tested = qids[fold::FOLDS]
        data, checkpoint = folder / f"fold-{fold}-data", folder / f"fold-{fold}"
        if not data.exists():
            pyserini_rerank.train_data(
                collection.test_hits, collection.test_topics, collection.test_qrels, data, texts=collection.texts,
                positives=4, negatives=4, test=tested, validation=[],
            )  # fmt: skip
        if not checkpoint.exists():
            pyserini_rerank.train(data, base, checkpoint, loss="lambda", epochs=2, evaluations=1)
        # A training ends with an experiment on the test topics.
        for name, run in (("6 layers", "2-base"), ("fine-tuned", "3-trained")):
            runs[name].update(read_run(checkpoint / "experiment" / f"{run}.run"))
    return pyserini_rerank.experiment(
        runs, collection.test_topics, collection.test_qrels, texts=collection.texts, measures=["nDCG@10", "AP"],
        baseline="6 layers",
    )  # fmt: skip


if __name__ == "__main__":
    main()
