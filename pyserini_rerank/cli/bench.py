"""`pyserini-rerank bench`: how fast a checkpoint is on this machine."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def bench(
    model: Annotated[str, typer.Option(help="A checkpoint's hub name, a folder, or 'bundled'.")],
    pairs: Annotated[Path | None, typer.Option(help="Pairs to score: a TSV file of query and passage.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many pairs are made, or read.")] = 400,
    rounds: Annotated[int, typer.Option(min=1, help="How often they are scored; figures are medians.")] = 3,
    against: Annotated[
        str | None, typer.Option(help="Alternate with another engine: sentence-transformers, as it is by default.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="'cuda', 'mps' or 'cpu'. Default: the best there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="'float32', 'bfloat16' or 'float16'.")] = None,
    max_length: Annotated[int | None, typer.Option(min=5, help="Tokens beyond which a pair is cut.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of a batch.")] = None,
    to: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Time a checkpoint on pairs of MS MARCO's lengths, or on your own.

    The share of the peak is what a product of matrices reaches in the same run,
    on the same device and in the same dtype.
    """
    from rich.console import Console
    from rich.table import Table

    from .. import load
    from ..experiments import benchmark
    from ..experiments.provenance import provenance

    if against not in (None, "sentence-transformers"):
        raise ValueError(f"--against {against}: there is sentence-transformers.")
    scored = _read(pairs, count) if pairs else benchmark.generated_pairs(count)
    options = {"device": device, "dtype": dtype, "max_length": max_length, "batch_tokens": batch_tokens}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    with load(model, **given) as reranker:
        figures, scores, others = benchmark.measure(reranker, scored, rounds, against is not None)
        if others is not None:
            figures["top10_overlap"] = benchmark.overlap([query for query, _ in scored], scores, others)
        facts = provenance(reranker)
    if to:
        to.write_text(json.dumps({**facts, **figures}, indent=2) + "\n")
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{model} on {facts['device']}, {facts['dtype']}, {facts['batch_tokens']} tokens a batch")
    table = Table(box=None, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for value, what in _lines(figures):
        table.add_row(value, what)
    console.print(table)


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
