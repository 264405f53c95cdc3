"""`pyserini-rerank bench`: how fast a checkpoint is on this machine."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

Name = str | None
File = Path | None
Number = int | None


def bench(
    model: Annotated[list[str], typer.Option(help="A hub name, a folder, 'bundled', or a combination in YAML.")],
    pairs: Annotated[File, typer.Option(help="Pairs to score: a TSV file of query and passage.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many pairs are made, or read.")] = 400,
    rounds: Annotated[int, typer.Option(min=1, help="How often they are scored; figures are medians.")] = 3,
    against: Annotated[Name, typer.Option(help="Alternate with sentence-transformers, as it is by default.")] = None,
    run: Annotated[File, typer.Option(help="Rerank a run instead, with each --model: nDCG@10 beside cost.")] = None,
    topics: Annotated[Name, typer.Option(help="The run's topics, as for `rerank`.")] = None,
    qrels: Annotated[Name, typer.Option(help="The run's judgements, as for `rerank`.")] = None,
    index: Annotated[Name, typer.Option(help="The index with the run's texts.")] = None,
    collection: Annotated[File, typer.Option(help="The file with the run's texts.")] = None,
    depth: Annotated[Number, typer.Option(min=1, help="How many hits a query of the run are rescored.")] = None,
    plot: Annotated[File, typer.Option(help="Draw nDCG@10 against pairs a second into this file.")] = None,
    device: Annotated[Name, typer.Option(help="'cuda', 'mps' or 'cpu'. Default: the best there is.")] = None,
    dtype: Annotated[Name, typer.Option(help="'float32', 'bfloat16', 'float16' or 'auto'.")] = None,
    max_length: Annotated[Number, typer.Option(min=5, help="Tokens beyond which a pair is cut.")] = None,
    batch_tokens: Annotated[Number, typer.Option(min=1, help="Tokens of a batch.")] = None,
    to: Annotated[File, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:  # fmt: skip
    """Time a checkpoint on pairs of MS MARCO's lengths, or on your own; or several on a run, with what they give.

    The share of the peak is what a product of matrices reaches in the same run,
    on the same device and in the same dtype. With --run, checkpoints, dtypes, budgets and backends are compared
    by giving each as a --model of its own: '{model: NAME, dtype: bfloat16, batch_tokens: 4096}'.
    """
    options = {"device": device, "dtype": dtype, "max_length": max_length, "batch_tokens": batch_tokens}
    given = {name: value for name, value in options.items() if value is not None}
    if run:
        if pairs or against:
            raise ValueError("--run compares rerankers on a run: leave --pairs and --against out.")
        if not (topics and qrels and (index or collection)):
            raise ValueError("name the run's --topics, its --qrels, and its texts by --index or --collection.")
        figures = _compare(model, given, run, topics, qrels, index, collection, depth, rounds, plot)
    else:
        if len(model) > 1:
            raise ValueError("pairs are for one --model: name a --run to compare several.")
        if against not in (None, "sentence-transformers"):
            raise ValueError(f"--against {against}: there is sentence-transformers.")
        figures = _time(model[0], given, pairs, count, rounds, against is not None)
    if to:
        to.write_text(json.dumps(figures, indent=2) + "\n")


def _time(
    model: str, options: dict[str, Any], pairs: Path | None, count: int, rounds: int, against: bool
) -> dict[str, Any]:
    from rich.console import Console
    from rich.table import Table

    from .. import load
    from ..experiments import benchmark
    from ..experiments.provenance import provenance

    scored = _read(pairs, count) if pairs else benchmark.generated_pairs(count)
    with load(model, **options) as reranker:
        figures, scores, others = benchmark.measure(reranker, scored, rounds, against)
        if others is not None:
            figures["top10_overlap"] = benchmark.overlap([query for query, _ in scored], scores, others)
        facts = provenance(reranker)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{model} on {facts['device']}, {facts['dtype']}, {facts['batch_tokens']} tokens a batch")
    table = Table(box=None, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for value, what in _lines(figures):
        table.add_row(value, what)
    console.print(table)
    return {**facts, **figures}


def _compare(
    models: list[str], options: dict[str, Any], run: Path, topics: str, qrels: str, index: str | None,
    collection: Path | None, depth: int | None, rounds: int, plot: Path | None,
) -> dict[str, Any]:  # fmt: skip
    from rich.console import Console
    from rich.table import Table

    from .. import load
    from ..experiments import plots, runs
    from ..experiments.provenance import provenance
    from ..experiments.sweep import MEASURE, sweep
    from ..experiments.topics import load_qrels, load_topics
    from .rerank import source_of

    source = source_of(index, collection, None)
    assert source, "one of the two is given"
    with ExitStack() as stack:
        rerankers = [stack.enter_context(load(model, **options)) for model in models]
        rows = sweep(
            rerankers, runs.read(run), load_topics(topics), source, load_qrels(qrels), depth=depth, rounds=rounds
        )
        facts = [provenance(reranker) for reranker in rerankers]
    table = Table(box=None)
    for name in (MEASURE, "pairs a query", "ms a query", "pairs a second", "reranker"):
        table.add_column(name, justify="left" if name == "reranker" else "right", overflow="fold")
    for row in rows:
        cost = [f"{row.pairs:,}", f"{row.milliseconds:,.1f}", f"{row.pairs_per_second:,.1f}"] if row.pairs else [""] * 3
        table.add_row(f"{row.ndcg:.4f}", *cost, row.name)
    Console(highlight=False, soft_wrap=True).print(table)
    if plot:
        points = [plots.Point(row.name, row.pairs_per_second, row.ndcg) for row in rows if row.pairs]
        plots.save(plots.quality(points, MEASURE), plot)
    return {"rows": [asdict(row) for row in rows], "rerankers": facts}


def _read(path: Path, count: int) -> list[tuple[str, str]]:
    found = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            query, tab, passage = line.rstrip("\n").partition("\t")
            if not (tab and query.strip() and passage.strip()):
                raise ValueError(f"{path}, line {number}: is no query, tab and passage: correct the line.")
            found.append((query, passage))
            if len(found) == count:
                break
    if not found:
        raise ValueError(f"{path} is empty: name a file with a query, a tab and a passage a line.")
    return found


def _lines(figures: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [
        (f"{figures['pairs_per_second']:,.1f}", f"pairs a second ({figures['pairs']:,} pairs)"),
        (f"{figures['tokens_per_second']:,.0f}", f"tokens a second ({figures['tokens_per_pair']:.0f} a pair)"),
        (f"{figures['padding_share']:.1%}", "of what the model reads is padding"),
        (f"{figures['cut_share']:.1%}", "of the passages were cut"),
        (f"{figures['seconds_tokenize']:.3f} s", "to tokenize and plan"),
        (f"{figures['seconds_forward']:.3f} s", "in the model"),
        (f"{figures['gflops']:,.0f}", f"GFLOP/s ({figures['gflop_per_pair']:.2f} GFLOP a pair)"),
        (f"{figures['peak_share']:.0%}", f"of a matrix product's {figures['peak_gflops']:,.0f} GFLOP/s"),
        (f"{figures['peak_memory'] / 2**20:,.0f} MiB", "peak memory"),
    ]
    if "ratio" in figures:
        each = ", ".join(f"{ratio:.2f}" for ratio in figures["ratios"])
        lines += [
            (f"{figures['peer_pairs_per_second']:,.1f}", f"pairs a second by {figures['peer']}"),
            (f"{figures['ratio']:.2f} x", f"as fast as {figures['peer']} ({each})"),
            (f"{figures['largest_difference']:.2g}", "largest difference of a score"),
            (f"{figures['top10_overlap']:.1%}", "of each query's ten best are the same"),
        ]
    return lines
