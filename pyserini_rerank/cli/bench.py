"""`pyserini-rerank bench`: the speed of a checkpoint on this machine."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..arguments import one_of
from . import console
from .options import MaxLength, Options, SweepMeasures, named_as_options, options_of, texts_of

if TYPE_CHECKING:
    from ir_measures import Measure

    from ..benchmarks.fetched_run import FetchedRun
    from ..runs.topics import Qrels

Name = str | None
Names = list[str] | None
File = Path | None
Number = int | None

PEER = "sentence-transformers"
#: The number of pairs that are generated if none are given.
GENERATED_PAIRS = 400
#: The figures that are printed: the format of the value, and the words behind it. Unknown figures are left out.
PRINTED = {
    "pairs_per_second": ("{:,.1f}", "pairs a second ({pairs:,} pairs)"),
    "tokens_per_second": ("{:,.0f}", "tokens a second ({tokens_per_pair:.0f} a pair)"),
    "padding_share": ("{:.1%}", "of what the model reads is padding"),
    "cut_share": ("{:.1%}", "of the passages were cut"),
    "seconds_first_stage": ("{:.3f} s", "to read the run"),
    "seconds_fetch": ("{:.3f} s", "to fetch the texts"),
    "seconds_tokenize": ("{:.3f} s", "to tokenize and plan"),
    "seconds_forward": ("{:.3f} s", "in the model"),
    "seconds_results": ("{:.3f} s", "to make the hits"),
    "gflops": ("{:,.0f}", "GFLOP/s ({gflop_per_pair:.2f} GFLOP a pair)"),
    "peak_share": ("{:.0%}", "of a matrix product's {peak_gflops:,.0f} GFLOP/s"),
    "mebibytes": ("{:,.0f} MiB", "peak memory"),
    "ndcg": ("{:.4f}", "nDCG@10"),
    "peer_pairs_per_second": (
        "{:,.1f}", "pairs a second by {peer_name} ({how}, {peer_batch} a batch)"
    ),
    "ratio": ("{:.2f} x", "as fast as {peer_name} ({each})"),
    "largest_difference": ("{:.2g}", "largest difference of a score"),
    "top10_overlap": ("{:.1%}", "of each query's ten best are the same"),
    "peer_ndcg": ("{:.4f}", "nDCG@10 of {peer_name}"),
}  # fmt: skip


def bench(
    model: Annotated[list[str], typer.Option(help="A hub name, a folder, 'bundled', or a combination in YAML.")],
    pairs: Annotated[File, typer.Option(help="Pairs to score: JSON lines (query, passage), or TSV of both.")] = None,
    count: Annotated[Number, typer.Option(min=1, help="How many pairs are generated (default: 400) or read.")] = None,
    run: Annotated[File, typer.Option(help="Score the pairs of this run instead.")] = None,
    topics: Annotated[Name, typer.Option(help="The run's topics, as for `rerank`.")] = None,
    index: Annotated[Name, typer.Option(help="The index with the run's texts.")] = None,
    collection: Annotated[File, typer.Option(help="The file with the run's texts.")] = None,
    depth: Annotated[Number, typer.Option(min=1, help="The number of hits a query to score. Default: all.")] = None,
    qrels: Annotated[Name, typer.Option(help="Judgements for nDCG@10; only judged queries are scored.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often all pairs are scored; figures are medians.")] = 3,
    against: Annotated[Name, typer.Option(help=f"Take turns with {PEER}.")] = None,
    against_dtype: Annotated[Name, typer.Option(help="Its dtype with torch. Default: float32.")] = None,
    against_backend: Annotated[Name, typer.Option(help="Its backend: torch (default), onnx or openvino.")] = None,
    against_batch: Annotated[Number, typer.Option(min=1, help="The pairs in its batches. Default: 32.")] = None,
    against_python: Annotated[File, typer.Option(help="The Python of an environment that has it.")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Compare rerankers on a run: quality and cost.")] = False,
    measure: SweepMeasures = None,
    plot: Annotated[File, typer.Option(help="With --sweep: draw quality by speed into this file.")] = None,
    backend: Annotated[Names, typer.Option(help="What computes the scores. Default: torch.")] = None,
    device: Annotated[Name, typer.Option(help="'cuda', 'mps' or 'cpu'. Default: the best there is.")] = None,
    dtype: Annotated[Names, typer.Option(help="'float32', 'bfloat16', 'float16', 'int8' or 'auto'.")] = None,
    max_length: MaxLength = None,
    option: Options = None,
    batch_tokens: Annotated[list[int] | None, typer.Option(min=1, help="Tokens of a batch.")] = None,
    to: Annotated[File, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:  # fmt: skip
    """Time a checkpoint on pairs of MS MARCO's lengths, on your own, or on a run's.

    The peak is the speed of a product of matrices in the same run, on the
    same device and in the same dtype. With --sweep, --model, --backend,
    --dtype and --batch-tokens may be given several times: every combination
    of them reranks the run. Options of one model alone are given in its YAML:
    '{model: NAME, max_length: 128}'.
    """
    from ..benchmarks.fetched_run import fetch
    from ..files.writing import check_apart, replace, target_of
    from ..runs import plots
    from ..runs.evaluation import MEASURE
    from ..runs.measures import parse_measures
    from ..runs.run_inputs import open_texts
    from ..runs.topics import load_qrels, load_topics

    several = {"backend": backend, "dtype": dtype, "batch_tokens": batch_tokens}
    peer_options = _without_none(
        {"dtype": against_dtype, "backend": against_backend, "batch": against_batch, "python": against_python}
    )
    if against not in (None, PEER):
        raise ValueError(f"--against {against}: the only peer is {PEER}.")
    if peer_options and not against:
        raise ValueError(f"--against-{next(iter(peer_options))} is for --against {PEER}: add it.")
    run_options = {"--topics": topics, "--index": index, "--collection": collection, "--depth": depth, "--qrels": qrels}
    _check(run, run_options, {"--pairs": pairs, "--count": count})
    if sweep and (run is None or qrels is None or against):
        raise ValueError("--sweep compares rerankers on a --run by its --qrels: name both, and leave --against out.")
    if not sweep and plot:
        raise ValueError("--plot draws the results of --sweep: add it.")
    if not sweep and measure:
        raise ValueError("--measure is for --sweep: add it.")
    with named_as_options(measures="--measure"):
        measures = parse_measures(measure or [MEASURE])
    for name, values in {"model": model, **several}.items():
        if not sweep and values and len(values) > 1:
            raise ValueError(f"one {name} is timed: compare several on a --run by --sweep.")
    if plot:
        plots.check(plot)
    check_apart({"--json": to, "--plot": plot}, {"--pairs": pairs, "--run": run, **run_options})
    for output in (to, plot):
        if output:
            target_of(output)
    judged = load_qrels(qrels) if qrels else None
    fetched = None
    if run and topics:
        with named_as_options(texts="--index or --collection"):
            texts = open_texts(texts_of(index, collection))
            assert texts, "--index or --collection is given"
            fetched = fetch(run, load_topics(topics), texts, depth=depth, qrels=judged)
    coverage = fetched.coverage if fetched else None
    if coverage:
        console().print(str(coverage))
    options = options_of(option, {"device": device, "max_length": max_length})
    if twice := sorted(options.keys() & _without_none(several)):
        raise ValueError(f"--option {twice[0]}: it is given twice, leave one out.")
    # Without --sweep there is one variant.
    variants = [
        _without_none(dict(zip(several, values, strict=True)))
        for values in product(*(v or [None] for v in several.values()))
    ]
    if sweep and fetched and judged:
        figures = _sweep(model, options, variants, fetched, judged, measures, rounds, plot)
    else:
        figures = _time(
            model[0], options | variants[0], pairs, count, fetched, judged, rounds, peer_options if against else None
        )
    if coverage:
        figures |= coverage._asdict()
    if to:
        replace(to, json.dumps(figures, indent=2) + "\n")


def _without_none(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _check(run: Path | None, run_options: dict[str, Any], pairs_options: dict[str, Any]) -> None:
    """Check that a run's options are given with a run only, and those of pairs without one."""
    misplaced = list(_without_none(pairs_options if run else run_options))
    if misplaced:
        raise ValueError(f"{misplaced[0]} is for {'pairs, and --run names a run' if run else 'a --run'}: leave it out.")
    if run and run_options["--topics"] is None:
        raise ValueError("name the run's --topics, and its texts by one of --index and --collection.")
    if run:
        one_of("the run's texts", {name: run_options[name] for name in ("--index", "--collection")})


def _time(
    model: str, options: dict[str, Any], file: Path | None, count: int | None, run: "FetchedRun | None",
    qrels: "Qrels | None", rounds: int, against: dict[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Time one checkpoint, and its peer unless `against`, the peer's options, is None."""
    from rich.table import Table

    from .. import load
    from ..benchmarks import throughput, workload
    from ..benchmarks.peer import Peer
    from ..runs.provenance import provenance

    if run:
        pairs = run.pairs()
    else:
        pairs = workload.read_pairs(file, count) if file else workload.generated_pairs(count or GENERATED_PAIRS)
    with ExitStack() as stack:
        reranker = stack.enter_context(load(model, **options))
        peer = None
        if against is not None:
            peer = stack.enter_context(Peer(throughput.backend_of(reranker), pairs, **against))
        figures = throughput.measure(reranker, pairs, rounds, peer=peer, run=run, qrels=qrels)
        facts = provenance(reranker)
    where = [facts[name] for name in ("device", "dtype") if name in facts]
    if "batch_tokens" in facts:
        where.append(f"{facts['batch_tokens']} tokens a batch")
    if "tokenizer" in facts:
        where.append(f"tokens by {facts['tokenizer']}")
    printed = dict(figures)
    if "peak_memory" in figures:
        printed["mebibytes"] = figures["peak_memory"] / 2**20
    if peer:
        printed |= {f"peer_{name}": value for name, value in figures["peer"].items()}
        printed["how"] = ", ".join(filter(None, (figures["peer"]["backend"], figures["peer"]["dtype"])))
        printed["each"] = ", ".join(f"{ratio:.2f}" for ratio in figures["ratios"])
    table = Table(box=None, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for name, (value, words) in PRINTED.items():
        if name in printed:
            table.add_row(value.format(printed[name]), words.format(**printed))
    screen = console()
    screen.print(f"{reranker.name}{' on ' if where else ''}{', '.join(where)}")
    screen.print(table)
    return {**facts, **figures}


def _sweep(
    models: list[str], options: dict[str, Any], variants: list[dict[str, Any]], run: "FetchedRun", qrels: "Qrels",
    measures: "list[Measure]", rounds: int, plot: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """Rerank a run with each model in each variant."""
    from rich.table import Table

    from .. import load
    from ..benchmarks.sweep import sweep
    from ..runs import plots
    from ..runs.provenance import provenance

    # Variants are labelled by the options in which they differ.
    varied = [name for name in variants[0] if any(variant[name] != variants[0][name] for variant in variants)]
    with ExitStack() as stack:
        rerankers = []
        for model in models:
            for variant in variants:
                reranker = stack.enter_context(load(model, **options, **variant))
                rerankers.append((reranker, "".join(f", {name}={variant[name]}" for name in varied)))
        rows = sweep(rerankers, run, qrels, measures, rounds=rounds)
        facts = [{**provenance(reranker), "model": reranker.name + label} for reranker, label in rerankers]
    names = [str(measure) for measure in measures]
    point_of = {row.name: plots.Point(row.name, row.pairs_per_second, row.means[names[0]]) for row in rows if row.pairs}
    points = plots.from_left(list(point_of.values()))
    table = Table(box=None)
    for name in ("", *names, "pairs a query", "ms a query", "pairs a second", "reranker"):
        table.add_column(name, justify="left" if name == "reranker" else "right", overflow="fold")
    for row in rows:
        number, cost = "", [""] * 3
        if row.pairs:
            number = str(1 + points.index(point_of[row.name]))
            cost = [f"{row.pairs:,}", f"{row.milliseconds:,.1f}", f"{row.pairs_per_second:,.1f}"]
        table.add_row(number, *(f"{row.means[name]:.4f}" for name in names), *cost, row.name)
    screen = console()
    screen.print(table)
    screen.print("\n" + plots.quality_as_text(points, names[0]))
    if plot:
        plots.save(plots.quality(points, names[0]), plot)
    return {"rows": [asdict(row) for row in rows], "rerankers": facts}
