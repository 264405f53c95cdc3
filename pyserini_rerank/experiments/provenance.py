"""What is to be known of figures and files: which model made them, where, and by which versions."""

from importlib.metadata import version
from typing import Any

from .. import __version__
from ..model import ModelReranker
from ..reranker import Reranker

PACKAGES = ("pyserini", "torch", "transformers", "tokenizers", "numpy")


def provenance(reranker: Reranker) -> dict[str, Any]:
    """Describe a reranker: ``model``, ``fingerprint``, ``max_length``, what its backend says of itself (``device``,
    ``dtype``, ``batch_tokens``), and the ``versions`` of what computed the scores. A combination has ``parts``, each
    with all but the last of these."""
    if isinstance(reranker, ModelReranker):
        facts = _facts(reranker)
    else:
        parts = [_facts(model) for model in reranker.models()]
        facts = {"model": reranker.name, "fingerprint": reranker.fingerprint, "parts": parts}
    return {
        **facts,
        "versions": {"pyserini-rerank": __version__, **{name: version(name) for name in PACKAGES}},
    }


def _facts(model: ModelReranker) -> dict[str, Any]:
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "max_length": model.max_length,
        **getattr(model.backend, "description", {}),
    }
