"""What is to be known of figures and files: which model made them, where, and by which versions."""

from importlib.metadata import version
from typing import Any

from ..reranker import Reranker
from ..version import __version__

PACKAGES = ("pyserini", "torch", "transformers", "tokenizers", "numpy")


def provenance(reranker: Reranker) -> dict[str, Any]:
    """Describe a reranker: ``model``, ``fingerprint``, ``max_length``, what it says of itself (``device``, ``dtype``,
    ``batch_tokens``), and the ``versions`` of what computed the scores. One with parts has ``parts``, each with all but
    the last of these."""
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
