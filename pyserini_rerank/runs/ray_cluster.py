"""Reranking a run on many machines: readers and scorers are the actors of a Ray cluster.

Any free actor reads or scores a shard, and another one does so again if that actor dies. The result of a shard depends
on the shard alone (see `rescoring`), and results are taken in order, so that no byte depends on the actor.
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
from .bm25_run import BM25, Topics, TopicSearcher
from .provenance import provenance
from .rescoring import Reader, RerankSettings, Rescored, Scorer, Shard, ShardTexts

log = logging.getLogger(__name__)

#: Shards that a scorer has at a time: one is scored while the next one's texts are read.
SHARDS_PER_SCORER = 2
#: Shards per scorer that are held in memory until an earlier shard is done.
HELD_PER_SCORER = 4
#: How often a shard is scored again because its scorer has died. A shard that kills every scorer must fail in the end.
RETRIES = 3
#: How often Ray reads or searches a shard again, after 0.1 s and then each time after twice as long. Ray takes 15 s to
#: notice that a machine is lost and to start its actors elsewhere; until then, a retry fails.
RAY_RETRIES = 10


class RemoteScorer:
    """A scorer that is an actor of Ray.

    It loads the reranker in its first call and not in its constructor, since Ray passes on errors of a call.

    Parameters
    ----------
    settings : RerankSettings
    load : callable
        ``load(cache=)`` gives the reranker.
    cache : path
        A folder of scores, which the driver's host opens. Every other host opens a folder of its own beside it: it may
        see the same folder over a network, where SQLite cannot share it.
    host : str
        The driver's host.
    folder : path
        The driver's working directory, from which relative paths start.
    threads : int
        The number of torch's threads, on which the last bit of a score may depend.
    """

    def __init__(
        self,
        settings: RerankSettings,
        load: Callable[..., Reranker],
        cache: Path,
        host: str,
        folder: Path,
        threads: int,
    ) -> None:
        self.settings, self.load = settings, load
        self.cache = cache if platform.node() == host else cache.with_name(f"{cache.name}.{platform.node()}")
        self.folder, self.threads = folder, threads

    @cached_property
    def scorer(self) -> Scorer:
        import torch

        os.chdir(self.folder)
        torch.set_num_threads(self.threads)
        return Scorer(self.settings, self.load(cache=self.cache))

    def facts(self) -> dict[str, Any]:
        return provenance(self.scorer.reranker)

    def score(self, texts: ShardTexts) -> tuple[Rescored, list[Warning]]:
        """Score a shard, and give its warnings for the driver to show."""
        with warnings.catch_warnings(record=True) as caught:
            rescored = self.scorer.score(texts)
        return rescored, [warning.message for warning in caught if isinstance(warning.message, Warning)]


@dataclass
class _Job:
    """A shard that is being read or scored, or that waits for an earlier one."""

    texts: Any
    """Ray's reference to the `ShardTexts`."""
    result: Any = None
    """Ray's reference to the result of `RemoteScorer.score`; None until it is computed."""
    deaths: int = 0


class Cluster:
    """The cluster that `ray.init` finds (by RAY_ADDRESS, or on this machine), else a new cluster of this machine alone.

    Each GPU has a scorer. Without GPUs, or if the device is the CPU, a scorer has as many cores of a machine as torch
    has threads here. A scorer that dies is replaced wherever there is room, and its shards go to any free scorer. Each
    machine has a reader, which Ray itself starts again. The cluster is left at the end of the context.

    Parameters
    ----------
    reader : Reader
        A reader that has not opened its texts yet: each machine opens them for itself.
    load, cache
        See `RemoteScorer`. They have to be picklable, and the paths have to exist on each machine.
    device : str, optional
        See `pyserini_rerank.load`.

    Attributes
    ----------
    facts : dict
        The `provenance` of the scores. Its ``device`` counts the devices of each kind.
    location : str, optional
        The file, index or folder that holds the texts.

    Raises
    ------
    ImportError
        Ray is not installed.
    ConnectionError
        The cluster cannot be reached.
    ValueError
        No machine has enough cores, or the machines have different checkpoints or versions.
    """

    def __init__(
        self,
        reader: Reader,
        load: Callable[..., Reranker],
        cache: Path,
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
            self._start_scorer = partial(scorer.remote, reader.settings, load, cache.absolute(), **here)
            self.scorers = [self._start_scorer() for _ in range(scorers)]
            self.machines = len(machines)
            log.info("loading the model in %d processes on %d machines ...", scorers, self.machines)
            self.readers = self._on_each_machine(Reader, reader.settings, reader.open_source)
            facts_of_scorers = [scorer.facts.remote() for scorer in self.scorers]
            self.facts = _merged([self._get(facts) for facts in facts_of_scorers])
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
        """Start one actor on each machine, which opens its texts or its index in its first call.

        Reading takes a small part of the time of scoring, so that no core is reserved for it.
        """
        restarts = {"max_restarts": -1, "max_task_retries": RAY_RETRIES}
        actor = self.ray.remote(kind).options(num_cpus=0, scheduling_strategy="SPREAD", **restarts)
        return [actor.remote(settings, partial(_within, Path.cwd(), opening)) for _ in range(self.machines)]

    def search(self, bm25: BM25, shards: Iterator[Topics]) -> Iterator[str]:
        """Search shards of topics on all machines, and give the results in the order of the shards.

        Ray restarts a searcher that dies, and lets it search its shards again.

        Raises
        ------
        RuntimeError
            The searcher of a shard has died too often.
        As `TopicSearcher.search`.
        """
        searchers = self._on_each_machine(TopicSearcher, bm25.depth, bm25.open)
        results: deque[Any] = deque()
        for shard, searcher in zip(shards, cycle(searchers), strict=False):
            results.append(searcher.search.remote(shard))
            if len(results) == SHARDS_PER_SCORER * len(searchers):
                yield self._get(results.popleft())
        yield from map(self._get, results)

    def rescore(self, shards: Iterator[Shard]) -> Iterator[Rescored]:
        """Rescore shards on any free scorer, and give the results in the order of the shards.

        Raises
        ------
        RuntimeError
            The scorers or the reader of a shard have died too often.
        As `Reader.read` and `Scorer.score`.
        """
        free = deque(self.scorers * SHARDS_PER_SCORER)
        readers = cycle(self.readers)
        jobs: deque[_Job] = deque()  # in the order of the shards
        retried: deque[_Job] = deque()
        running: dict[Any, tuple[Any, _Job | None]] = {}
        warned: set[type[Warning]] = set()
        while True:
            while free and (retried or len(jobs) < HELD_PER_SCORER * len(self.scorers)):
                if retried:
                    job = retried.popleft()
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
                _merged([self.facts, self._get(done)])
                free.extend([scorer] * SHARDS_PER_SCORER)
            elif not self._has_died(done):
                finished.result = done
                free.append(scorer)
            else:
                finished.deaths += 1
                if finished.deaths > RETRIES:
                    raise RuntimeError(f"{finished.deaths} processes have died scoring the same shard: see Ray's logs.")
                retried.append(finished)
                if scorer in self.scorers:  # its other shard may have had it replaced already
                    self.scorers.remove(scorer)
                    free = deque(living for living in free if living != scorer)
                    replacement = self._start_scorer()
                    self.scorers.append(replacement)
                    running[replacement.facts.remote()] = replacement, None
            while jobs and jobs[0].result is not None:
                rescored, shard_warnings = self._get(jobs.popleft().result)
                for warning in shard_warnings:
                    if type(warning) not in warned:  # every scorer gives it
                        warn(warning)
                    warned.add(type(warning))
                yield rescored

    def _has_died(self, result: Any) -> bool:
        """Tell whether a result's scorer died. Any other error is raised when the result is taken."""
        errors = self.ray.exceptions
        try:
            self.ray.get(result)
        except errors.RayError as error:
            # A reader's death is an error of the scorer's task, and not of the scorer as an actor.
            return isinstance(error, errors.RayActorError) and not isinstance(error, errors.RayTaskError)
        return False

    def _get(self, result: Any) -> Any:
        """Wait for a result. An error of this package is raised as it would be in this process."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(result)
        except errors.RayError as error:
            cause = error.cause if isinstance(error, errors.RayTaskError) else error
            if isinstance(cause, errors.RayError):  # Ray's own error, of the call or of its arguments
                cause = RuntimeError(f"a process of the cluster failed: {' '.join(str(cause).split())}")
            raise cause from None


def _connect() -> Any:
    """Import Ray and connect. Ray must not handle SIGSEGV, which Java uses itself: Java would crash."""
    # Ray also sends no usage statistics to its makers.
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
        faulthandler.disable()  # Ray has enabled it
    return ray


def _within(folder: Path, call: Callable[[], Any]) -> Any:
    os.chdir(folder)
    return call()


def _merged(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge the provenances of scorers into one; raises ValueError if they differ."""
    for name in ("fingerprint", "versions"):
        if any(of_scorer[name] != facts[0][name] for of_scorer in facts):
            raise ValueError(
                f"the machines of the cluster differ in the {name} of {facts[0]['model']}: make them equal."
            )
    devices = Counter(of_scorer.get("device", "unknown") for of_scorer in facts)
    return {**facts[0], "device": ", ".join(f"{count} x {device}" for device, count in devices.items())}
