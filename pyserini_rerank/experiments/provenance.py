"""What is to be known of figures and files: which model made them, where, and by which versions."""

from importlib.metadata import version
from typing import Any

from .. import __version__
from ..reranker import Reranker

PACKAGES = ("pyserini", "torch", "transformers", "tokenizers", "numpy")


def provenance(reranker: Reranker) -> dict[str, Any]:
    """Describe a reranker: ``model``, ``fingerprint``, ``max_length``, what its backend says of itself (``device``,
    ``dtype``, ``batch_tokens``), and the ``versions`` of what computed the scores."""
    backend = reranker.backend
    assert backend, "the reranker is open"
    return {
        "model": reranker.name,
        "fingerprint": backend.fingerprint,
        "max_length": backend.max_length,
        **getattr(backend, "description", {}),
        "versions": {"pyserini-rerank": __version__, **{name: version(name) for name in PACKAGES}},
    }
