"""The whole job of reranking a run file, from its inputs to its evaluation. It can be interrupted at any moment."""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ..arguments import listed, whole
from ..combining.descriptions import ranks_documents
from ..combining.maker import given_rerankers, settled
from ..files.growing import partial_of
from ..files.writing import check_apart
from ..loading import load_models
from ..reranker import Reranker
from . import input_states
from .bm25_run import BM25, search_topics
from .judging import Evaluation, Judging
from .one_process import OneProcess
from .ray_cluster import Cluster
from .reranked_run import RerankedRun
from .rescoring import Reader, RerankSettings, cut, rescore_run
from .resumable_output import ResumableOutput, check_is_new, report_of
from .run_file import Skipped
from .run_inputs import RunInputs, open_inputs, open_texts


def rerank_run(
    run: str | os.PathLike[str] | BM25,
    reranker: Any,
    *,
    output: str | os.PathLike[str],
    topics: Any = None,
    texts: Any = None,
    depth: int | None = None,
    tag: str = "reranked",
    qrels: Any = None,
    measures: Iterable[Any] | None = None,
    level: int = 1,
    only_judged: bool = False,
    per_query: str | os.PathLike[str] | None = None,
    plot: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
    ray: bool = False,
    backend: str = "torch",
    **options: Any,
) -> RerankedRun:
    """Rerank a run file, or the hits of BM25, into a TREC run, and evaluate it.

    `pyserini-rerank rerank` does the same job and writes the same bytes. The job can be interrupted, or killed, at any
    moment: the same call, or the same command, resumes it, as long as the content of its inputs is the same.

    Parameters
    ----------
    run : path or BM25
        A file in TREC's, MS MARCO's or ColBERT's format; or one of MS MARCO's top-1000 files, which have their own
        topics and texts; or a BM25 search that finds the candidates.
    reranker : str, path, list, dict or Reranker
        See `pyserini_rerank.load`. A loaded reranker stays open, and a resumed job recognises it by its fingerprint.
        It keeps its scores only in the cache that it was loaded with: without a cache, an interruption costs the
        scores of up to 20,000 pairs.
    output : path
        The file to write. The report is written to ``OUTPUT.json``.
    topics : str, path or mapping
        A file, a name that Pyserini or ir_datasets knows, or a mapping from qid to query.
    texts : str, path or mapping
        A collection's file (JSON lines or TSV), the path or the prebuilt name of an index, or a mapping from docid to
        text. For a `BM25` the default is its index.
    depth : int, optional
        The number of a query's hits that are rescored; the other hits follow them. All by default.
    tag : str
        The last column of the output.
    qrels : str, path or mapping, optional
        The judgements to evaluate with: a file, a name, or a mapping from qid to a mapping from docid to grade.
    measures : iterable of str or ir_measures.Measure, optional
        For example ``["nDCG@10", "RR(rel=2)@10"]``; see `pyserini_rerank.runs.measures.parse_measures`. The plot shows
        the first measure.
    level : int
        The lowest grade of a relevant document, for measures that do not name a grade themselves.
    only_judged : bool
        Leave out queries that are not judged.
    per_query, plot : path, optional
        The TSV file for each query's figures, and the file (.png, .svg, .pdf) for the plot of each query's gain.
    cache : path, optional
        A folder of scores, which several runs may share.
    skip_bad : bool
        Leave out bad lines, queries and documents, and count them. Otherwise they are errors.
    overwrite : bool
        Replace an output that exists.
    ray : bool
        Search and score on all machines of a Ray cluster.
    backend, **options
        See `pyserini_rerank.load`.

    Returns
    -------
    RerankedRun
        The path, the report, and the figures: the means, and those of each query.

    Raises
    ------
    FileExistsError
        The output exists already.
    BlockingIOError
        Another process or thread is writing the output.
    ValueError, LookupError
        Inputs are lacking, do not parse or do not belong together, such as a document without text; or the output was
        begun with other settings or inputs.
    TypeError
        Options, or Ray, are given for a loaded reranker.
    OSError
        An input does not exist, or a file cannot be written.
    As `pyserini_rerank.load`.
    """
    if isinstance(run, BM25):
        depth = run.depth if depth is None else depth
        texts = run.index if texts is None else texts
    else:
        run = _file(run, "run", "a run's file, or give a BM25")
    settings = RerankSettings(None if depth is None else whole(depth, "depth", least=1), tag, skip_bad)
    judging = Judging(
        qrels,
        None if measures is None else listed(measures, "measures"),
        whole(level, "level", least=1),
        only_judged,
        _path(per_query, "per_query"),
        _path(plot, "plot"),
    )
    output, cache = _file(output, "output"), _path(cache, "cache")
    reranker = settled(reranker)
    if ray and (loaded := list(given_rerankers(reranker))):
        raise TypeError(f"ray=True loads the reranker on each machine, and {loaded[0].name} is loaded here: name it.")
    inputs_by_name = {"run=": run, "topics=": topics, "texts=": texts, "qrels=": qrels, "reranker=": reranker}
    check_apart(
        {"output=": output, "the report on it": report_of(output)}
        | {"per_query=": judging.per_query, "plot=": judging.plot, "cache=": cache},
        {name: value for name, value in inputs_by_name.items() if isinstance(value, str | os.PathLike)},
        growing_in=partial_of(check_is_new(output, overwrite=overwrite)),
    )
    with ExitStack() as stack:
        inputs = stack.enter_context(open_inputs(run, topics, texts, settings.depth, judging))
        model = {"model": input_states.of_model(reranker), "backend": backend, **options}
        work = stack.enter_context(ResumableOutput(output, _states(inputs, model, settings), overwrite=overwrite))
        judging.check_files()
        first_stage = stack.enter_context(inputs.first_stage(work)) if inputs.bm25 else None
        skipped = Skipped() if skip_bad else None
        first_run = first_stage.path if first_stage else inputs.run
        assert first_run, "the inputs have a run or a BM25 search"
        queries, topics = inputs.candidates(first_run, work.folder, skipped)
        load_options = {"backend": backend, "needs_cache": cache is not None, **options}
        reader = Reader(settings, partial(open_texts, texts))
        load = partial(load_models, reranker, **load_options)
        with _workers(ray, reader, load, cache or work.scores) as workers:
            if inputs.bm25 and first_stage:
                search_topics(first_stage, topics, inputs.bm25.depth, partial(workers.search, inputs.bm25))
            shards = cut(queries, topics, settings.depth)
            report = rescore_run(work, shards, workers.rescore, workers.facts, inputs.count(first_run, topics))
            location = workers.location
        _check_not_empty(report, work, inputs)
        report["run"] = inputs.name
        if inputs.bm25:
            report["first_stage"] = inputs.name
        report["texts"] = location or f"the lines of {inputs.name}"
        report["skipped"] |= skipped.reasons if skipped else {}
        evaluation = Evaluation({}, {}, None)
        if judging.judged:
            # Official candidates have no order, and segments have other docids than the documents that are judged.
            has_baseline = not (inputs.is_official or ranks_documents(reranker))
            evaluation = judging.evaluate(work.path, first_run if has_baseline else None)
            report["evaluation"] = evaluation.report
        return RerankedRun(output, work.finish(report), evaluation.values, evaluation.first_stage)


def _file(given: Any, argument: str, remedy: str = "a file") -> Path:
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"{argument} is a {type(given).__name__}: name {remedy}.")
    return Path(given)


def _path(given: Any, argument: str) -> Path | None:
    return None if given is None else _file(given, argument, "a file or a folder")


def _states(inputs: RunInputs, model: Mapping[str, Any], settings: RerankSettings) -> dict[str, Any]:
    """Give everything that the output depends on. It is stored, and has to be the same when the job is resumed."""
    states = inputs.states()
    return {
        **{name: states[name] for name in ("run", "topics", "texts")},
        **model,
        **{"depth": settings.depth, "tag": settings.tag, "skip_bad": settings.skip_bad},
        **{name: states[name] for name in ("only_judged", "bm25", "index")},
    }


def _workers(ray: bool, reader: Reader, load: "partial[Any]", scores: Path) -> OneProcess | Cluster:
    """Load the reranker in this process or on a cluster's machines, and give the object that searches and scores."""
    if not ray:
        return OneProcess(reader, load, scores)
    return Cluster(reader, partial(_load_reranker, load), scores, load.keywords.get("device"))


def _load_reranker(load: "partial[Any]", cache: Path) -> Reranker:
    """Load the reranker in a process of a cluster, whose end frees it."""
    reranker: Reranker = load(cache=cache)[0]
    return reranker


def _check_not_empty(report: Mapping[str, Any], work: ResumableOutput, inputs: RunInputs) -> None:
    """Check that something was reranked; otherwise delete the output's folder and raise ValueError."""
    if report["counts"]["pairs"] or report["counts"]["empty_queries"]:
        return
    work.abandon()
    lack = "is among the topics and the judgements: name the run's topics and judgements."
    if "document without text" in report["skipped"]:
        lack = "has a document with a text: name the collection or the index of the run."
    raise ValueError(f"no query of {inputs.name} {lack}")
