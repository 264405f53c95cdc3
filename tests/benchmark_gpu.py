"""What bounds a small checkpoint on a GPU: one process from texts, the model alone, and where the model's time goes.

    python tests/benchmark_gpu.py CHECKPOINT [PAIRS]

CHECKPOINT is a folder of MiniLM-L-6's shape, or any BERT of which the first six layers are taken. Everything is in
bfloat16 and takes turns, three rounds each, of which the medians are printed:

- pairs a second from texts, of MS MARCO's lengths, in one process and without options;
- the model alone, with the ids of every batch on the GPU already, and which share of it the first reaches;
- sentence-transformers from the same texts;
- the kernels of one batch: matrix products, attention, and the rest;
- the model alone with one product for query, key and value; with compiled layers; and as a CUDA graph;
- the milliseconds of one query with 100 candidates, median and 95th percentile.

It needs neither Java nor a network. On a CPU it runs without the graph and the compiled layers, to try the script.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyserini_rerank
import torch
from pyserini_rerank.benchmarks.workload import generated_pairs
from pyserini_rerank.model import PLANNED_TOGETHER
from rounds import shortened

ROUNDS, QUERY_ROUNDS, CANDIDATES = 3, 200, 100
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main(checkpoint: str, count: int = 60_000) -> None:
    pairs = [(query, f"{text} {number}") for number, (query, text) in enumerate(generated_pairs(count))]
    with tempfile.TemporaryDirectory() as temporary:
        folder = shortened(Path(checkpoint), Path(temporary, "L6"), layers=6)
        reranker = pyserini_rerank.load(folder, device=DEVICE, dtype="bfloat16")
        print(f"{reranker!r}, tokens by {reranker.description['tokenizer']}, {count:,} pairs")
        family = reranker.backend.family  # type: ignore[attr-defined]
        batches = laid_out(reranker, pairs)
        ways: dict[str, Callable[[], Any]] = {
            "from texts, in one process": lambda: reranker.predict(pairs),
            "the model alone": lambda: forward(family, batches),
        }
        if peer := sentence_transformers(folder):
            ways["sentence-transformers, from texts"] = lambda: peer(pairs)
        rates = in_turn(ways, count)
        from_texts, alone = rates["from texts, in one process"], rates["the model alone"]
        share = median(text / model for text, model in zip(from_texts, alone, strict=True))
        print(f"{share:13.1%} of the model alone is reached from texts")
        kernels(family, batches[0])
        variants(family, batches, count)
        one_query(reranker, pairs)


def laid_out(reranker: Any, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Plan all pairs, and put what the model reads of each batch onto the device."""
    backend = reranker.backend
    pieces = (pairs[start : start + PLANNED_TOGETHER] for start in range(0, len(pairs), PLANNED_TOGETHER))
    batches = [batch.inputs for piece in pieces for batch in backend.plan(piece).batches]
    return [backend.family._packed(batch, backend.device) for batch in batches]


@torch.inference_mode()
def forward(family: Any, batches: Sequence[dict[str, Any]]) -> None:
    for batch in batches:
        family._scores(dict(batch))
    synchronize()


def synchronize() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def sentence_transformers(folder: Path) -> Callable[[Sequence[tuple[str, str]]], Any] | None:
    try:
        from sentence_transformers import CrossEncoder
    except ImportError:
        return None
    model = CrossEncoder(str(folder), device=DEVICE, model_kwargs={"dtype": torch.bfloat16})
    return lambda pairs: model.predict(list(pairs), show_progress_bar=False)


def in_turn(ways: dict[str, Callable[[], Any]], count: int, unit: str = "pairs") -> dict[str, list[float]]:
    """Time ways that take turns, after a round that warms them up: pairs a second of each round."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            synchronize()
            start = time.perf_counter()
            way()
            synchronize()
            rates[name].append(count / (time.perf_counter() - start))
    for name, (_, *rounds) in rates.items():
        print(f"{median(rounds):13,.0f} {unit}/s  {name} ({', '.join(f'{rate:,.0f}' for rate in rounds)})")
    return {name: rounds for name, (_, *rounds) in rates.items()}


def kernels(family: Any, batch: dict[str, Any]) -> None:
    """Print the share of each kind of kernel in a forward pass of the largest batch."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if DEVICE == "cuda" else [])]
    with profile(activities=activities) as profiled:
        forward(family, [batch])
    times: Counter[str] = Counter()
    for event in profiled.key_averages():
        taken = event.self_device_time_total if DEVICE == "cuda" else event.self_cpu_time_total
        name = event.key.lower()
        kinds = {
            "matrix products": ("gemm", "addmm", "cutlass", "nvjet", "::mm"),
            "attention": ("flash", "attention", "fmha"),
        }
        times[next((kind for kind, words in kinds.items() if any(word in name for word in words)), "the rest")] += taken
    total = sum(times.values())
    print("one batch: " + ", ".join(f"{kind} {taken / total:.0%}" for kind, taken in times.most_common()))


def variants(family: Any, batches: Sequence[dict[str, Any]], count: int) -> None:
    """Time what might lift the model alone, each in turn with it as it is."""
    attention = next(module for name, module in family.model.named_modules() if name.endswith("attention.self"))
    separate = [attention.query, attention.key, attention.value]
    tokens = max(batch["input_ids"].numel() for batch in batches)
    states = torch.randn(tokens, attention.query.in_features, device=DEVICE, dtype=torch.bfloat16)
    with torch.inference_mode():
        weight = torch.cat([layer.weight for layer in separate])
        bias = torch.cat([layer.bias for layer in separate])
        ways = {
            "query, key and value in three products": lambda: [layer(states) for layer in separate],
            "... in one product": lambda: torch.nn.functional.linear(states, weight, bias),
        }
        in_turn(ways, tokens, "tokens")
    if DEVICE == "cpu":
        return
    repeat = len(batches)
    graph = captured(family, batches[0])
    ways = {
        "the largest batch, as often as there are batches": lambda: forward(family, [batches[0]] * repeat),
        "... as a CUDA graph": lambda: [graph.replay() for _ in range(repeat)],
    }
    in_turn(ways, count)
    layers = next(module for name, module in family.model.named_modules() if name.endswith("encoder.layer"))
    plain = list(layers)
    for number, layer in enumerate(plain):
        layers[number] = torch.compile(layer, dynamic=True)
    try:
        in_turn({"the model alone, with compiled layers": lambda: forward(family, batches)}, count)
    except Exception as error:  # the packed attention is not known to the compiler of every version
        print(f"compiled layers: {type(error).__name__}: {str(error).splitlines()[0]:.150}")
    for number, layer in enumerate(plain):
        layers[number] = layer


def captured(family: Any, batch: dict[str, Any]) -> Any:
    """Capture a forward pass of a batch as a CUDA graph."""
    forward(family, [batch])
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        family._scores(dict(batch))
    return graph


def one_query(reranker: Any, pairs: Sequence[tuple[str, str]]) -> None:
    """Print how long one query with 100 candidates takes, of which no text was seen before."""
    milliseconds = []
    for number in range(QUERY_ROUNDS):
        start = number * CANDIDATES % max(1, len(pairs) - CANDIDATES)
        texts = [f"{text} {number}" for _, text in pairs[start : start + CANDIDATES]]
        began = time.perf_counter()
        reranker.score(pairs[start][0], texts)
        milliseconds.append(1000 * (time.perf_counter() - began))
    middle, late = np.percentile(milliseconds[QUERY_ROUNDS // 10 :], [50, 95])
    print(f"{middle:13.2f} ms, {late:.2f} ms  one query with {CANDIDATES} candidates: median, 95th percentile")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
