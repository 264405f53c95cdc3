"""`pyserini-rerank rerank`: reranking and evaluating a run file, or the hits of BM25."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..arguments import one_of
from . import console
from .options import (
    Backend,
    Cache,
    Device,
    Dtype,
    MaxLength,
    Measures,
    Model,
    Options,
    named_as_options,
    options_of,
    texts_of,
)

Number = int | None
Text = str | None
File = Path | None
Pair = tuple[float, float] | None


def rerank(
    model: Model,
    output: Annotated[Path, typer.Option(help="The TREC run to write; a report goes to OUTPUT.json.")],
    run: Annotated[File, typer.Option(help="A run of TREC, MS MARCO or ColBERT, or MS MARCO's top 1000.")] = None,
    bm25: Annotated[Pair, typer.Option(metavar="K1 B", help="Search --index with BM25, in place of a run.")] = None,
    topics: Annotated[Text, typer.Option(help="A file, or a name that Pyserini or ir_datasets knows.")] = None,
    index: Annotated[Text, typer.Option(help="Texts from an index: a path, or a prebuilt name.")] = None,
    collection: Annotated[File, typer.Option(help="Texts from a file: JSON lines, or TSV.")] = None,
    depth: Annotated[Number, typer.Option(min=1, help="Hits a query to rescore. Default: all (--bm25: 1000).")] = None,
    tag: Annotated[str, typer.Option(help="The last column of the output.")] = "reranked",
    qrels: Annotated[Text, typer.Option(help="Evaluate the run's judged queries: a file, or a name.")] = None,
    measure: Measures = None,
    level: Annotated[int, typer.Option(min=1, help="The lowest grade of a relevant document.")] = 1,
    only_judged: Annotated[bool, typer.Option("--only-judged", help="Leave out queries that are not judged.")] = False,
    per_query: Annotated[File, typer.Option(help="Write each query's figures to this TSV file.")] = None,
    plot: Annotated[File, typer.Option(help="Draw each query's gain into this file (.png, .svg, .pdf).")] = None,
    cache: Cache = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out and count bad lines and texts.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    backend: Backend = "torch",
    device: Device = None,
    dtype: Dtype = None,
    max_length: MaxLength = None,
    option: Options = None,
    ray: Annotated[bool, typer.Option("--ray", help="Search and score on all machines of a Ray cluster.")] = False,
) -> None:  # fmt: skip
    """Rerank a run, or the hits of BM25.

    It can be interrupted, or killed, at any moment: the same command resumes it, and writes the same bytes.
    """
    from ..runs.bm25_run import BM25
    from ..runs.job import rerank_run

    first_stage = one_of("the first stage", {"--run": run, "--bm25": bm25})
    if bm25:
        if index is None:
            raise ValueError("--bm25 searches a Lucene index: name it by --index.")
        depth = depth or 1000
        first_stage = BM25(*bm25, index, depth)
        index = None if collection else index
    sources = {"--index": index, "--collection": collection}
    if any(sources.values()):
        one_of("the texts", sources)
    with named_as_options(reranker="--model", texts="--index or --collection", measures="--measure"):
        reranked = rerank_run(
            first_stage,
            model,
            output=output,
            topics=topics,
            texts=texts_of(index, collection),
            depth=depth,
            tag=tag,
            qrels=qrels,
            measures=measure,
            level=level,
            only_judged=only_judged,
            per_query=per_query,
            plot=plot,
            cache=cache,
            skip_bad=skip_bad,
            overwrite=overwrite,
            ray=ray,
            backend=backend,
            **options_of(option, {"device": device, "dtype": dtype, "max_length": max_length}),
        )
    if as_json:
        print(json.dumps(reranked.report, indent=2))
    else:
        console().print(reranked)
