"""The throughput of a checkpoint on this machine, compared with the machine's peak and with a peer."""

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
    """A stage that adds up the seconds in which at least one thread was in it."""

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
    """A backend that times the stages of the backend that it wraps.

    Attributes
    ----------
    planning, forward : Stage
        The times of all calls of `plan` and of `run`. The two may overlap.
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
    """Score pairs once, and time the stages.

    Returns
    -------
    scores : float32 (n,)
        The same scores as the reranker's, to the bit.
    seconds : dict
        The whole time (``score``), and the times of the stages ``tokenize`` and ``forward``.
    """
    backend = TimedBackend(backend_of(reranker))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CutWarning)  # the figures count the cut passages
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
        Pairs that are all different.
    rounds : int
        How often all pairs are scored, after warming up on a part of them. Figures are medians.
    peer : Peer, optional
        A peer that has the same pairs.
    run : FetchedRun, optional
        The run with these pairs. Its hits are made as well.
    qrels : dict, optional
        The run's judgements.

    Returns
    -------
    dict
        Figures by name: rates in pairs or tokens a second, times of stages in seconds, memory in bytes. Figures that
        are not known of a backend, or do not apply, are left out. The ``ratios`` are the peer's seconds divided by the
        reranker's, one for each round.
    """
    backend = backend_of(reranker)
    timed(reranker, pairs[: max(32, len(pairs) // 10)])
    times: list[dict[str, float]] = []
    peer_times: list[float] = []
    for _ in range(rounds):
        scores, seconds = timed(reranker, pairs)
        if run:
            start = time.perf_counter()
            results = run.results(reranker, scores)
            seconds["results"] = time.perf_counter() - start
        times.append(seconds)
        if peer:
            peer_scores, peer_seconds = peer.score()
            peer_times.append(peer_seconds)
    seconds = {stage: median(round_times[stage] for round_times in times) for stage in times[0]}
    memory = _memory(_device(backend))
    figures: dict[str, Any] = {
        "pairs": len(pairs),
        "pairs_per_second": len(pairs) / seconds["score"],
        **memory,
    }
    figures |= _token_figures(backend, pairs, seconds)
    if run:
        figures |= {"seconds_first_stage": run.first_stage, "seconds_fetch": run.fetch}
    if not backend.max_length:  # a server tokenizes itself
        del seconds["tokenize"]
    figures |= {f"seconds_{stage}": stage_seconds for stage, stage_seconds in seconds.items()}
    if run and qrels:
        figures["ndcg"] = ndcg(results, qrels)
    if peer:
        ratios = [
            peer_seconds / round_times["score"] for round_times, peer_seconds in zip(times, peer_times, strict=True)
        ]
        figures |= {
            "ratios": ratios,
            "ratio": median(ratios),
            "largest_difference": float(np.abs(scores - peer_scores).max()),
            "top10_overlap": overlap([query for query, _ in pairs], scores, peer_scores),
            "peer": {**peer.facts, "pairs_per_second": len(pairs) / median(peer_times)},
        }
        if run and qrels:
            figures["peer"]["ndcg"] = ndcg(run.results(reranker, peer_scores), qrels)
    return figures


def overlap(queries: Sequence[str], scores: Scores, other_scores: Scores, k: int = 10) -> float:
    """Give the mean share of each query's k best passages that two scorings have in common."""
    shares = []
    query_of_row = np.array(queries)
    for query in dict.fromkeys(queries):
        rows = np.flatnonzero(query_of_row == query)
        best, other_best = (
            set(rows[np.argsort(-scoring[rows], kind="stable")[:k]].tolist()) for scoring in (scores, other_scores)
        )
        shares.append(len(best & other_best) / len(best))
    return sum(shares) / len(shares)


def _token_figures(backend: Backend, pairs: Sequence[tuple[str, str]], seconds: dict[str, float]) -> dict[str, float]:
    """Give the known figures of the tokens that a backend reads, and of the arithmetic that they need."""
    if not backend.max_length:  # it does not know which passages are cut
        return {}
    plans = [backend.plan(piece) for piece in batched(pairs, PLANNED_TOGETHER)]
    figures = {"cut_share": sum(len(plan.cut_passages) for plan in plans) / len(pairs)}
    # The padding of other backends is not known, and late interaction has no row of tokens for each pair.
    single = _single_device(backend)
    if not isinstance(single, TorchBackend | GraphBackend) or isinstance(single.encoder, LateInteractionEncoder):
        return figures
    batches = [batch.inputs.lengths.tolist() for plan in plans for batch in plan.batches]
    lengths = list(chain(*batches))
    classifier = (
        backend.family if isinstance(backend, TorchBackend) and isinstance(backend.family, Classifier) else None
    )
    padded = sum(len(batch_lengths) * max(batch_lengths) for batch_lengths in batches)
    figures |= {
        "tokens_per_pair": sum(lengths) / len(pairs),
        "tokens_per_second": sum(lengths) / seconds["score"],
        "padding_share": 0.0 if classifier and classifier.packs else 1 - sum(lengths) / padded,
    }
    config: Any = classifier.body.config if classifier else getattr(single, "config", None)
    total = sum(operations(config, length) or 0 for length in lengths) if config else 0
    if not total or isinstance(backend, DevicesBackend):  # the peak of several devices together is not known
        return figures
    figures |= {"gflop_per_pair": total / len(pairs) / 1e9, "gflops": total / seconds["forward"] / 1e9}
    if dtype := getattr(torch, single.description["dtype"], None):  # a graph may have a precision of its own
        operations_per_second = peak(_device(backend), dtype)
        figures |= {
            "peak_gflops": operations_per_second / 1e9,
            "peak_share": total / seconds["forward"] / operations_per_second,
        }
    return figures


def _single_device(backend: Backend) -> Backend | TorchBackend:
    """Give the backend of the first device, which is in this process."""
    return backend.backend if isinstance(backend, DevicesBackend) else backend


def _device(backend: Backend) -> torch.device:
    """Give the device that a backend computes on; a backend that names no device uses the CPU."""
    return getattr(_single_device(backend), "device", torch.device("cpu"))


def _memory(device: torch.device) -> dict[str, int]:
    """Give the ``peak_memory`` so far, of the CUDA device or else of the process; Windows does not tell it."""
    if device.type == "cuda":
        return {"peak_memory": torch.cuda.max_memory_allocated(device)}
    try:
        import resource
    except ImportError:
        return {}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
