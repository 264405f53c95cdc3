"""The provenance of scores: the model, the device and the package versions that computed them."""

from importlib.metadata import version
from typing import Any

from ..reranker import Reranker
from ..version import __version__

PACKAGES = ("pyserini", "torch", "transformers", "tokenizers", "numpy")


def provenance(reranker: Reranker) -> dict[str, Any]:
    """Describe a reranker: its ``model``, ``fingerprint`` and ``max_length``, its own description (``device``,
    ``dtype``, ``batch_tokens``), and the ``versions`` of the packages that compute scores. A combination has ``parts``
    instead of the last two facts and ``max_length``; each part has all facts but the versions."""
    facts = _facts(reranker)
    if reranker.parts:
        facts = {
            "model": reranker.name,
            "fingerprint": reranker.fingerprint,
            "parts": list(map(_facts, reranker.leaves())),
        }
    return {
        **facts,
        "versions": {"pyserini-rerank": __version__, **{name: version(name) for name in PACKAGES}},
    }


def _facts(leaf: Reranker) -> dict[str, Any]:
    facts = {"model": leaf.name, "fingerprint": leaf.fingerprint, "max_length": leaf.max_length}
    return {**facts, **leaf.description}
