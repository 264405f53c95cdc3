"""Small cross-encoders of several modules with random weights, as sentence-transformers itself saves them.

``build(parent, body, pooling, chain)`` writes ``parent/<body>-<pooling>-<chain>``. The chain of the Ettin rerankers is
"three", and their body is "modernbert".
"""

import shutil
from pathlib import Path

import tiny_architectures
import tiny_families
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from transformers import AutoModel, AutoTokenizer

BODIES = ("modernbert", "bert")
POOLINGS = ("cls", "mean", "max", "lasttoken")
HIDDEN = 32


def dense(into: int, out: int, activation: torch.nn.Module, **options: object) -> Dense:
    return Dense(into, out, activation_function=activation, **options)


def last(into: int, labels: int = 1) -> Dense:
    return dense(into, labels, torch.nn.Identity(), module_output_name="scores")


CHAINS = {
    "one": lambda: [last(HIDDEN)],
    "three": lambda: [dense(HIDDEN, HIDDEN, torch.nn.GELU(), bias=False), LayerNorm(HIDDEN), last(HIDDEN)],
    "five": lambda: [
        LayerNorm(HIDDEN),
        dense(HIDDEN, 48, torch.nn.Tanh()),
        dense(48, 24, torch.nn.SiLU(), bias=False),
        LayerNorm(24),
        last(24),
    ],
    "two labels": lambda: [last(HIDDEN, 2)],
}


def build(parent: Path, body: str = "modernbert", pooling: str = "cls", chain: str = "three") -> Path:
    """Write a small checkpoint of that body, pooling and chain of modules, and return its folder."""
    folder, bare = parent / f"{body}-{pooling}-{chain}", parent / f"bare-{body}"
    if not bare.exists():
        _bare(parent, body, bare)
    torch.manual_seed(7)
    modules = [Transformer(str(bare)), Pooling(HIDDEN, pooling), *CHAINS[chain]()]
    for module in modules[2:]:
        tiny_families._spread(module, 0.3)
    CrossEncoder(modules=modules, device="cpu").save_pretrained(str(folder))
    return folder


def _bare(parent: Path, body: str, folder: Path) -> None:
    """Write an encoder without a head, and its tokenizer."""
    whole = parent / f"whole-{body}"
    torch.manual_seed(3)
    if body == "bert":
        tiny_architectures.build("bert", whole)
        whole = whole / "bert"
    else:
        whole.mkdir()
        tiny_families._modernbert(whole)
    AutoModel.from_pretrained(whole).save_pretrained(folder)
    AutoTokenizer.from_pretrained(whole).save_pretrained(folder)
    shutil.rmtree(whole)
