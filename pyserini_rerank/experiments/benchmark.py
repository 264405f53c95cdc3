"""How fast a checkpoint scores pairs on this machine, beside what the machine can do and beside a peer."""

import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..model import ModelReranker
from ..reranker import Reranker
from ..scoring.backend import Pair
from ..scoring.checkpoints import resolve
from ..scoring.families.classifier import Classifier
from ..scoring.packed import LastLayer
from ..scoring.torch import TorchBackend

#: Evenly spaced quantiles of the lengths of TREC DL 2019's queries and BM25's top 100 passages, in BERT's tokens.
QUERY_TOKENS = (4, 4, 5, 6, 6, 7, 7, 7, 9, 10, 13)
PASSAGE_TOKENS = (19, 42, 49, 53, 56, 59, 62, 65, 68, 71, 75, 79, 85, 92, 100, 108, 116, 125, 136, 152, 258)
#: Words of one token each.
WORDS = (
    "the of and to in is for on as with that by at from this are was it be or an has not have which can more one "
    "about when also time people may other some its will make used water most first new years number between"
)
#: The side of the matrices whose product shows what a device can reach.
MATRIX = {"cpu": 2048, "mps": 4096, "cuda": 8192}


def generated_pairs(count: int) -> list[Pair]:
    """Make pairs with the lengths of MS MARCO's, the same in every call: a hundred passages a query."""
    numbers = random.Random(0)

    def text(quantiles: Sequence[int]) -> str:
        length = int(np.interp(numbers.random(), np.linspace(0, 1, len(quantiles)), quantiles))
        return " ".join(numbers.choices(WORDS.split(), k=length))

    queries = [text(QUERY_TOKENS) for _ in range(0, count, 100)]
    return [(queries[i // 100], text(PASSAGE_TOKENS)) for i in range(count)]


@dataclass(frozen=True)
class Timing:
    """One round over the pairs, in seconds; without the stages where the engine does not show them."""

    seconds: float
    tokenize: float | None = None
    forward: float | None = None


def ours(reranker: ModelReranker, pairs: Sequence[Pair]) -> tuple[NDArray[np.float32], Timing]:
    """Score pairs once, as `Reranker.predict` does, and time its stages."""
    backend = reranker.backend
    start = time.perf_counter()
    plan = backend.plan(pairs)
    planned = time.perf_counter()
    scores = np.empty(len(pairs), dtype=np.float32)
    for batch in plan.batches:
        scores[batch.positions] = backend.run(batch)
    end = time.perf_counter()
    return scores, Timing(end - start, planned - start, end - planned)


def sentence_transformers(
    backend: TorchBackend, name: str
) -> Callable[[Sequence[Pair]], tuple[NDArray[np.float32], Timing]]:
    """Load the same checkpoint with sentence-transformers, as its documentation does: batches of 32.

    Raises
    ------
    ImportError
        It is not installed.
    ValueError
        The checkpoint is one that it would read otherwise than its authors.
    """
    try:
        from sentence_transformers import CrossEncoder
    except ImportError:
        raise ImportError("sentence-transformers is not installed: pip install sentence-transformers.") from None
    checkpoint = resolve(name)
    if checkpoint.row.body or checkpoint.row.head == "margin":
        raise ValueError(f"sentence-transformers reads {name} otherwise than its authors do: compare another one.")
    model = CrossEncoder(
        str(checkpoint.folder), device=str(backend.device), max_length=backend.max_length,
        model_kwargs={"dtype": backend.dtype}, activation_fn=torch.nn.Identity(), trust_remote_code=False,
    )  # fmt: skip

    def predict(pairs: Sequence[Pair]) -> tuple[NDArray[np.float32], Timing]:
        start = time.perf_counter()
        scores = model.predict(list(pairs), show_progress_bar=False)
        return np.asarray(scores, dtype=np.float32), Timing(time.perf_counter() - start)

    return predict


def operations(body: Any, length: int) -> int:
    """Count the floating-point operations of one pair of `length` tokens: two a multiplication.

    Every Linear layer of the body on every token, and in each layer the two products of attention over all tokens.
    What is done for one token only is left out: the pooler, the head, and the last layer but for its keys and values.
    """
    last = [part for part in body.modules() if isinstance(part, LastLayer)]
    once = {linear for part in last for linear in part.modules() if linear not in (part.key, part.value)}
    linear: int = sum(
        2 * part.in_features * part.out_features
        for name, part in body.named_modules()
        if isinstance(part, torch.nn.Linear) and "pooler" not in name and part not in once
    )
    layers = int(body.config.num_hidden_layers) - len(last)
    return length * linear + 4 * layers * int(body.config.hidden_size) * length**2


def peak(backend: TorchBackend) -> float:
    """Measure what a product of square matrices reaches on the same device in the same dtype: operations a second."""
    side = MATRIX[backend.device.type]
    matrix = torch.randn(side, side, dtype=backend.dtype, device=backend.device)
    best = 0.0
    for _ in range(8):
        start = time.perf_counter()
        product = matrix @ matrix
        float(product[0, 0])  # waits for the device
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def measure(
    reranker: Reranker, pairs: Sequence[Pair], rounds: int, against: bool
) -> tuple[dict[str, Any], NDArray[np.float32], NDArray[np.float32] | None]:
    """Time a reranker on pairs, and a peer in turn with it.

    Parameters
    ----------
    rounds : int
        How often all pairs are scored, after a part of them that warms everything up. Figures are medians.
    against : bool
        Alternate with sentence-transformers on the same pairs, in the same dtype.

    Returns
    -------
    figures : dict
        See the command's help; rates are pairs or tokens a second, times seconds, memory bytes.
    scores, peers : float32 (n,)
        What the two gave; None without a peer.
    """
    backend = reranker.backend if isinstance(reranker, ModelReranker) else None
    if not isinstance(reranker, ModelReranker) or not isinstance(backend, TorchBackend):
        raise TypeError("bench times the torch backend: leave --backend and --cache out.")
    if not isinstance(backend.family, Classifier):
        raise TypeError(f"bench knows the operations of sequence classifiers alone, and {reranker.name} is none.")
    peer = sentence_transformers(backend, reranker.name) if against else None
    plan = backend.plan(pairs)
    for engine in (lambda some: ours(reranker, some), *([peer] if peer else [])):
        engine(pairs[: max(32, len(pairs) // 10)])
    timings, peers = [], []
    theirs = None
    for _ in range(rounds):
        scores, timing = ours(reranker, pairs)
        timings.append(timing)
        if peer:
            theirs, timing = peer(pairs)
            peers.append(timing)
    lengths = [backend.encoder.length(pair) for batch in plan.batches for pair in batch.inputs]
    padded = sum(len(batch.inputs) * max(map(backend.encoder.length, batch.inputs)) for batch in plan.batches)
    read = sum(lengths) if backend.family.packs else padded
    seconds = median(timing.seconds for timing in timings)
    forward = median(timing.forward or 0 for timing in timings)
    work, reached = sum(operations(backend.family.body, length) for length in lengths), peak(backend)
    figures = {
        "pairs": len(pairs),
        "tokens_per_pair": sum(lengths) / len(pairs),
        "pairs_per_second": len(pairs) / seconds,
        "tokens_per_second": sum(lengths) / seconds,
        "padding_share": 1 - sum(lengths) / read,
        "cut_share": plan.cut_passages / len(pairs),
        "seconds_tokenize": median(timing.tokenize or 0 for timing in timings),
        "seconds_forward": forward,
        "gflop_per_pair": work / len(pairs) / 1e9,
        "gflops": work / forward / 1e9,
        "peak_gflops": reached / 1e9,
        "peak_share": work / forward / reached,
        "peak_memory": _memory(backend.device),
    }
    if theirs is not None:
        ratios = [other.seconds / own.seconds for own, other in zip(timings, peers, strict=True)]
        figures |= {
            "peer": "sentence-transformers",
            "peer_pairs_per_second": len(pairs) / median(timing.seconds for timing in peers),
            "ratios": ratios,
            "ratio": median(ratios),
            "largest_difference": float(np.abs(scores - theirs).max()),
        }
    return figures, scores, theirs


def overlap(groups: Sequence[str], scores: NDArray[np.float32], others: NDArray[np.float32], k: int = 10) -> float:
    """Give the mean share of each query's k best passages that two scorings have in common."""
    shares = []
    names = np.array(groups)
    for name in dict.fromkeys(groups):
        rows = np.flatnonzero(names == name)
        best = [set(rows[np.argsort(-some[rows], kind="stable")[:k]].tolist()) for some in (scores, others)]
        shares.append(len(best[0] & best[1]) / len(best[0]))
    return sum(shares) / len(shares)


def _memory(device: torch.device) -> int:
    """The most memory so far: of the CUDA device, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
