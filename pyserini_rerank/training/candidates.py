"""The candidates of judged topics with their texts, as the first stages find them and a reranker would read them."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import batched, islice, zip_longest
from pathlib import Path
from typing import Any

from ..experiments.first_stages import FirstStage, FirstStages
from ..progress import queries_bar
from ..reranker import SHARD
from ..retrieval.queries import text_or_blank
from ..runs.run_file import check_name
from ..texts.formats import Template
from ..texts.opening import open_by_docid, open_source
from ..texts.source import Source, clean, read

CANDIDATES, TEXTS = "candidates.jsonl", "texts.jsonl"
#: So many of the first queries are searched for again before an interrupted call goes on.
CHECKED = 3
FORMS = "give a searcher, a run file, hits by qid, or a list of these"


@dataclass(frozen=True)
class Found:
    """The documents of a query; those with a text are in the data."""

    qid: str
    candidates: list[str]
    """The docids that the first stages found, the best first."""
    added: list[str]
    """The docids of further relevant documents."""
    without_text: list[str]
    """The docids of candidates and relevant documents that have no text."""


def open_stages(
    given: Sequence[Any], texts: Any, qids: Collection[str], stack: ExitStack
) -> tuple[list[tuple[FirstStage, Source]], Source]:
    """Open first stages, each with the source of its candidates' texts, and the source of texts by docid.

    Parameters
    ----------
    given : sequence
        The first stages, as a user gives them.
    texts
        As `pyserini_rerank.train_data` takes it.
    qids : collection of str
    stack : ExitStack
        It closes what was opened.

    Raises
    ------
    ValueError
        There is no first stage, or nothing has the texts.
    As `FirstStages.open` and `pyserini_rerank.texts.opening.open_source`.
    """
    if not given:
        raise ValueError(f"first_stage is an empty list: {FORMS}.")
    opened = FirstStages(qids, stack, FORMS)
    stages = [opened.open(stage) for stage in given]
    searcher = next((stage.searcher for stage in stages if stage.searcher is not None), None)
    of_hits = texts is None or (isinstance(texts, Template) and texts.index is None)
    if of_hits and searcher is None:
        raise ValueError("a run file and hits have no texts: name an index, a collection or a mapping by texts=.")
    by_docid = open_by_docid(texts, searcher)
    by_docid.skips_missing = True
    sources = [
        open_source(texts, stage.searcher, "skip") if of_hits and stage.searcher is not None else by_docid
        for stage in stages
    ]
    return list(zip(stages, sources, strict=True)), by_docid


def collect(
    stages: Sequence[tuple[FirstStage, Source]],
    by_docid: Source,
    topics: Mapping[str, str],
    relevant: Mapping[str, Collection[str]],
    depth: int,
    folder: Path,
) -> None:
    """Find the candidates of topics, and read the texts of these and of all relevant documents.

    The candidates of several first stages are taken in turn. Documents without text are left out. A document has the
    same text for all queries.

    Parameters
    ----------
    stages : sequence
        The first stages, each with the source of its candidates' texts.
    by_docid : Source
        It has the texts of relevant documents that no first stage finds.
    topics : mapping
        qid -> query.
    relevant : mapping
        qid -> the docids of relevant documents.
    depth : int
        How many candidates each first stage is asked for.
    folder : path
        Gets the files `CANDIDATES` and `TEXTS`, a line a query and a line a document.

    Raises
    ------
    ValueError
        A docid has white space in it, or a document cannot be read as text.
    """
    written: set[str] = set()
    size = max(1, SHARD // depth)
    growing = folder / f".{CANDIDATES}"
    with (
        growing.open("w", encoding="utf-8") as candidates_file,
        (folder / TEXTS).open("w", encoding="utf-8") as texts_file,
        queries_bar(len(topics), "searching", leave=True) as reach,
    ):
        done = 0
        for shard in map(dict, batched(topics.items(), size)):
            texts_of_queries = _texts_of_candidates(stages, shard, depth)
            for qid, (texts, without_text) in zip(shard, texts_of_queries, strict=True):
                added = [docid for docid in sorted(relevant[qid]) if docid not in texts]
                found_texts = by_docid.read(added, [None] * len(added)) if added else []
                further = {
                    docid: clean(text) for docid, text in zip(added, found_texts, strict=True) if text and clean(text)
                }
                for docid, text in (texts | further).items():
                    if docid not in written:
                        check_name(docid, "the docid", "rename the document")
                        written.add(docid)
                        texts_file.write(json.dumps({"id": docid, "contents": text}) + "\n")
                without_text = without_text.union(added) - further.keys()
                found = Found(qid, list(texts), list(further), sorted(without_text))
                candidates_file.write(json.dumps(asdict(found)) + "\n")
            reach(done := done + len(shard))
    growing.rename(folder / CANDIDATES)


def check_finds_the_same(
    stages: Sequence[tuple[FirstStage, Source]], topics: Mapping[str, str], depth: int, folder: Path
) -> None:
    """Check that first stages find, for the first queries of a folder, the candidates that `collect` wrote.

    Of a searcher the settings cannot be read, such as those of `set_bm25`. The candidates differ with them.

    Raises
    ------
    ValueError
        A query has other candidates now.
    """
    first = list(islice(found_in(folder), CHECKED))
    queries = {found.qid: text_or_blank(topics[found.qid]) for found in first}
    by_stage = [stage.find(queries, depth, documents=False) for stage, _ in stages]
    for found, *now in zip(first, *by_stage, strict=True):
        docids = dict.fromkeys(str(docid) for candidates in now for docid in candidates.docids)
        kept = [docid for docid in docids if docid not in found.without_text]
        # Where several first stages find a document, its place is that in the first one with its text.
        same = kept == found.candidates if len(stages) == 1 else set(kept) == set(found.candidates)
        if not same:
            raise ValueError(
                f"{folder} was begun with other candidates of query {found.qid}: delete it to begin anew, or go on "
                "with the same settings of the first stage."
            )


def found_in(folder: Path) -> Iterator[Found]:
    """Read the queries that `collect` wrote, in their order."""
    with (folder / CANDIDATES).open(encoding="utf-8") as lines:
        for line in lines:
            yield Found(**json.loads(line))


def _texts_of_candidates(
    stages: Sequence[tuple[FirstStage, Source]], topics: Mapping[str, str], depth: int
) -> list[tuple[dict[str, str], set[str]]]:
    """Give the texts of each query's candidates by docid, the best first, and the docids of those without a text."""
    queries = {qid: text_or_blank(query) for qid, query in topics.items()}
    of_stages: list[list[list[tuple[str, str | None]]]] = []
    for stage, source in stages:
        found = stage.find(queries, depth, documents=source.reads_documents)
        of_stages.append(
            [list(zip(map(str, candidates.docids), read(source, candidates), strict=True)) for candidates in found]
        )
    return [_in_turn(of_query) for of_query in zip(*of_stages, strict=True)]


def _in_turn(of_query: Sequence[list[tuple[str, str | None]]]) -> tuple[dict[str, str], set[str]]:
    """Join a query's candidates of several first stages; a document that comes again keeps its first place and text."""
    texts: dict[str, str] = {}
    without_text: set[str] = set()
    for of_rank in zip_longest(*of_query):
        for docid, text in filter(None, of_rank):
            if text:
                texts.setdefault(docid, text)
            else:
                without_text.add(docid)
    return texts, without_text - texts.keys()
