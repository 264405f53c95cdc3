"""`pyserini-rerank search`: Pyserini's own search commands, whose searchers get a reranker."""

import argparse
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import HELP, Measures, named_as_options, options_of

if TYPE_CHECKING:
    from ..reranker import Reranker
    from ..runs.judging import Judging

#: The classes of the searchers that each command makes itself. A searcher may open further ones for its texts.
KINDS = {
    "lucene": ("LuceneSearcher", "LuceneImpactSearcher", "LuceneHnswDenseSearcher", "LuceneFlatDenseSearcher"),
    "faiss": ("FaissSearcher",),
    "hybrid": ("HybridSearcher",),
}
#: The exit code if Pyserini does not have the index.
NO_INDEX = 2


def search(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help=f"Which of Pyserini's commands: {', '.join(KINDS)}.")],
    reranker: Annotated[
        str | None, typer.Option(help="A checkpoint, or a combination in YAML. Default: no reranking.")
    ] = None,
    reranker_depth: Annotated[
        int | None, typer.Option(min=1, help="Hits a query to rescore. Default: 100, or a cascade's own.")
    ] = None,
    reranker_texts: Annotated[str | None, typer.Option(help="The index with the texts, if the hits have none.")] = None,
    reranker_topics: Annotated[str | None, typer.Option(help="Topics in text, if --topics are encoded.")] = None,
    reranker_backend: Annotated[
        str, typer.Option(help="The scoring library; 'auto' measures which is fastest.")
    ] = "torch",
    reranker_device: Annotated[str | None, typer.Option(help="'cuda', 'mps' or 'cpu'.")] = None,
    reranker_dtype: Annotated[
        str | None, typer.Option(help="'float32', 'bfloat16', 'float16', 'int8', 'auto'.")
    ] = None,
    reranker_option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help=HELP)] = None,
    reranker_cache: Annotated[str | None, typer.Option(help="A folder of scores, which runs may share.")] = None,
    qrels: Annotated[str | None, typer.Option(help="Evaluate the output's judged queries: a file, or a name.")] = None,
    measure: Measures = None,
    level: Annotated[int, typer.Option(min=1, help="The lowest grade of a relevant document.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
) -> None:
    """Run `python -m pyserini.search.KIND` with its own flags, and rerank its hits.

    The output gets its name when it is complete, and OUTPUT.json is a report on it. A command that was interrupted
    searches again, but computes only the missing scores.
    """
    from ..runs.judging import Judging

    reranking = None
    if reranker is not None:
        flags = {"device": reranker_device, "dtype": reranker_dtype}
        options = options_of(reranker_option, flags, "--reranker-option")
        settings = {"depth": reranker_depth, "texts": reranker_texts}
        cache = Path(reranker_cache) if reranker_cache else None
        reranking = Reranking(reranker, settings, reranker_topics, cache, {"backend": reranker_backend, **options})
    others = {name: f"--reranker-{name}" for name in ("depth", "texts", "cache")} | {"measures": "--measure"}
    try:
        with named_as_options(**others):
            judging = Judging(qrels, measure, level)
            run_search(kind, context.args, reranking, judging=judging, overwrite=overwrite)
    except SearchFailed as failed:
        sys.exit(failed.code)
    sys.exit(0)


@dataclass(frozen=True)
class Reranking:
    """The settings of reranking the hits of a search.

    Parameters
    ----------
    reranker : str
        A checkpoint, or a combination in YAML.
    settings : dict
        The ``depth`` and ``texts`` of `set_reranker`.
    topics : str, optional
        The topics in text, if the search has encoded ones.
    cache : path, optional
        A folder of scores.
    options : dict
        See `pyserini_rerank.load`.
    """

    reranker: str
    settings: dict[str, Any]
    topics: str | None
    cache: Path | None
    options: dict[str, Any]


class SearchFailed(RuntimeError):
    """An error of Pyserini's search, which has printed its reason and ended with an exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the search ended with {code}; see what it printed above.")
        self.code = code


def run_search(
    kind: str,
    arguments: list[str],
    reranking: Reranking | None = None,
    *,
    judging: "Judging | None" = None,
    overwrite: bool = False,
) -> None:
    """Run one of Pyserini's searches into an output that gets its name when it is complete.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    arguments : list of str
        Pyserini's own flags, and ``--output``.
    reranking : Reranking, optional
    judging : Judging, optional
        The settings of the evaluation. The figures are printed, and stored in the report.
    overwrite : bool
        Replace an output that exists.

    Raises
    ------
    SearchFailed
        Pyserini's search has failed.
    ValueError
        There is no such search, no output is named, or the output is an input.
    FileExistsError
        The output exists already.
    As `pyserini_rerank.load`.
    """
    from ..files.growing import partial_of
    from ..files.writing import check_apart
    from ..runs import input_states
    from ..runs.evaluation import Coverage
    from ..runs.resumable_output import ResumableOutput, check_is_new, report_of

    if kind not in KINDS:
        raise ValueError(f"there is no {kind!r} search: there are {', '.join(KINDS)}.")
    output = _output(arguments)
    states = input_states.of_words(arguments)
    check_apart(
        {"--output": output, "the report on it": report_of(output)},
        {name: name for name in states},
        growing_in=partial_of(check_is_new(output, overwrite=overwrite)),
    )
    settings = {"search": kind, "arguments": arguments, "inputs": states}
    with ResumableOutput(output, settings, overwrite=overwrite) as work:
        start = time.perf_counter()
        new_arguments = _with_output(arguments, work.path)
        judged = judging.judged if judging else {}
        report = _run_reranked(kind, new_arguments, reranking, work.scores) if reranking else _run(kind, new_arguments)
        report["seconds"] = round(time.perf_counter() - start, 3)
        if judging and judged:
            report["evaluation"] = judging.evaluate(work.path, None).report
        report = work.finish(report)
    if evaluation := report.get("evaluation"):
        print(Coverage(*(evaluation[name] for name in Coverage._fields)))
        print(*(f"{figures['run']:.4f}  {figures['measure']}" for figures in evaluation["measures"]), sep="\n")


def _run_reranked(kind: str, arguments: list[str], reranking: Reranking, scores: Path) -> dict[str, Any]:
    """Run a search whose searchers rerank; give the part of the report on the reranker."""
    from ..loading import load_models
    from ..runs.provenance import provenance
    from ..searcher import DEPTH

    needed, cache = reranking.cache is not None, reranking.cache or scores
    reranker, _ = load_models(reranking.reranker, cache=cache, needs_cache=needed, **reranking.options)
    with reranker:
        depth = reranking.settings["depth"] or reranker.depth or DEPTH
        with _reranked(kind, reranker, {**reranking.settings, "depth": depth}, _queries(arguments, reranking.topics)):
            _run(kind, arguments)
        return {**provenance(reranker), "depth": depth, "counts": vars(reranker.counts)}


def _output(arguments: list[str]) -> Path:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--output", type=Path)
    output: Path | None = parser.parse_known_args(arguments)[0].output
    if output is None:
        raise ValueError("name the run to write, by --output.")
    return output


def _with_output(arguments: list[str], output: Path) -> list[str]:
    """Replace the output in its place, since in a hybrid search the option belongs to one of the parts."""
    changed = list(arguments)
    last = max(i for i, word in enumerate(changed) if word.partition("=")[0] == "--output")
    changed[last : last + (1 if "=" in changed[last] else 2)] = ["--output", str(output)]
    return changed


def _run(kind: str, arguments: list[str]) -> dict[str, Any]:
    """Run Pyserini's module as a command, and give an empty report. Its `exit()` without a code means that it does not
    have the index."""
    module = f"pyserini.search.{kind}"
    before, sys.argv = sys.argv, [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stopped:
        code = NO_INDEX if stopped.code is None else int(stopped.code)
        if code:
            raise SearchFailed(code) from None
    except AssertionError as error:  # Pyserini raises it, for example for an index with a wrong checksum
        raise RuntimeError(f"Pyserini's search stopped: {error}") from None
    finally:
        sys.argv = before
    return {}


@contextmanager
def _reranked(kind: str, reranker: "Reranker", settings: dict[str, Any], queries: dict[str, str]) -> Iterator[None]:
    """Give the command's searcher a reranker as soon as it is made."""
    from importlib import import_module

    module = import_module(f"pyserini.search.{kind}")
    searchers: list[Any] = []

    def with_reranker(initialise: Callable[..., None]) -> Callable[..., None]:
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            initialise(self, *args, **kwargs)
            if not searchers:  # a later one is the index of the texts
                searchers.append(self)
                self.set_reranker(reranker, **settings)
                if queries:
                    _translate(self, queries)

        return init

    classes = [getattr(module, name) for name in KINDS[kind]]
    before = [cls.__init__ for cls in classes]
    for cls in classes:
        cls.__init__ = with_reranker(cls.__init__)
    try:
        yield
    finally:
        for cls, init in zip(classes, before, strict=True):
            cls.__init__ = init


def _queries(arguments: list[str], topics: str | None) -> dict[str, str]:
    """Map each query of the first stage to the query of the same qid that is reranked with."""
    if topics is None:
        return {}
    from pyserini.query_iterator import TopicsFormat, get_query_iterator

    from ..runs.topics import load_topics

    texts = load_topics(topics)
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--topics", required=True)
    parser.add_argument("--topics-format", default=TopicsFormat.DEFAULT.value)
    flags, _ = parser.parse_known_args(arguments)
    searched = {str(qid): query for qid, query in get_query_iterator(flags.topics, TopicsFormat(flags.topics_format))}
    lacking = [qid for qid in searched if qid not in texts]
    if lacking:
        raise ValueError(
            f"{topics} has no text for topic {lacking[0]} of {flags.topics}: name the texts of the same topics."
        )
    return {query: texts[qid] for qid, query in searched.items()}


def _translate(searcher: Any, queries: dict[str, str]) -> None:
    """Make a searcher rerank with other queries than it searches with."""
    search, batch_search = searcher.search, searcher.batch_search
    searcher.search = lambda query, *args, **kwargs: search(query, *args, rerank_query=queries[query], **kwargs)
    searcher.batch_search = lambda searched, *args, **kwargs: batch_search(
        searched, *args, rerank_queries=[queries[query] for query in searched], **kwargs
    )
