"""`pyserini-rerank search`: Pyserini's own search commands, with a reranker on the searchers that they make."""

import argparse
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import HELP, load_with_scores, options_of

if TYPE_CHECKING:
    from ..reranker import Reranker

#: The command's searchers by kind: those that it makes itself, not those that a searcher makes for its texts.
KINDS = {
    "lucene": ("LuceneSearcher", "LuceneImpactSearcher", "LuceneHnswDenseSearcher", "LuceneFlatDenseSearcher"),
    "faiss": ("FaissSearcher",),
    "hybrid": ("HybridSearcher",),
}
NO_INDEX = 2


def search(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help=f"Which of Pyserini's commands: {', '.join(KINDS)}.")],
    reranker: Annotated[
        str | None, typer.Option(help="A checkpoint, or a combination in YAML; else it is Pyserini's own search.")
    ] = None,
    reranker_depth: Annotated[
        int | None, typer.Option(min=1, help="How many are rescored. Default: 100, or a cascade's own.")
    ] = None,
    reranker_texts: Annotated[str | None, typer.Option(help="The index with the texts, if the hits have none.")] = None,
    reranker_tokens: Annotated[str | None, typer.Option(help="A folder that `index-tokens` wrote, for texts.")] = None,
    reranker_topics: Annotated[str | None, typer.Option(help="Topics in text, if --topics are encoded.")] = None,
    reranker_backend: Annotated[str, typer.Option(help="What computes the scores; 'auto' measures.")] = "torch",
    reranker_device: Annotated[str | None, typer.Option(help="'cuda', 'mps' or 'cpu'.")] = None,
    reranker_dtype: Annotated[
        str | None, typer.Option(help="'float32', 'bfloat16', 'float16', 'int8', 'auto'.")
    ] = None,
    reranker_option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help=HELP)] = None,
    reranker_cache: Annotated[str | None, typer.Option(help="A folder of scores, shared between runs.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
) -> None:
    """Run `python -m pyserini.search.KIND` with its own flags, and rerank what it finds.

    The output appears under its name when it is complete, with a report beside it as OUTPUT.json. A command that
    was interrupted searches again, and computes only the scores that it had not got to.
    """
    from ..files.growing import partial_of
    from ..files.writing import check_apart
    from ..runs import input_states
    from ..runs.provenance import provenance
    from ..runs.resumable_output import ResumableOutput, check_is_new, report_of
    from ..searcher import DEPTH

    if kind not in KINDS:
        raise ValueError(f"there is no {kind!r} search: there are {', '.join(KINDS)}.")
    output = _output(context.args)
    states = input_states.of_words(context.args)
    check_apart(
        {"--output": output, "the report on it": report_of(output)},
        {name: name for name in states},
        growing_in=partial_of(check_is_new(output, overwrite=overwrite)),
    )
    settings = {"search": kind, "arguments": context.args, "inputs": states}
    with ResumableOutput(output, settings, overwrite=overwrite) as work:
        arguments = _with_output(context.args, work.path)
        start = time.perf_counter()
        report: dict[str, Any] = {}
        if reranker is None:
            code = _run(kind, arguments)
        else:
            flags = {"device": reranker_device, "dtype": reranker_dtype}
            options = options_of(reranker_option, flags, "--reranker-option")
            cache = Path(reranker_cache) if reranker_cache else work.scores
            how = {"is_asked_for": reranker_cache is not None, "backend": reranker_backend, **options}
            with load_with_scores(reranker, cache=cache, **how) as loaded:
                depth = reranker_depth or loaded.depth or DEPTH
                how = {"depth": depth, "texts": reranker_texts, "tokens": reranker_tokens}
                with _reranked(kind, loaded, how, _queries(arguments, reranker_topics)):
                    code = _run(kind, arguments)
                report = {**provenance(loaded), "depth": depth, "counts": vars(loaded.counts)}
        if code:
            sys.exit(code)
        work.finish({**report, "seconds": round(time.perf_counter() - start, 3)})
    sys.exit(0)


def _output(arguments: list[str]) -> Path:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--output", type=Path)
    output: Path | None = parser.parse_known_args(arguments)[0].output
    if output is None:
        raise ValueError("name the run to write, by --output.")
    return output


def _with_output(arguments: list[str], output: Path) -> list[str]:
    """Name another output in the same place, since a hybrid search's belongs to one of its parts."""
    changed = list(arguments)
    last = max(i for i, word in enumerate(changed) if word.partition("=")[0] == "--output")
    changed[last : last + (1 if "=" in changed[last] else 2)] = ["--output", str(output)]
    return changed


def _run(kind: str, arguments: list[str]) -> int:
    """Run Pyserini's module as its command; its `exit()` without a code is for an index that it does not have."""
    module = f"pyserini.search.{kind}"
    before, sys.argv = sys.argv, [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stopped:
        return NO_INDEX if stopped.code is None else int(stopped.code)
    except AssertionError as error:  # of Pyserini's, such as an index with a wrong checksum
        raise RuntimeError(f"Pyserini's search stopped: {error}") from None
    finally:
        sys.argv = before
    return 0


@contextmanager
def _reranked(kind: str, reranker: "Reranker", how: dict[str, Any], queries: dict[str, str]) -> Iterator[None]:
    """Have the command's searchers rerank from the moment that they are made."""
    from importlib import import_module

    module = import_module(f"pyserini.search.{kind}")
    made: list[Any] = []

    def after(initialise: Callable[..., None]) -> Callable[..., None]:
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            initialise(self, *args, **kwargs)
            if not made:  # what comes after the first is a text index
                made.append(self)
                self.set_reranker(reranker, **how)
                if queries:
                    _translate(self, queries)

        return init

    classes = [getattr(module, name) for name in KINDS[kind]]
    before = [cls.__init__ for cls in classes]
    for cls in classes:
        cls.__init__ = after(cls.__init__)
    try:
        yield
    finally:
        for cls, init in zip(classes, before, strict=True):
            cls.__init__ = init


def _queries(arguments: list[str], topics: str | None) -> dict[str, str]:
    """Map the topics that the first stage searches with to those to rerank with, by their qids."""
    if topics is None:
        return {}
    from pyserini.query_iterator import TopicsFormat, get_query_iterator

    from ..runs.topics import load_topics

    texts = load_topics(topics)
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--topics", required=True)
    parser.add_argument("--topics-format", default=TopicsFormat.DEFAULT.value)
    given, _ = parser.parse_known_args(arguments)
    searched = {str(qid): query for qid, query in get_query_iterator(given.topics, TopicsFormat(given.topics_format))}
    lacking = [qid for qid in searched if qid not in texts]
    if lacking:
        raise ValueError(f"{topics} has no text for topic {lacking[0]} of {given.topics}: name the same topics' texts.")
    return {query: texts[qid] for qid, query in searched.items()}


def _translate(searcher: Any, queries: dict[str, str]) -> None:
    """Have a searcher rerank with another text than it searches with."""
    search, batch_search = searcher.search, searcher.batch_search
    searcher.search = lambda query, *args, **kwargs: search(query, *args, rerank_query=queries[query], **kwargs)
    searcher.batch_search = lambda asked, *args, **kwargs: batch_search(
        asked, *args, rerank_queries=[queries[query] for query in asked], **kwargs
    )
