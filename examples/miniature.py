"""An experiment in miniature: the demo's documents and questions, in the files that MS MARCO has.

The documents are the docstrings of Python's standard library, the questions and their answers come with
`pyserini-rerank demo`.
"""

from pathlib import Path

from pyserini_rerank import docstrings


def write(folder: str | Path, questions: int = 70) -> None:
    """Write `collection.tsv`, `topics.tsv` and `qrels.tsv`, and index the collection in `index`."""
    folder = Path(folder)
    documents = {docid: " ".join(text.split()) for docid, text in docstrings.read()}
    asked = dict(enumerate(docstrings.questions()[:questions], 1))
    passages = "".join(f"{docid}\t{text}\n" for docid, text in documents.items())
    queries = "".join(f"{qid}\t{one['question']}\n" for qid, one in asked.items())
    qrels = "".join(f"{qid}\t0\t{docid}\t1\n" for qid, one in asked.items() for docid in one["answers"])
    for name, text in (("collection.tsv", passages), ("topics.tsv", queries), ("qrels.tsv", qrels)):
        (folder / name).write_text(text, encoding="utf-8")
    docstrings.index(documents, str(folder / "index"))
