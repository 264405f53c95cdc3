"""`train_data`: from a first stage, topics and qrels to training data in a folder."""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

from ..arguments import listed, whole
from ..caller import warn
from ..combining.maker import given_rerankers, settled
from ..counts import SkippedDocumentWarning
from ..experiments.first_stages import HitsStage
from ..files.growing import STATE, begin, check_is_new_folder, followed, growing_folder
from ..runs.input_states import of_model, of_value
from ..runs.run_file import check_name
from ..runs.topics import Qrels, load_qrels, load_topics
from ..searcher import DEPTH
from ..version import __version__
from .candidates import CANDIDATES, TEXTS, check_finds_the_same, collect, open_stages
from .collected import Collected, NotAllScored
from .extra import check_installed
from .selection import Selection
from .splitting import check_shares, relevant, split_as_named
from .states import description, of_first_stage, of_source, spec
from .teacher import PAIRS, SCORED, NothingToTrainOn, check, cutting, score
from .training_data import SPLITS, TrainingData, write_settings, write_split

DATA, SCORES = "data", "scores"
#: Beginnings of the names of all files in the folder in which the data grows.
FILES = (STATE, CANDIDATES, TEXTS, PAIRS, SCORED, DATA, SCORES)


def train_data(
    first_stage: Any,
    topics: Any,
    qrels: Any,
    output: str | os.PathLike[str],
    *,
    texts: Any = None,
    depth: int = DEPTH,
    level: int = 1,
    positives: int | None = None,
    negatives: int = 8,
    ranks: tuple[int, int] | None = None,
    random_negatives: int = 0,
    teacher: Any = None,
    margin: float | None = None,
    windows: tuple[int, int] | None = None,
    validation: float | Collection[str] = 0.1,
    test: float | Collection[str] = 0.1,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    ray: bool = False,
    **options: Any,
) -> TrainingData:
    """Make training data for rerankers of a first stage, topics and qrels.

    The texts are those that a reranker reads in a search. The same call gives the same files, and goes on with what
    an interrupted one has found and scored.

    Parameters
    ----------
    first_stage : searcher, path, mapping or list
        A Pyserini searcher; a run file; hits by qid; or a list of these, whose candidates are taken in turn.
    topics, qrels : str, path or mapping
        A file, or a name of Pyserini's or of ir_datasets', or a mapping.
    output : path
        A folder, which gets ``train.parquet``, ``validation.parquet`` and ``test.parquet``, ``qrels.txt``,
        ``settings.json`` and a card, ``README.md``.
    texts : optional
        The source of the documents' texts, as for `set_reranker`; by default the index of the searcher.
    depth : int
        The number of candidates that each first stage is asked for.
    level : int
        The lowest grade of a relevant document.
    positives : int, optional
        The most relevant documents of a query; those of the highest grades are taken. All by default.
    negatives : int
        The most candidates of a query that are not relevant. They are drawn by chance from `ranks`.
    ranks : pair of int, optional
        The first and the last rank of a negative, from 1; by default all that were found. A document that nobody
        judged counts as a negative: at the first ranks it may be relevant.
    random_negatives : int
        How many candidates of other queries are added to each query.
    teacher : optional
        A reranker whose scores are learned: anything that `pyserini_rerank.load` takes.
    margin : float, optional
        Take only negatives whose teacher's score is at least so far below that of the best relevant document. This
        leaves out most documents that are relevant and were not judged.
    windows : pair of int, optional
        The size and the stride, in tokens, of the windows in which long documents are read, as for
        `pyserini_rerank.Windows`. A document is trained on with the window that the teacher scores highest.
    validation, test : float or collection of qids
        The share of the queries, or the queries, that are kept for early stopping and for the last evaluation. All
        their candidates are kept. Queries with the same words or a relevant document in common stay together, unless
        the queries are named: then a document that is relevant to one of these is no positive of another query.
    seed : int
        It decides what is left to chance.
    cache : path, optional
        A folder of the teacher's scores, which several calls may share.
    ray : bool
        Let the teacher score on all machines of a Ray cluster.
    **options
        For the teacher: `backend`, `device`, `dtype` and the others of `pyserini_rerank.load`.

    Returns
    -------
    TrainingData

    Raises
    ------
    FileExistsError
        The folder exists already.
    ValueError
        No topic has a relevant document with a text; none would be left to train on; an argument is out of range; or
        the folder was begun with other arguments, or other settings of a searcher.
    ImportError
        The extra `train` is not installed.
    OSError, LookupError
        An input does not exist, or a file cannot be written.
    """
    check_installed()
    from ..scoring.device import dtype_name

    teacher = None if teacher is None else settled(teacher)
    if "dtype" in options:
        options["dtype"] = dtype_name(options["dtype"])
    if teacher is None:
        if margin is not None or windows is not None:
            raise ValueError("margin= and windows= compare a teacher's scores: name a reranker by teacher=.")
        if given := [*options, *["cache"] * (cache is not None), *["ray"] * ray]:
            raise TypeError(f"{', '.join(given)}: these are for a teacher: name a reranker by teacher=.")
    elif ray and (loaded := list(given_rerankers(teacher))):
        raise TypeError(f"ray=True loads the teacher on each machine, and {loaded[0].name} is loaded here: name it.")
    depth = whole(depth, "depth", least=1)
    selection = Selection(positives, negatives, ranks, random_negatives, margin, level, seed)
    windows = None if windows is None else _windows(windows)
    held_out: dict[str, Any] = {"validation": _share(validation, "validation"), "test": _share(test, "test")}
    check_shares(held_out)
    judged, judgements = _judged(load_topics(topics), load_qrels(qrels), selection.level)
    if isinstance(held_out["test"], list):
        split_as_named(judged, held_out)  # raises where a qid is wrong
    given_stages = [
        HitsStage(stage).hits if hasattr(stage, "items") and not hasattr(stage, "search") else stage
        for stage in (first_stage if isinstance(first_stage, list | tuple) else [first_stage])
    ]
    settings = {
        "first_stage": ["hits" if isinstance(stage, Mapping) else description(stage) for stage in given_stages],
        "texts": None if texts is None else description(texts),
        "topics": of_value(judged),
        "qrels": of_value(judgements),
        "depth": depth,
        **asdict(selection),
        **held_out,
        "windows": windows and list(windows),
        "teacher": None if teacher is None else {"model": spec(teacher), "state": of_model(teacher), **options},
    }
    states = {"first_stage": [of_first_stage(stage) for stage in given_stages], "texts": of_source(texts)}
    target = followed(output)
    _check_cache(cache, target)
    with growing_folder(target, partial(check_is_new_folder, target), FILES) as folder, ExitStack() as stack:
        if (folder / CANDIDATES).exists():
            begin(folder, settings | states)
            stages, _ = open_stages(given_stages, texts, judged, stack)
            check_finds_the_same(stages, judged, depth, folder)
        else:
            with _abandoning(folder, Exception):
                (folder / STATE).unlink(missing_ok=True)  # a search that was interrupted has left nothing to go on with
                if teacher is not None and not ray:
                    check(teacher, windows, cache, options)
                stages, by_docid = open_stages(given_stages, texts, judged, stack)
                begin(folder, settings | states)
                relevant_docids = {qid: relevant(judgements, qid, selection.level) for qid in judged}
                collect(stages, by_docid, judged, relevant_docids, depth, folder)
        with _abandoning(folder, ValueError):
            collected = Collected(folder, judged, judgements, selection, held_out)
        scored, cut = None, None
        if teacher is not None:
            with _abandoning(folder, NothingToTrainOn, NotAllScored):
                scored = score(collected, teacher, windows, cache, ray, options)
        if windows is not None:
            cut = stack.enter_context(cutting(teacher, *windows, cache or folder / SCORES, options))
        data = folder / DATA
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        counts = {split: write_split(data, split, collected.queries(split, scored, cut)) for split in SPLITS}
        with _abandoning(folder, NothingToTrainOn):
            if not counts["train"]["queries"]:
                raise NothingToTrainOn
        without_text = len(collected.without_text)
        made = {"counts": counts, "without_text": without_text, "pyserini-rerank": __version__}
        write_settings(data, settings | made, ((qid, judgements[qid]) for qid in collected.splits))
        os.replace(data, target)
        shutil.rmtree(folder)
    if without_text:
        warn(f"{without_text:,} documents have no text, and are left out.", SkippedDocumentWarning)
    return TrainingData(target)


@contextmanager
def _abandoning(folder: Path, *errors: type[Exception]) -> Iterator[None]:
    """Delete the folder in which the data grows after an error that the same call would end in again."""
    try:
        yield
    except errors:
        shutil.rmtree(folder)
        raise


def _check_cache(cache: str | os.PathLike[str] | None, target: Path) -> None:
    """Check that the cache is not within the output, which has to be new."""
    if cache is not None and target.resolve() in (folder := Path(cache).expanduser().resolve(), *folder.parents):
        raise ValueError(f"cache={os.fspath(cache)!r} is within the output {target}: name a folder elsewhere.")


def _judged(topics: Mapping[str, str], qrels: Qrels, level: int) -> tuple[dict[str, str], Qrels]:
    """Give the topics that have a relevant document, and their judgements."""
    judged = {qid: query for qid, query in topics.items() if qid in qrels and query.strip()}
    if not judged:
        raise ValueError("none of the topics is judged: name the qrels of these topics.")
    judged = {qid: query for qid, query in judged.items() if relevant(qrels, qid, level)}
    if not judged:
        raise ValueError(
            f"no topic has a relevant document (of grade {level} or more): name the qrels of these topics, or another "
            "level=."
        )
    for qid in judged:
        check_name(qid, "the qid", "rename the topic")
        for docid in qrels[qid]:
            check_name(docid, f"the qrels of query {qid:.50}: the docid", "rename the document")
    return judged, {qid: qrels[qid] for qid in judged}


def _share(given: Any, name: str) -> float | list[str]:
    """Read a share of the queries, or qids."""
    if isinstance(given, Real) and not isinstance(given, bool):
        if not 0 <= float(given) < 1:
            raise ValueError(f"{name}={given}: give a share of the queries from 0 to 1, or the qids.")
        return float(given)
    if isinstance(given, Set):
        return sorted(map(str, given))
    return [str(qid) for qid in listed(given, name)]


def _windows(given: Any) -> tuple[int, int]:
    """Read the size and the stride of windows."""
    numbers = [whole(number, "windows", least=1) for number in listed(given, "windows")]
    if len(numbers) != 2 or numbers[0] < numbers[1]:
        raise ValueError(
            f"windows={', '.join(map(str, numbers))}: give the size, and then a stride from 1 to the size."
        )
    return numbers[0], numbers[1]
