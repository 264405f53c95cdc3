"""Reranking a run on many machines: readers and scorers as the actors of a Ray cluster.

A shard is read and scored by whoever is free, and once more where that one dies. Since what it becomes is a
function of the shard alone (see `rescoring`), and the results are taken in order, no byte depends on who it was.
"""

import faulthandler
import logging
import os
import platform
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Any

from ..caller import warn
from ..reranker import Reranker
from ..texts.token_index import TokenIndex
from .bm25_run import BM25, Topics, TopicSearcher
from .provenance import provenance
from .rescoring import Reader, RerankSettings, Rescored, Scorer, Shard, ShardTexts

log = logging.getLogger(__name__)

#: Shards that a scorer has at a time: one is scored while the next one's texts are read.
AHEAD = 2
#: Shards a scorer that are held in memory until an earlier one is done.
HELD = 4
#: How often a shard is scored again because its scorer has died. One that kills every scorer has to end somewhere.
RETRIES = 3
#: How often Ray reads or searches a shard again, after 0.1 s and then each time after twice as long. It takes Ray 15 s
#: to notice that a machine is lost, and to start what was there elsewhere; till then, to begin again is in vain.
RAY_RETRIES = 10


class RemoteScorer:
    """A scorer, as an actor.

    It loads the reranker when it is first asked for something, and not when it is made: what is wrong with
    the checkpoint is then an error of that call, which Ray passes on.

    Parameters
    ----------
    settings : RerankSettings
    load : callable
        ``load(cache=)`` gives the reranker.
    cache : path
        A folder of scores. This host opens it; any other one, which may see the same folder over a network,
        where SQLite cannot share it, opens one of its own beside it.
    tokens : path, optional
        The token index that the passages come from.
    host : str
        The driver's.
    folder : path
        The driver's working directory, which relative paths start from.
    threads : int
        Threads of torch's; a score's last bit may depend on them.
    """

    def __init__(
        self,
        settings: RerankSettings,
        load: Callable[..., Reranker],
        cache: Path,
        tokens: Path | None,
        host: str,
        folder: Path,
        threads: int,
    ) -> None:
        self.settings, self.load, self.tokens = settings, load, tokens
        self.cache = cache if platform.node() == host else cache.with_name(f"{cache.name}.{platform.node()}")
        self.folder, self.threads = folder, threads

    @cached_property
    def scorer(self) -> Scorer:
        import torch

        os.chdir(self.folder)
        torch.set_num_threads(self.threads)
        reranker = self.load(cache=self.cache)
        if self.tokens:
            TokenIndex(self.tokens).check(reranker)
        return Scorer(self.settings, reranker)

    def facts(self) -> dict[str, Any]:
        return provenance(self.scorer.reranker)

    def score(self, texts: ShardTexts) -> tuple[Rescored, list[Warning]]:
        """Score a shard; what it warned of is for the driver to say."""
        with warnings.catch_warnings(record=True) as said:
            rescored = self.scorer.score(texts)
        return rescored, [warning.message for warning in said if isinstance(warning.message, Warning)]


@dataclass
class _Job:
    """A shard on its way."""

    texts: Any
    """A reference to its `ShardTexts`."""
    result: Any = None
    """A reference to what became of it, once that is there."""
    deaths: int = 0


class Cluster:
    """The cluster that `ray.init` finds (RAY_ADDRESS, one of this machine), else one of this machine alone.

    There is a scorer for each GPU; where there is none, or the device is the CPU, one for as many cores of a machine
    as torch has threads here. One that dies is replaced, wherever there is room, and its shards go to whoever is free.
    There is a reader for each machine, which Ray itself starts again. All of it ends with the context.

    Parameters
    ----------
    reader : Reader
        One that has opened nothing yet: each machine opens the texts for itself.
    load, cache, tokens
        See `RemoteScorer`. All of it has to be picklable, and the paths have to be there on each machine.
    device : str, optional
        See `pyserini_rerank.load`.

    Attributes
    ----------
    facts : dict
        The `provenance` of the scores; ``device`` says how many of which.
    location : str, optional
        Where the texts are.

    Raises
    ------
    ImportError
        Ray is not installed.
    ConnectionError
        The cluster cannot be reached.
    ValueError
        No machine has enough cores; the machines have different checkpoints or versions.
    """

    def __init__(
        self,
        reader: Reader,
        load: Callable[..., Reranker],
        cache: Path,
        tokens: Path | None = None,
        device: str | None = None,
    ) -> None:
        import torch

        self.ray = _connect()
        try:
            machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
            threads = torch.get_num_threads()
            gpus = 0 if device == "cpu" else int(sum(machine.get("GPU", 0) for machine in machines))
            scorers = gpus or sum(int(machine.get("CPU", 0)) // threads for machine in machines)
            if not scorers:
                raise ValueError(f"no machine of the cluster has {threads} cores: set OMP_NUM_THREADS to fewer.")
            needs = {"num_gpus": 1} if gpus else {"num_cpus": threads}
            here = {"host": platform.node(), "folder": Path.cwd(), "threads": threads}
            scorer = self.ray.remote(RemoteScorer).options(**needs)
            self._hire = partial(scorer.remote, reader.settings, load, cache.absolute(), tokens, **here)
            self.scorers = [self._hire() for _ in range(scorers)]
            self.machines = len(machines)
            log.info("loading the model in %d processes on %d machines ...", scorers, self.machines)
            self.readers = self._on_each_machine(Reader, reader.settings, reader.open_source)
            facts = [scorer.facts.remote() for scorer in self.scorers]
            self.facts = _together([self._get(waited) for waited in facts])
            self.location: str | None = self._get(self.readers[0].location.remote())
        except BaseException:
            self.ray.shutdown()
            raise

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ray.shutdown()

    def _on_each_machine(self, kind: type, settings: Any, opening: Callable[[], Any]) -> list[Any]:
        """Start an actor a machine, which opens what it needs when it is first asked for something.

        Reading takes a small part of the time that scoring does, so that no core is set aside for it.
        """
        again = {"max_restarts": -1, "max_task_retries": RAY_RETRIES}
        actor = self.ray.remote(kind).options(num_cpus=0, scheduling_strategy="SPREAD", **again)
        return [actor.remote(settings, partial(_within, Path.cwd(), opening)) for _ in range(self.machines)]

    def search(self, bm25: BM25, shards: Iterator[Topics]) -> Iterator[str]:
        """Search shards of topics on all machines; the results come in the order of the shards.

        A searcher that dies is started again by Ray, which has it do its shards again.

        Raises
        ------
        RuntimeError
            A shard's searchers died, one after the other.
        As `TopicSearcher.search`.
        """
        searchers = self._on_each_machine(TopicSearcher, bm25.depth, bm25.open)
        results: deque[Any] = deque()
        for shard, searcher in zip(shards, cycle(searchers), strict=False):
            results.append(searcher.search.remote(shard))
            if len(results) == AHEAD * len(searchers):
                yield self._get(results.popleft())
        yield from map(self._get, results)

    def rescore(self, shards: Iterator[Shard]) -> Iterator[Rescored]:
        """Rescore shards wherever somebody is free; the results come in the order of the shards.

        Raises
        ------
        RuntimeError
            A shard's actors died, one after the other.
        As `Reader.read` and `Scorer.score`.
        """
        free = deque(self.scorers * AHEAD)
        readers = cycle(self.readers)
        jobs: deque[_Job] = deque()  # in the order of the shards
        again: deque[_Job] = deque()
        running: dict[Any, tuple[Any, _Job | None]] = {}
        warned: set[type[Warning]] = set()
        while True:
            while free and (again or len(jobs) < HELD * len(self.scorers)):
                if again:
                    job = again.popleft()
                elif (shard := next(shards, None)) is not None:
                    job = _Job(next(readers).read.remote(shard))
                    jobs.append(job)
                else:
                    break
                scorer = free.popleft()
                running[scorer.score.remote(job.texts)] = scorer, job
            if not jobs:
                return
            [done], _ = self.ray.wait([*running], num_returns=1)
            scorer, finished = running.pop(done)
            if finished is None:  # a new scorer is ready
                _together([self.facts, self._get(done)])
                free.extend([scorer] * AHEAD)
            elif not self._has_died(done):
                finished.result = done
                free.append(scorer)
            else:
                finished.deaths += 1
                if finished.deaths > RETRIES:
                    raise RuntimeError(f"{finished.deaths} processes have died scoring the same shard: see Ray's logs.")
                again.append(finished)
                if scorer in self.scorers:  # and not replaced for its other shard
                    self.scorers.remove(scorer)
                    free = deque(one for one in free if one != scorer)
                    hired = self._hire()
                    self.scorers.append(hired)
                    running[hired.facts.remote()] = hired, None
            while jobs and jobs[0].result is not None:
                rescored, said = self._get(jobs.popleft().result)
                for warning in said:
                    if type(warning) not in warned:  # every scorer says it
                        warn(warning)
                    warned.add(type(warning))
                yield rescored

    def _has_died(self, result: Any) -> bool:
        """Did the scorer die that was to give this? Any other error is left for its turn."""
        errors = self.ray.exceptions
        try:
            self.ray.get(result)
        except errors.RayError as error:
            # Of a reader's death the scorer tells, and that is an error of its task.
            return isinstance(error, errors.RayActorError) and not isinstance(error, errors.RayTaskError)
        return False

    def _get(self, result: Any) -> Any:
        """Wait for a result; an error of ours is raised as it would be in this process."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(result)
        except errors.RayError as error:
            cause = error.cause if isinstance(error, errors.RayTaskError) else error
            if isinstance(cause, errors.RayError):  # Ray's own, be it about what the call was given
                cause = RuntimeError(f"a process of the cluster failed: {' '.join(str(cause).split())}")
            raise cause from None


def _connect() -> Any:
    """Import Ray and connect, without taking SIGSEGV from Java, which uses it itself and would not survive that."""
    # And nothing is reported to Ray's makers.
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1"}.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise ImportError("ray=True needs Ray: pip install 'pyserini-rerank[ray]'.") from None
    enabled = faulthandler.is_enabled()
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    if not enabled:
        faulthandler.disable()  # which Ray has enabled
    return ray


def _within(folder: Path, call: Callable[[], Any]) -> Any:
    os.chdir(folder)
    return call()


def _together(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Make one provenance of the scorers'."""
    for name in ("fingerprint", "versions"):
        if any(of_scorer[name] != facts[0][name] for of_scorer in facts):
            raise ValueError(
                f"the machines of the cluster differ in the {name} of {facts[0]['model']}: make them equal."
            )
    devices = Counter(of_scorer.get("device", "unknown") for of_scorer in facts)
    return {**facts[0], "device": ", ".join(f"{count} x {device}" for device, count in devices.items())}
