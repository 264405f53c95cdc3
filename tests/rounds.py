"""What the benchmarks share: real passages enough, and ways to do the same work that take turns."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from pyserini_rerank.docstrings import index, questions, read
from safetensors.numpy import load_file, save_file


def indexed(folder: str) -> dict[str, str]:
    """Index the standard library's docstrings, and give them by docid.

    Each is cut to 60 words, as MS MARCO's passages have them, and stored four times with a word that differs, so that
    1,000 hits a query are there.
    """
    passages = {docid: " ".join(text.split()[:60]) for docid, text in read()}
    documents = {f"{docid}.{copy}": f"{text} {copy}" for copy in range(4) for docid, text in passages.items()}
    index(documents, folder)
    return documents


def asked(count: int) -> list[str]:
    """Give that many queries; 140 at most."""
    return ([question["question"] for question in questions()] * 2)[:count]


def shortened(checkpoint: Path, folder: Path, layers: int) -> Path:
    """Copy a BERT in float32 with its first layers alone."""
    folder.mkdir()
    for file in checkpoint.iterdir():
        if file.suffix in (".json", ".txt"):
            (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
    weights = load_file(checkpoint / "model.safetensors")
    beyond = [f".layer.{number}." for number in range(layers, config["num_hidden_layers"])]
    kept = {name: weight for name, weight in weights.items() if not any(part in name for part in beyond)}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return folder


def take_turns(ways: Mapping[str, Callable[[], object]], hits: int, rounds: int, base: str) -> None:
    """Time ways that alternate, after a round that warms Java up, and print each one's cost and rate.

    Figures are medians over the rounds; the ratio to `base`, which is one of the ways, is that within a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    print(f"{hits:,} hits a round, {rounds} rounds")
    for name, (_, *own) in seconds.items():
        ratio = median(first / other for first, other in zip(seconds[base][1:], own, strict=True))
        micros, rate = 1e6 * median(own) / hits, hits / median(own)
        print(f"{micros:6.1f} µs a hit {rate:9,.0f} hits/s  {name:45}  {ratio:.0%} of the rate of {base}")
