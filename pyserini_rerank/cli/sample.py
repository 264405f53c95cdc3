"""`pyserini-rerank sample`: a small test collection, on which every other command can be tried with no network."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

DEPTH = 100
#: The first letters of the name of the folder in which the sample grows.
UNFINISHED = ".unfinished-"
#: The questions that the package has.
QUESTIONS = 70


def sample(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that is new or empty.")],
    queries: Annotated[int, typer.Option(min=1, max=QUESTIONS, help="The number of topics.")] = QUESTIONS,
) -> None:
    """Write a small test collection into FOLDER: the documentation of Python's standard library, with judged questions.

    Its files are collection.jsonl, topics.tsv, qrels.txt, the Lucene index `index`, and BM25's 100 best documents for
    each topic in bm25.run.
    """
    if folder.exists() and (not folder.is_dir() or any(_finished(folder))):
        raise FileExistsError(f"{folder} is no new or empty folder: name another one.")
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Not beside the folder, which may be a mount point or the working folder: neither can be replaced.
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder, ignore_cleanup_errors=True) as unfinished:
            counts = _write(Path(unfinished), queries)
            # The index first: where another process was quicker, its folder is in the way, and nothing is replaced.
            for path in sorted(Path(unfinished).iterdir(), key=lambda path: path.is_file()):
                path.rename(folder / path.name)
    except OSError as error:  # Python's error of a full disk does not name a file
        raise OSError(f"{folder} was not filled: {error.strerror or error}") from None
    finally:
        if is_new:
            with suppress(OSError):  # it has the collection, or another process writes there, too
                folder.rmdir()
    print(f"{folder} has {counts}, their qrels, an index and BM25's run.")


def _finished(folder: Path) -> Iterator[Path]:
    """Give the files of a folder that no process that was killed has left."""
    return (path for path in folder.iterdir() if not path.name.startswith(UNFINISHED))


def _write(folder: Path, queries: int) -> str:
    """Write the files of the collection, and tell how large it is."""
    from .. import docstrings
    from ..runs.bm25_run import BM25, TopicSearcher

    documents, questions = dict(docstrings.read()), docstrings.questions()[:queries]
    topics = {str(number): question["question"] for number, question in enumerate(questions, 1)}
    answers = dict(zip(topics, (question["answers"] for question in questions), strict=True))
    docstrings.index(documents, str(folder / "index"))
    searcher = TopicSearcher(DEPTH, BM25(0.9, 0.4, str(folder / "index"), DEPTH).open)
    contents = {
        "collection.jsonl": (json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in documents.items()),
        "topics.tsv": (f"{qid}\t{question}\n" for qid, question in topics.items()),
        "qrels.txt": (f"{qid} 0 {docid} 1\n" for qid, docids in answers.items() for docid in docids),
        "bm25.run": searcher.search(topics),
    }
    searcher.stage.searcher.close()  # Windows does not move an open index
    for name, lines in contents.items():
        (folder / name).write_text("".join(lines), encoding="utf-8")
    return f"{len(documents):,} documents, {len(topics)} topics"
