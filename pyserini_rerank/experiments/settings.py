"""The settings of an experiment, which tell it from another one in the same folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..runs.input_states import of_value
from ..runs.provenance import provenance
from ..runs.topics import Qrels
from .first_stages import FirstStage
from .systems import System


def settings_of(systems: Sequence[System], topics: Mapping[str, str], qrels: Qrels, depth: int) -> dict[str, Any]:
    """Describe an experiment.

    Returns
    -------
    dict
        ``topics`` and ``qrels``, told apart by content; ``depth``; ``systems``, each with its first stage, the
        checkpoint's fingerprint and its depth; and what is known besides: the ``provenance`` of the rerankers.
    """
    return {
        "topics": of_value(dict(topics)),
        "qrels": of_value(qrels),
        "depth": depth,
        "systems": {system.name: _facts(system) for system in systems},
        "provenance": {system.name: provenance(system.reranker) for system in systems if system.reranker},
    }


def _facts(system: System) -> dict[str, Any]:
    facts: dict[str, Any] = {"first_stage": _state(system.stage)}
    if system.reranker and system.source:
        facts |= {
            "reranker": system.reranker.name,
            "fingerprint": system.reranker.fingerprint,
            "depth": system.depth,
            "texts": system.source.location,
        }
    return facts


def _state(stage: FirstStage) -> dict[str, Any]:
    """Tell first stages apart, as far as they can be: a searcher's settings, such as k1 and b, are not known."""
    index = getattr(stage.searcher, "index_dir", None)
    return {"name": stage.name, **({"index": str(index)} if index else {})}
