"""How fast a checkpoint scores pairs on this machine, beside what the machine can do and beside a peer."""

import sys
import threading
import time
import warnings
from collections.abc import Sequence
from itertools import batched, chain
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..counts import CutWarning
from ..model import PLANNED_TOGETHER, ModelReranker
from ..reranker import Reranker
from ..runs.evaluation import ndcg
from ..runs.topics import Qrels
from ..scoring.architectures.classifier import Classifier
from ..scoring.architectures.late_interaction import LateInteractionEncoder
from ..scoring.backend import Backend, Batch, Pair, Plan, complete
from ..scoring.backends.devices_backend import DevicesBackend
from ..scoring.backends.graph_backend import GraphBackend
from ..scoring.backends.torch_backend import TorchBackend
from .arithmetic import operations, peak
from .fetched_run import FetchedRun
from .peer import Peer

Scores = NDArray[np.float32]


class Stage:
    """The seconds in which one thread was in it, or several at once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside, self._since = 0, 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._since = time.perf_counter()
            self._inside += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self.seconds += time.perf_counter() - self._since


class TimedBackend:
    """A backend whose stages are timed: has the interface of the one that it wraps.

    Attributes
    ----------
    planning, forward : Stage
        The calls of `plan`, and those of `run`. The two may overlap.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.max_length = backend.max_length
        self.scale = complete(backend).scale
        self.fingerprint = backend.fingerprint
        self.workers = complete(backend).workers
        self.planning, self.forward = Stage(), Stage()

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        with self.planning:
            return self.backend.plan(pairs)

    def run(self, batch: Batch) -> Scores:
        with self.forward:
            return self.backend.run(batch)

    def close(self) -> None:
        self.backend.close()


def timed(reranker: Reranker, pairs: Sequence[tuple[str, str]]) -> tuple[Scores, dict[str, float]]:
    """Score pairs once, and time it.

    Returns
    -------
    scores : float32 (n,)
        Those of the reranker, to the bit.
    seconds : dict
        All of it (``score``), and its stages ``tokenize`` and ``forward``.
    """
    backend = TimedBackend(backend_of(reranker))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CutWarning)  # the figures tell how many
        start = time.perf_counter()
        scores = ModelReranker(backend, reranker.name).predict(pairs)
        seconds = time.perf_counter() - start
    return scores, {"score": seconds, "tokenize": backend.planning.seconds, "forward": backend.forward.seconds}


def backend_of(reranker: Reranker) -> Backend:
    """Give a reranker's backend; raises ValueError for a combination, which has several."""
    if not isinstance(reranker, ModelReranker):
        raise ValueError(f"{reranker.name} combines rerankers, and bench times one: compare them by --sweep.")
    return reranker.backend


def measure(
    reranker: Reranker,
    pairs: Sequence[tuple[str, str]],
    rounds: int,
    *,
    peer: Peer | None = None,
    run: FetchedRun | None = None,
    qrels: Qrels | None = None,
) -> dict[str, Any]:
    """Time a reranker on pairs, and a peer in turn with it.

    Parameters
    ----------
    pairs : sequence of (query, passage), (n,)
        All different.
    rounds : int
        How often all pairs are scored, after a part of them that warms everything up. Figures are medians.
    peer : Peer, optional
        It has the same pairs.
    run : FetchedRun, optional
        Which the pairs are of: its hits are made as well.
    qrels : dict, optional
        The run's judgements.

    Returns
    -------
    dict
        Rates are pairs or tokens a second, those of a stage seconds, memory bytes. What is not known of a backend, or
        does not apply, is left out. The rounds' ``ratios`` are the peer's seconds by ours.
    """
    backend = backend_of(reranker)
    timed(reranker, pairs[: max(32, len(pairs) // 10)])
    every: list[dict[str, float]] = []
    theirs: list[float] = []
    for _ in range(rounds):
        scores, seconds = timed(reranker, pairs)
        if run:
            start = time.perf_counter()
            results = run.results(reranker, scores)
            seconds["results"] = time.perf_counter() - start
        every.append(seconds)
        if peer:
            others, spent = peer.score()
            theirs.append(spent)
    seconds = {stage: median(of_round[stage] for of_round in every) for stage in every[0]}
    memory = _memory(_device(backend))
    figures: dict[str, Any] = {
        "pairs": len(pairs),
        "pairs_per_second": len(pairs) / seconds["score"],
        **memory,
    }
    figures |= _work(backend, pairs, seconds)
    if run:
        figures |= {"seconds_first_stage": run.first_stage, "seconds_fetch": run.fetch}
    if not backend.max_length:  # a server tokenizes
        del seconds["tokenize"]
    figures |= {f"seconds_{stage}": spent for stage, spent in seconds.items()}
    if run and qrels:
        figures["ndcg"] = ndcg(results, qrels)
    if peer:
        ratios = [other / ours["score"] for ours, other in zip(every, theirs, strict=True)]
        figures |= {
            "ratios": ratios,
            "ratio": median(ratios),
            "largest_difference": float(np.abs(scores - others).max()),
            "top10_overlap": overlap([query for query, _ in pairs], scores, others),
            "peer": {**peer.facts, "pairs_per_second": len(pairs) / median(theirs)},
        }
        if run and qrels:
            figures["peer"]["ndcg"] = ndcg(run.results(reranker, others), qrels)
    return figures


def overlap(groups: Sequence[str], scores: Scores, others: Scores, k: int = 10) -> float:
    """Give the mean share of each query's k best passages that two scorings have in common."""
    shares = []
    names = np.array(groups)
    for name in dict.fromkeys(groups):
        rows = np.flatnonzero(names == name)
        best = [set(rows[np.argsort(-scoring[rows], kind="stable")[:k]].tolist()) for scoring in (scores, others)]
        shares.append(len(best[0] & best[1]) / len(best[0]))
    return sum(shares) / len(shares)


def _work(backend: Backend, pairs: Sequence[tuple[str, str]], seconds: dict[str, float]) -> dict[str, float]:
    """Give what is known of the tokens that a backend reads, and of the arithmetic that they need."""
    if not backend.max_length:  # it does not know what it cuts
        return {}
    plans = [backend.plan(piece) for piece in batched(pairs, PLANNED_TOGETHER)]
    figures = {"cut_share": sum(plan.cut_passages for plan in plans) / len(pairs)}
    # Of others it is not known how they are padded, and late interaction has no row of tokens for each pair.
    one = _first(backend)
    if not isinstance(one, TorchBackend | GraphBackend) or isinstance(one.encoder, LateInteractionEncoder):
        return figures
    batches = [[pair.length for pair in batch.inputs] for plan in plans for batch in plan.batches]
    lengths = list(chain(*batches))
    classifier = (
        backend.family if isinstance(backend, TorchBackend) and isinstance(backend.family, Classifier) else None
    )
    padded = sum(len(lengths_of_batch) * max(lengths_of_batch) for lengths_of_batch in batches)
    figures |= {
        "tokens_per_pair": sum(lengths) / len(pairs),
        "tokens_per_second": sum(lengths) / seconds["score"],
        "padding_share": 0.0 if classifier and classifier.packs else 1 - sum(lengths) / padded,
    }
    config: Any = classifier.body.config if classifier else getattr(one, "config", None)
    work = sum(operations(config, length) or 0 for length in lengths) if config else 0
    if not work or isinstance(backend, DevicesBackend):  # what several devices reach together is not known
        return figures
    figures |= {"gflop_per_pair": work / len(pairs) / 1e9, "gflops": work / seconds["forward"] / 1e9}
    if dtype := getattr(torch, one.description["dtype"], None):  # None of a graph with a precision of its own
        reached = peak(_device(backend), dtype)
        figures |= {"peak_gflops": reached / 1e9, "peak_share": work / seconds["forward"] / reached}
    return figures


def _first(backend: Backend) -> Backend | TorchBackend:
    """Give the backend of the first of several devices; it is this process's."""
    return backend.backend if isinstance(backend, DevicesBackend) else backend


def _device(backend: Backend) -> torch.device:
    """Give the device that a backend computes on; one that names none uses no other than the CPU here."""
    return getattr(_first(backend), "device", torch.device("cpu"))


def _memory(device: torch.device) -> dict[str, int]:
    """The ``peak_memory`` so far: of the CUDA device, else of the process; Windows does not tell."""
    if device.type == "cuda":
        return {"peak_memory": torch.cuda.max_memory_allocated(device)}
    try:
        import resource
    except ImportError:
        return {}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
