"""`pyserini-rerank sample`: a small test collection, on which every other command can be tried with no network."""

import json
from pathlib import Path
from typing import Annotated

import typer

DEPTH = 100


def sample(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that is new or empty.")],
    queries: Annotated[int, typer.Option(min=1, help="The number of topics.")] = 70,
) -> None:
    """Write a small test collection into FOLDER: the documentation of Python's standard library, with judged questions.

    Its files are collection.jsonl, topics.tsv, qrels.txt, the Lucene index `index`, and BM25's 100 best documents for
    each topic in bm25.run.
    """
    from .. import docstrings
    from ..runs.bm25_run import BM25, TopicSearcher

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is no new or empty folder: name another one.")
    folder.mkdir(parents=True, exist_ok=True)
    documents, questions = dict(docstrings.read()), docstrings.questions()[:queries]
    topics = {str(number): question["question"] for number, question in enumerate(questions, 1)}
    answers = dict(zip(topics, (question["answers"] for question in questions), strict=True))
    docstrings.index(documents, str(folder / "index"))
    first_stage = BM25(0.9, 0.4, str(folder / "index"), DEPTH)
    contents = {
        "collection.jsonl": (json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in documents.items()),
        "topics.tsv": (f"{qid}\t{question}\n" for qid, question in topics.items()),
        "qrels.txt": (f"{qid} 0 {docid} 1\n" for qid, docids in answers.items() for docid in docids),
        "bm25.run": TopicSearcher(DEPTH, first_stage.open).search(topics),
    }
    for name, lines in contents.items():
        (folder / name).write_text("".join(lines), encoding="utf-8")
    print(f"{folder} has {len(documents):,} documents, {len(topics)} topics, their qrels, an index and BM25's run.")
