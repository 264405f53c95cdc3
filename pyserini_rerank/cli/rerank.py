"""`pyserini-rerank rerank`: an existing run, reranked and evaluated."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..retrieval.texts import Source

Number = int | None
Text = str | None


def rerank(
    run: Annotated[Path, typer.Option(help="The run: TREC's or MS MARCO's format, plain or gzipped.")],
    topics: Annotated[str, typer.Option(help="A file (TSV or JSON lines), or a name that Pyserini knows.")],
    model: Annotated[str, typer.Option(help="A checkpoint's hub name, a folder, or 'bundled'.")],
    output: Annotated[Path, typer.Option(help="The TREC run to write; a report goes to OUTPUT.json.")],
    index: Annotated[Text, typer.Option(help="Texts from an index: a path, or a prebuilt name.")] = None,
    collection: Annotated[Path | None, typer.Option(help="Texts from a file: JSON lines, or TSV.")] = None,
    depth: Annotated[Number, typer.Option(min=1, help="How many hits a query are rescored. Default: all.")] = None,
    tag: Annotated[str, typer.Option(help="The last column of the output.")] = "reranked",
    qrels: Annotated[Path | None, typer.Option(help="Evaluate the output beside the run.")] = None,
    level: Annotated[int, typer.Option(min=1, help="The grade from which on a document is relevant.")] = 1,
    cache: Annotated[Path | None, typer.Option(help="A folder of scores, shared between runs.")] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave bad lines, queries and documents out, and count them.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an output that exists.")] = False,
    backend: Annotated[str, typer.Option(help="What computes the scores.")] = "torch",
    device: Annotated[Text, typer.Option(help="'cuda', 'mps' or 'cpu'. Default: the best there is.")] = None,
    dtype: Annotated[Text, typer.Option(help="'float32', 'bfloat16' or 'float16'.")] = None,
    max_length: Annotated[Number, typer.Option(min=5, help="Tokens beyond which a pair is cut.")] = None,
) -> None:
    """Rerank an existing run.

    It can be interrupted, or killed, at any moment: the same command goes on where it was, to the same bytes.
    """
    from rich.console import Console

    from .. import load
    from ..experiments.rescoring import rerank_run
    from ..experiments.topics import load_topics
    from ..experiments.work import Work

    if (index is None) == (collection is None):
        raise ValueError("name the texts, by --index or by --collection.")
    settings = {
        "run": _stamp(run),
        "topics": topics,
        "texts": str(collection or index),
        "model": model,
        "backend": backend,
        "device": device,
        "dtype": dtype,
        "max_length": max_length,
        "depth": depth,
        "tag": tag,
        "skip_bad": skip_bad,
    }
    work = Work(output, settings, overwrite=overwrite)
    queries = load_topics(topics)
    source = _source(index, collection)
    options = {"device": device, "dtype": dtype, "max_length": max_length}
    given = {name: value for name, value in options.items() if value is not None}
    with load(model, backend=backend, cache=cache or work.folder / "scores", **given) as reranker:
        report = rerank_run(work, run, queries, source, reranker, depth=depth, tag=tag, skip_bad=skip_bad)
    console = Console(highlight=False)
    counts, skipped = report["counts"], report["skipped"]
    console.print(f"{output}: {counts['pairs']:,} pairs, {report['pairs_per_second']} scored a second")
    console.print("".join(f"left out: {count:,} ({reason})\n" for reason, count in skipped.items()), end="")
    if qrels:
        _show_evaluation(console, output, run, qrels, level)


def _source(index: str | None, collection: Path | None) -> "Source":
    from ..retrieval.texts import Function, resolve

    if collection is None:
        return resolve(index, None)
    from ..experiments.collections import Collection

    return Function(Collection(collection).get, str(collection))


def _stamp(path: Path) -> list[Any]:
    """Tell one state of a file from another, without reading all of it."""
    facts = path.stat()
    return [str(path.resolve()), facts.st_size, facts.st_mtime_ns]


def _show_evaluation(console: Any, output: Path, run: Path, qrels: Path, level: int) -> None:
    from rich.table import Table

    from ..experiments.evaluation import compare, read_qrels, read_run

    table = Table(box=None)
    for heading in ("measure", "first stage", "reranked", "better", "worse", "p"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for row in compare(read_run(output), read_run(run), read_qrels(qrels), level):
        p = "" if row["p"] is None else f"{row['p']:.4f}"
        table.add_row(
            row["measure"], f"{row['baseline']:.4f}", f"{row['run']:.4f}", str(row["better"]), str(row["worse"]), p
        )
    console.print(table)
