"""The training data in a folder: judged queries with documents, as Parquet files that any other library reads."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from ..files.reading import digest
from ..files.writing import replace
from ..runs.input_states import of_value
from ..runs.topics import Qrels, load_qrels
from .data_card import data_card

SPLITS = ("train", "validation", "test")
SETTINGS, QRELS = "settings.json", "qrels.txt"
#: Rows of a Parquet file, and characters of their texts, after which they are written, so that few are in memory.
ROWS_TOGETHER, CHARACTERS_TOGETHER = 10_000, 50_000_000
#: Rows that are read together.
ROWS_READ = 500


@dataclass(frozen=True)
class Document:
    """A document of a query."""

    docid: str
    text: str
    grade: int | None = None
    """None if nobody judged it."""
    rank: int | None = None
    """Its place among the candidates, from 1; None if it was added, as a judged or a random document."""
    teacher_score: float | None = None

    def is_relevant(self, level: int) -> bool:
        return (self.grade or 0) >= level


@dataclass(frozen=True)
class JudgedQuery:
    """A query with the documents that it is trained on, or those that are reranked to evaluate a checkpoint."""

    qid: str
    query: str
    documents: list[Document] = field(repr=False)

    def relevant(self, level: int) -> list[Document]:
        return [document for document in self.documents if document.is_relevant(level)]

    def others(self, level: int) -> list[Document]:
        return [document for document in self.documents if not document.is_relevant(level)]


class TrainingData:
    """Training data in a folder that `train_data` has written.

    Parameters
    ----------
    folder : path

    Attributes
    ----------
    settings : dict
        What the data was made of, and how many there are: see ``README.md`` in the folder.

    Raises
    ------
    FileNotFoundError
        The folder holds no training data.
    ValueError
        Its settings are damaged, or those of something else.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        file = self.folder / SETTINGS
        remedy = "make some with `pyserini-rerank train-data`."
        if not file.is_file():
            raise FileNotFoundError(f"{self.folder} holds no training data (it has no {SETTINGS}): {remedy}")
        try:
            self.settings: dict[str, Any] = json.loads(file.read_bytes())
        except ValueError:
            self.settings = {}
        if not isinstance(self.settings, dict) or not {"counts", "level", "teacher"} <= set(self.settings):
            raise ValueError(f"{file} has no settings of training data: {remedy}")

    @property
    def level(self) -> int:
        """The lowest grade of a relevant document."""
        return int(self.settings["level"])

    @property
    def has_teacher(self) -> bool:
        return self.settings["teacher"] is not None

    @cached_property
    def qrels(self) -> Qrels:
        """The judgements of all queries."""
        return load_qrels(self.folder / QRELS)

    def topics(self, split: str) -> dict[str, str]:
        """Read the queries of a split without their documents: qid -> query."""
        from pyarrow import parquet

        table = parquet.read_table(self.folder / f"{split}.parquet", columns=["qid", "query"])
        return dict(zip(table["qid"].to_pylist(), table["query"].to_pylist(), strict=True))

    def queries(self, split: str) -> Iterator[JudgedQuery]:
        """Read the queries of ``"train"``, ``"validation"`` or ``"test"`` one after the other."""
        from pyarrow import parquet

        file = parquet.ParquetFile(self.folder / f"{split}.parquet")
        rows = (row for batch in file.iter_batches(ROWS_READ) for row in batch.to_pylist())
        for (qid, query), of_query in groupby(rows, lambda row: (row.pop("qid"), row.pop("query"))):
            yield JudgedQuery(qid, query, [Document(**row) for row in of_query])

    def __repr__(self) -> str:
        counts = self.settings["counts"]
        sizes = ", ".join(
            f"{split}: {counts[split]['queries']:,} queries with {counts[split]['documents']:,} documents"
            for split in SPLITS
        )
        return f"{self.folder} ({sizes})"


def of_data(data: TrainingData) -> str:
    """Give the state of training data, which tells it from other data."""
    return of_value([digest(data.folder / name) for name in (*(f"{split}.parquet" for split in SPLITS), QRELS)])


def write_split(folder: Path, split: str, queries: Iterable[JudgedQuery]) -> dict[str, int]:
    """Write the queries of a split, and count them and their documents."""
    import pyarrow as arrow
    from pyarrow import parquet

    types = {"qid": arrow.string(), "query": arrow.string(), "docid": arrow.string(), "text": arrow.string()}
    types |= {"grade": arrow.int32(), "rank": arrow.int32(), "teacher_score": arrow.float32()}
    schema = arrow.schema(types)
    counts = {"queries": 0, "documents": 0}
    rows: list[dict[str, Any]] = []
    characters = 0
    with parquet.ParquetWriter(folder / f"{split}.parquet", schema) as writer:
        for query in queries:
            counts["queries"] += 1
            counts["documents"] += len(query.documents)
            rows += [{"qid": query.qid, "query": query.query, **vars(document)} for document in query.documents]
            characters += sum(len(document.text) for document in query.documents)
            if len(rows) >= ROWS_TOGETHER or characters >= CHARACTERS_TOGETHER:
                writer.write_table(arrow.Table.from_pylist(rows, schema))
                rows, characters = [], 0
        if rows:  # `datasets` reads a file without a group of rows, and not one with an empty group
            writer.write_table(arrow.Table.from_pylist(rows, schema))
    return counts


def write_settings(folder: Path, settings: dict[str, Any], qrels: Iterable[tuple[str, dict[str, int]]]) -> None:
    """Write the judgements, the settings and the card, which says the same for people and for `datasets`."""
    lines = (f"{qid} 0 {docid} {grade}\n" for qid, grades in qrels for docid, grade in grades.items())
    replace(folder / QRELS, "".join(lines))
    replace(folder / SETTINGS, json.dumps(settings, indent=2, default=str) + "\n")
    replace(folder / "README.md", data_card(settings))
