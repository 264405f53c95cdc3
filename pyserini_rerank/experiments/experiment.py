"""Experiments over systems: the same topics through each, and one table of quality, significance and cost."""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import batched
from time import perf_counter
from typing import Any

from ir_measures import Measure

from ..arguments import mapped, whole
from ..counts import Counts
from ..passages import Passages
from ..progress import queries_bar
from ..reranker import SHARD
from ..retrieval.candidates import Candidates, as_found
from ..retrieval.hits import Hits
from ..retrieval.queries import machine_format, text_or_blank
from ..runs.evaluation import Values, per_query
from ..runs.measures import parse_measures
from ..runs.run_file import check_name
from ..runs.significance import CORRECTIONS, TESTS
from ..runs.topics import Qrels, load_qrels, load_topics
from ..texts.source import Source, passages
from .first_stages import FirstStage
from .result import Cost, ExperimentResult
from .run_files import RunFiles
from .settings import settings_of
from .shared_scores import SharedScores, SharingReranker
from .systems import System, SystemReader, default_depth, first_stages_of, lacking_first_stages


def experiment(
    systems: Mapping[str, Any],
    topics: Any,
    qrels: Any,
    *,
    measures: Iterable[Any] | None = None,
    level: int = 1,
    depth: int | None = None,
    texts: Any = None,
    missing: str = "error",
    baseline: str | None = None,
    test: str = "t-test",
    correction: str = "holm",
    output: str | os.PathLike[str] | None = None,
    **options: Any,
) -> ExperimentResult:
    """Compare systems on judged topics: quality, significance and cost in one table.

    First stages that several systems have in common are searched once, texts are read once, and a checkpoint scores
    each pair of a query and a text once, whichever systems and cascades need it. Memory is bounded: topics go through
    all systems in shards of about 20,000 candidates.

    Parameters
    ----------
    systems : mapping
        A name -> a Pyserini searcher, with or without a reranker; a run file; hits in hand (qid -> a list of hits, or
        docid -> score); or one of these with a reranker, ``(searcher, "bundled")``, and with how many candidates that
        reranks, ``(searcher, "bundled", 50)``. The reranker is anything that `pyserini_rerank.load` takes.
    topics : str, path or mapping
        A file, a name of Pyserini's or of ir_datasets', or qid -> query.
    qrels : str, path or mapping
        A file, a name, or qid -> docid -> grade. Topics that nobody judged are left out.
    measures : iterable of str or ir_measures.Measure, optional
        ``["nDCG@10", "RR(rel=2)@10"]`` and the like; see `pyserini_rerank.runs.measures.parse_measures`.
    level : int
        The grade from which on a document counts as relevant, for measures that do not say so themselves.
    depth : int, optional
        How many hits each first stage is asked for; they are reranked, and evaluated. By default 100, or as
        many as the deepest cascade or system takes.
    texts : optional
        Where the documents' texts are, as for `set_reranker`, where the searchers do not store them.
    missing : str
        As for `set_reranker`: ``"skip"`` leaves documents without text below those that are reranked.
    baseline : str, optional
        The system that the others are tested against.
    test : str
        ``"t-test"``, paired and two-sided, or ``"randomisation"`` (Fisher's).
    correction : str
        Of a measure's p, over the systems that are compared with the baseline: ``"holm"``, ``"bonferroni"`` or
        ``"none"``.
    output : path, optional
        A folder for the runs, the scores and ``experiment.json``. A call that was interrupted goes on there with the
        scores that are known.
    **options
        For the checkpoints that are loaded here: `device`, `dtype`, `max_length` and the others of `load`.

    Returns
    -------
    ExperimentResult
        Means are over all judged topics; a topic for which a system has no hit counts as an empty list.

    Raises
    ------
    ValueError, TypeError, OSError, LookupError
        A system is none; no topic is judged; a measure, a test, a correction or a baseline that there is not; a
        document without text; the output folder holds another experiment.
    """
    wanted = parse_measures(measures, whole(level, "level", least=1))
    systems = mapped(systems, "systems")
    _check_choices(systems, baseline, test, correction)
    queries, judged = _judged(load_topics(topics), load_qrels(qrels))
    with ExitStack() as stack:
        compared = SystemReader(queries, (texts, missing), options, stack).read(systems)
        depth = default_depth(compared) if depth is None else whole(depth, "depth", least=1)
        every = [*compared, *lacking_first_stages(compared)]
        runs = stack.enter_context(RunFiles(output, [system.name for system in every]))
        settings = settings_of(compared, queries, judged, depth)
        runs.check(settings)
        shared = SharedScores(runs.scores)
        entrants = [Entrant(system, shared, stack) for system in every]
        reach, done = stack.enter_context(queries_bar(len(queries) * len(every), "experiment")), 0
        for topics_of_shard in map(dict, batched(queries.items(), max(1, SHARD // depth))):
            shard = Shard(topics_of_shard, every, depth)
            for entrant in entrants:
                hits = dict(zip(shard.topics, entrant.rank(shard), strict=True))
                runs.write(entrant.system.name, hits)
                entrant.evaluate(hits, judged, wanted)
                reach(done := done + len(hits))
            shared.save()
        runs.finish()
        result = ExperimentResult(
            {entrant.system.name: entrant.values for entrant in entrants[: len(compared)]},
            {entrant.system.name: entrant.cost() for entrant in entrants[: len(compared)]},
            runs, settings, judged, first_stages_of(every), baseline=baseline, test=test, correction=correction,
        )  # fmt: skip
        result.write()
    return result


class Shard:
    """Some topics on their way through all systems: each first stage finds their candidates once, each text is read
    once."""

    def __init__(self, topics: Mapping[str, str], systems: Iterable[System], depth: int) -> None:
        self.topics, self.depth = topics, depth
        self._needs_documents = {
            id(system.stage) for system in systems if system.source and system.source.reads_documents
        }
        self._found: dict[int, tuple[list[Candidates], float]] = {}
        self._read: dict[tuple[int, int], tuple[list[Passages], float]] = {}

    def candidates(self, stage: FirstStage) -> tuple[list[Candidates], float]:
        """Give each topic's candidates, and the seconds that finding them took."""
        if id(stage) not in self._found:
            start = perf_counter()
            found = stage.find(self.topics, self.depth, documents=id(stage) in self._needs_documents)
            self._found[id(stage)] = found, perf_counter() - start
        return self._found[id(stage)]

    def passages(self, stage: FirstStage, source: Source) -> tuple[list[Passages], float]:
        """Give the passages of each topic's candidates, and the seconds that reading them took."""
        key = id(stage), id(source)
        if key not in self._read:
            candidates, _ = self.candidates(stage)
            start = perf_counter()
            self._read[key] = passages(candidates, source), perf_counter() - start
        return self._read[key]


class Entrant:
    """A system on its way through the topics, with its values and its cost so far."""

    def __init__(self, system: System, shared: SharedScores, stack: ExitStack) -> None:
        self.system = system
        self.sharing: SharingReranker | None = None
        if system.reranker:
            self.sharing = shared.share(system.reranker)
            stack.callback(self.sharing.close)
        self.values: Values = {}
        self.counts = Counts()
        self.seconds = 0.0
        """For searching, and reading texts."""
        self.reranking = 0.0
        """Seconds, less what others have scored before."""

    def rank(self, shard: Shard) -> list[Hits]:
        """Give the system's hits of a shard's topics."""
        stage, source = self.system.stage, self.system.source
        if self.sharing:
            _check_are_texts(shard.topics, stage)
        candidates, seconds = shard.candidates(stage)
        self.seconds += seconds * stage.searches
        if self.sharing is None or source is None:
            return [as_found(of_topic, shard.depth) for of_topic in candidates]
        texts, seconds = shard.passages(stage, source)
        self.seconds += seconds
        depth = self.system.depth
        if depth is not None:
            texts = [of_topic.at(range(min(depth, len(of_topic.texts)))) for of_topic in texts]
        queries = [text_or_blank(query) for query in shard.topics.values()]
        start = perf_counter()
        with self.sharing.reranker.counting() as counts:
            hits = self.sharing.reranker.rerank_passages(queries, candidates, texts, shard.depth, counts)
        self.reranking += perf_counter() - start
        self.counts.add(counts)
        return hits

    def evaluate(self, hits: Mapping[str, Hits], qrels: Qrels, measures: list[Measure]) -> None:
        """Evaluate hits by qid, in the order in which they were returned, whatever their scores."""
        ranked = ((qid, places(of_topic)) for qid, of_topic in hits.items())
        for measure, values in per_query(ranked, {qid: qrels[qid] for qid in hits}, measures).items():
            self.values.setdefault(measure, {}).update(values)

    def cost(self) -> Cost:
        if self.sharing is None:
            return Cost(seconds=self.seconds if self.system.stage.searches else None)
        counts = self.counts
        scoring = self.sharing.seconds() if self.sharing.models else self.reranking
        seconds = None if scoring is None else self.seconds + scoring
        rate = counts.scored / scoring if scoring else None
        return Cost(counts.pairs, counts.scored, counts.cut_passages, counts.empty, seconds, rate)


def places(hits: Iterable[Any]) -> dict[str, float]:
    """Give hits as ir-measures takes them, with scores that stand for their order."""
    return {docid: -float(place) for place, docid in enumerate(dict.fromkeys(hit.docid for hit in hits))}


def _judged(topics: Mapping[str, str], qrels: Qrels) -> tuple[dict[str, str], Qrels]:
    """Give the topics that are judged, and their judgements."""
    judged = {qid: query for qid, query in topics.items() if qid in qrels}
    for qid in judged:
        check_name(qid, "the qid", "rename the topic")
    if not judged:
        raise ValueError("none of the topics is judged: name the qrels of these topics.")
    return judged, {qid: qrels[qid] for qid in judged}


def _check_are_texts(topics: Mapping[str, str], stage: FirstStage) -> None:
    for qid, query in topics.items():
        if kind := machine_format(query, stage.searcher):
            raise ValueError(
                f"topic {qid:.50} is {kind}, not text: search with it first, and give the hits, with topics in text."
            )


def _check_choices(systems: Mapping[str, Any], baseline: str | None, test: str, correction: str) -> None:
    for name, chosen, there in (("test", test, TESTS), ("correction", correction, CORRECTIONS)):
        if chosen not in there:
            raise ValueError(f"{name}={chosen!r}: there are {', '.join(there)}.")
    if baseline is not None and baseline not in systems:
        raise ValueError(f"baseline={baseline!r} is no system: there are {', '.join(map(str, systems))}.")
