"""`pyserini-rerank rerank`: a run, which exists or BM25 makes, reranked and evaluated."""

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import one_of
from .options import Options, load_with_scores, options_of

if TYPE_CHECKING:
    from rich.console import Console

    from ..runs.topics import Qrels
    from ..texts.source import Source

Number = int | None
Text = str | None
File = Path | None
Pair = tuple[float, float] | None


def rerank(
    model: Annotated[str, typer.Option(help="A hub name, a folder, 'bundled', or a combination in YAML.")],
    output: Annotated[Path, typer.Option(help="The TREC run to write; a report goes to OUTPUT.json.")],
    run: Annotated[File, typer.Option(help="A run: TREC's or MS MARCO's format, or an MS MARCO top-1000.")] = None,
    bm25: Annotated[Pair, typer.Option(metavar="K1 B", help="Search --index with BM25, in place of a run.")] = None,
    topics: Annotated[Text, typer.Option(help="A file, or a name that Pyserini or ir_datasets knows.")] = None,
    index: Annotated[Text, typer.Option(help="Texts from an index: a path, or a prebuilt name.")] = None,
    collection: Annotated[File, typer.Option(help="Texts from a file: JSON lines, or TSV.")] = None,
    tokens: Annotated[File, typer.Option(help="Passages from a folder that `index-tokens` wrote.")] = None,
    depth: Annotated[Number, typer.Option(min=1, help="Hits a query to rescore, or find. Default: all; 1000.")] = None,
    tag: Annotated[str, typer.Option(help="The last column of the output.")] = "reranked",
    qrels: Annotated[Text, typer.Option(help="Evaluate the run's judged queries: a file, or a name.")] = None,
    level: Annotated[int, typer.Option(min=1, help="The grade from which on a document is relevant.")] = 1,
    only_judged: Annotated[bool, typer.Option("--only-judged", help="Leave out what --qrels does not judge.")] = False,
    per_query: Annotated[File, typer.Option(help="Write each query's figures to this TSV file.")] = None,
    plot: Annotated[File, typer.Option(help="Draw each query's gain into this file (.png, .svg, .pdf).")] = None,
    cache: Annotated[File, typer.Option(help="A folder of scores, shared between runs.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out and count what is bad.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    backend: Annotated[str, typer.Option(help="What computes the scores; 'auto' measures.")] = "torch",
    device: Annotated[Text, typer.Option(help="'cuda', 'mps', 'cpu', or several: 'cuda:0,cuda:1'.")] = None,
    dtype: Annotated[Text, typer.Option(help="'float32', 'bfloat16', 'float16', 'int8', 'auto'.")] = None,
    max_length: Annotated[Number, typer.Option(min=5, help="Tokens beyond which a pair is cut.")] = None,
    option: Options = None,
    ray: Annotated[bool, typer.Option("--ray", help="Search and score on all machines of a Ray cluster.")] = False,
) -> None:  # fmt: skip
    """Rerank a run, or what BM25 finds.

    It can be interrupted, or killed, at any moment: the same command goes on where it was, to the same bytes.
    """
    from ..experiments import plots
    from ..files.growing import partial_of
    from ..files.reading import at_rest, digest
    from ..files.writing import check_apart, target_of
    from ..runs import input_states
    from ..runs.bm25_run import BM25, TopicSearcher, search_topics
    from ..runs.evaluation import coverage
    from ..runs.official_candidates import OfficialCandidates, is_official
    from ..runs.provenance import provenance
    from ..runs.ray_cluster import Cluster
    from ..runs.rescoring import Reader, RerankSettings, Scorer, cut, in_turn, rerank_run
    from ..runs.resumable_output import ResumableOutput, check_is_new, report_of
    from ..runs.run_file import Skipped, qids, read
    from ..runs.topics import load_qrels, load_topics

    one_of("the first stage", {"--run": run, "--bm25": bm25})
    terms = RerankSettings(depth or (1000 if bm25 else None), tag, skip_bad)
    stage = None
    if bm25:
        if index is None:
            raise ValueError("--bm25 searches a Lucene index: name it by --index.")
        depth = terms.depth
        stage = BM25(*bm25, index, depth or 1000)
        index = None if collection or tokens else index
    if qrels is None and (only_judged or per_query or plot):
        raise ValueError("name the judgements to evaluate with, by --qrels.")
    if plot:
        plots.check(plot)
    check_apart(
        {"--output": output, "the report on it": report_of(output)}
        | {"--per-query": per_query, "--plot": plot, "--cache": cache},
        {"--run": run, "--topics": topics, "--collection": collection, "--qrels": qrels, "--model": model},
        growing_in=partial_of(check_is_new(output, overwrite=overwrite)),
    )
    with ExitStack() as stack:
        named, run = run, run and stack.enter_context(at_rest(run))
        official = run is not None and is_official(run)
        _check(official, topics, {"--index": index, "--collection": collection, "--tokens": tokens}, [depth, plot])
        topics_by_qid = load_topics(topics) if topics else {}
        judged = load_qrels(qrels) if qrels else {}
        options = options_of(option, {"device": device, "dtype": dtype, "max_length": max_length})
        settings = {
            **{"run": run and digest(run), "topics": input_states.of_value(topics_by_qid) if topics else None},
            **{"texts": input_states.of_texts(index, collection, tokens), "model": input_states.of_model(model)},
            **{"backend": backend, **options, "depth": depth, "tag": tag, "skip_bad": skip_bad},
            "only_judged": input_states.of_value(judged) if only_judged else None,
            "bm25": stage and str(stage),
            "index": stage and input_states.of_index(stage.index),
        }
        work = stack.enter_context(ResumableOutput(output, settings, overwrite=overwrite))
        for extra in (per_query, plot):
            if extra:
                target_of(extra)
        skipped = Skipped() if skip_bad else None
        if run is None:
            of_search = {name: settings[name] for name in ("bm25", "index", "topics", "only_judged")}
            searched = stack.enter_context(ResumableOutput(work.folder / "first-stage", of_search))
            run = searched.path
        if topics:
            queries: Any = read(run, skipped)
        else:
            queries = OfficialCandidates(run, work.folder, skipped)
            topics_by_qid = queries.queries
        if judged and not only_judged:
            coverage(topics_by_qid, judged)
        if only_judged:
            queries = ((qid, hits) for qid, hits in queries if qid in judged)
            topics_by_qid = {qid: query for qid, query in topics_by_qid.items() if qid in judged}
        loaded = partial(load_with_scores, model, is_asked_for=cache is not None, backend=backend, **options)
        scores = cache or work.scores
        reader = Reader(terms, partial(source_of, index, collection, tokens))
        shards = cut(queries, topics_by_qid, depth)

        def count() -> int:
            """Count the queries of the run, which the topics may have more of."""
            found = topics_by_qid.keys() if official else qids(run)
            return len(found & judged.keys() if only_judged else found)

        if ray:
            with Cluster(reader, loaded, scores, tokens, device) as cluster:
                if stage:
                    search_topics(searched, topics_by_qid, stage.depth, partial(cluster.search, stage))
                report = rerank_run(work, shards, cluster.rescore, cluster.facts, count())
                location = cluster.location
        else:
            with loaded(cache=scores) as reranker:
                if reader.source:
                    reader.source.check(reranker)
                if stage:
                    search = TopicSearcher(stage.depth, stage.open).search
                    search_topics(searched, topics_by_qid, stage.depth, partial(map, search))
                rescore = in_turn(reader, Scorer(terms, reranker))
                report = rerank_run(work, shards, rescore, provenance(reranker), count())
                location = reader.location()
        if not (report["counts"]["pairs"] or report["counts"]["empty_queries"]):
            work.abandon()
            lack = "is among the topics and the judgements: name those of the run."
            if "document without text" in report["skipped"]:
                lack = "has a document with a text: name the collection or the index of the run."
            raise ValueError(f"no query of {stage or named} {lack}")
        report["run"] = str(stage or named)
        if stage:
            report["first_stage"] = str(stage)
        report["texts"] = location or f"the lines of {named}"
        report["skipped"] |= skipped.reasons if skipped else {}
        if qrels:
            before = None if official else run
            report["evaluation"] = _evaluate(work.path, before, qrels, judged, level, per_query, plot)
            report["evaluation"]["state"] = input_states.of_value(judged)
        _show(work.finish(report), output, as_json)


def _check(official: bool, topics: str | None, texts: dict[str, object], of_order: list[object]) -> None:
    if official:
        if topics or any(texts.values()) or any(of_order):
            raise ValueError(
                "the run is one of MS MARCO's top-1000 files, with its own queries and texts and in no order: leave "
                "--topics, --index, --collection, --tokens, --depth and --plot out."
            )
        return
    if topics is None:
        raise ValueError("name the queries, by --topics, and the texts, by one of --index, --collection and --tokens.")
    one_of("the texts", texts)


def source_of(index: str | None, collection: Path | None, tokens: Path | None) -> "Source | None":
    """Open the source of texts that the command names, if it does."""
    from ..texts.collection import Collection
    from ..texts.opening import CallableTexts, open_source

    if collection:
        return CallableTexts(Collection(collection).get, str(collection))
    return open_source(index, tokens, None) if index or tokens else None


def _evaluate(
    output: Path, run: Path | None, name: str, qrels: "Qrels", level: int, table: Path | None, plot: Path | None
) -> dict[str, Any]:
    """Evaluate the output, beside the run where that has an order; and write the query table and the plot."""
    from ..experiments import plots
    from ..files.writing import replace
    from ..runs.evaluation import MEASURE, compare, evaluate, per_query, query_table, read_run

    after, coverage = evaluate(read_run(output), qrels, level)
    # What the output has, the run has as well.
    before = per_query(read_run(run), {qid: qrels[qid] for qid in after[MEASURE]}, level) if run else None
    if table:
        replace(table, "".join(query_table(after, before)))
    if plot and before:
        plots.save(plots.gains(after["nDCG@10"], before["nDCG@10"], "nDCG@10"), plot)
    return {"qrels": name, "level": level, **coverage._asdict(), "measures": compare(after, before)}


def _show(report: dict[str, Any], output: Path, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        print(json.dumps(report, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{output}: {report['counts']['pairs']:,} pairs, {report['pairs_per_second']} scored a second")
    console.print("".join(f"left out: {count:,} ({reason})\n" for reason, count in report["skipped"].items()), end="")
    if "evaluation" in report:
        _show_evaluation(console, report["evaluation"])


def _show_evaluation(console: "Console", evaluation: dict[str, Any]) -> None:
    from rich.table import Table

    from ..runs.evaluation import Coverage

    console.print(str(Coverage(*(evaluation[name] for name in Coverage._fields))))
    rows = evaluation["measures"]
    columns = {"measure": "measure", "baseline": "first stage", "run": "reranked"}
    columns |= {"better": "better", "worse": "worse", "p": "p"}
    table = Table(box=None)
    shown = {name: heading for name, heading in columns.items() if name in rows[0]}
    for heading in shown.values():
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for row in rows:
        table.add_row(*(_shown(row[name]) for name in shown))
    console.print(table)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if not 0 < value < 0.0001 else "<0.0001"
    return "" if value is None else str(value)
