"""`pyserini-rerank demo`: real documents and a real model, with no network."""

import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ..reranker import Reranker
    from ..searcher import RerankingSearcher

PREFERRED = "cross-encoder/ms-marco-MiniLM-L-6-v2"
#: The number of results that are shown of each ranking.
SHOWN_RESULTS = 5
#: Tokens beyond which pairs are cut: a quarter of the models' limit, so that a laptop needs only a minute or two.
MAX_LENGTH = 128

#: The qid of the question that is shown before the others are searched.
EXAMPLE = "0"

#: The results of a search: qid -> docids, best first.
Ranking = dict[str, list[str]]


def demo(
    query: Annotated[str | None, typer.Option(help="Ask this question instead of the packaged ones.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help=f"A hub name, a folder or 'bundled'. Default: {PREFERRED} if it can be fetched, else 'bundled'."
        ),
    ] = None,
    depth: Annotated[int, typer.Option(min=1, help="The number of candidates to rerank.")] = 30,
    device: Annotated[str | None, typer.Option(help="'cuda', 'mps' or 'cpu'. Default: the best there is.")] = None,
) -> None:
    """Search the documentation of Python's standard library with BM25, rerank the results, and show the changes."""
    from rich.console import Console

    from .. import RerankingSearcher, docstrings
    from ..counts import CutWarning
    from ..runs.provenance import provenance

    warnings.simplefilter("ignore", CutWarning)  # the length is printed below
    console = Console(highlight=False, markup=False, soft_wrap=True)
    times: dict[str, float] = {}
    with _timed(times, "load the model"):
        reranker = _load(model, device, console)
    with tempfile.TemporaryDirectory() as folder:
        with _timed(times, "read and index the documents"):
            documents = dict(docstrings.read())
            docstrings.index(documents, folder)
            searcher = _open(folder)
        where = provenance(reranker).get("device", "its own device")
        console.print(f"{len(documents):,} documents: the docstrings of Python's standard library.")
        console.print(
            f"Model: {reranker.name} on {where}; the top {depth} of BM25 are reranked, cut to {MAX_LENGTH} tokens.\n"
        )
        reranked = RerankingSearcher(searcher, reranker, depth=depth)
        judged = docstrings.questions()
        example: dict[str, Any] = {"question": query, "answers": []} if query else judged[0]
        question = {EXAMPLE: example["question"]}
        before, after = _search(searcher, question, depth)[EXAMPLE], _search(reranked, question, depth)[EXAMPLE]
        _show_side_by_side(console, example["question"], before, after, example["answers"])
        if not query:
            console.print()
            _evaluate(console, searcher, reranked, judged, depth, times)
        searcher.close()
    console.print("\n".join(f"{seconds:7.2f} s  {what}" for what, seconds in times.items()))


def _evaluate(
    console: "Console",
    searcher: Any,
    reranked: "RerankingSearcher",
    judged: list[dict[str, Any]],
    depth: int,
    times: dict[str, float],
) -> None:
    """Search the judged questions with and without reranking, and show how the two compare."""
    asked = {str(number): question["question"] for number, question in enumerate(judged)}
    answers = {str(number): question["answers"] for number, question in enumerate(judged)}
    with _timed(times, f"BM25, {len(asked)} queries"):
        before = _search(searcher, asked, depth)
    scored = reranked.reranker.counts.scored
    with _timed(times, "BM25 and reranking"):
        after = _search(reranked, asked, depth)
    _show_evaluation(console, asked, answers, before, after)
    rate = (reranked.reranker.counts.scored - scored) / times["BM25 and reranking"]
    console.print(f"{rate:7.1f} passages a second")


def _load(model: str | None, device: str | None, console: "Console") -> "Reranker":
    """Load the given model, else the preferred one, else the bundled one."""
    from .. import load

    if model:
        return load(model, device=device, max_length=MAX_LENGTH)
    try:
        return load(PREFERRED, device=device, max_length=MAX_LENGTH)
    except ConnectionError:
        console.print(f"{PREFERRED} is not in the cache and the hub cannot be reached: the bundled model is used.")
        return load("bundled", device=device, max_length=MAX_LENGTH)


def _open(folder: str) -> Any:
    from pyserini.search.lucene import LuceneSearcher

    return LuceneSearcher(folder)


def _search(searcher: Any, asked: dict[str, str], k: int) -> Ranking:
    results = searcher.batch_search(list(asked.values()), list(asked), k=k, threads=2)
    return {qid: [hit.docid for hit in results[qid]] for qid in asked}


def _show_evaluation(
    console: "Console", asked: dict[str, str], answers: Ranking, before: Ranking, after: Ranking
) -> None:
    from rich.table import Table

    from ..runs.evaluation import per_query

    qrels = {qid: dict.fromkeys(docids, 1) for qid, docids in answers.items()}
    figures = {}
    for name, ranking in (("BM25", before), ("reranked", after)):
        # The ranks stand for the scores.
        run = {qid: {docid: -float(rank) for rank, docid in enumerate(docids)} for qid, docids in ranking.items()}
        figures[name] = per_query(run.items(), qrels)
    table = Table(title=f"{len(asked)} questions with known answers", title_justify="left")
    for heading in ("", "nDCG@10", "RR@10"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, values in figures.items():
        means = (sum(values[measure].values()) / len(asked) for measure in ("nDCG@10", "RR@10"))
        table.add_row(name, *(f"{mean:.4f}" for mean in means))
    console.print(table)
    old, new = (figures[name]["nDCG@10"] for name in ("BM25", "reranked"))
    gains = {qid: new[qid] - old[qid] for qid in asked}
    better, worse = sum(gain > 0 for gain in gains.values()), sum(gain < 0 for gain in gains.values())
    console.print(f"better on {better} questions, worse on {worse}, the same on {len(asked) - better - worse}\n")
    del gains[EXAMPLE]  # it has been shown
    for title, choose in (("Largest gain of the others", max), ("Largest loss", min)):
        qid = choose(gains, key=gains.__getitem__)
        console.print(f"{title} ({gains[qid]:+.2f})")
        _show_side_by_side(console, asked[qid], before[qid], after[qid], answers[qid])


def _show_side_by_side(
    console: "Console", question: str, before: list[str], after: list[str], answers: list[str]
) -> None:
    from rich.table import Table
    from rich.text import Text

    def cell(docid: str) -> Text:
        return Text(f"{docid} ✓", style="bold green") if docid in answers else Text(docid)

    table = Table(title=Text(question), title_justify="left")
    for heading in ("", "BM25", "reranked", "was"):
        table.add_column(heading)
    for rank, (old, new) in enumerate(zip(before[:SHOWN_RESULTS], after[:SHOWN_RESULTS], strict=True), 1):
        table.add_row(str(rank), cell(old), cell(new), str(before.index(new) + 1))
    console.print(table)


@contextmanager
def _timed(times: dict[str, float], what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[what] = time.perf_counter() - start
