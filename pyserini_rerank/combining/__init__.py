"""Rerankers that are made of others; `pyserini_rerank.load` makes them of lists, dicts and YAML, too.

All of them are imported here, so that each can be described as a part of any other.
"""

from .cascade import Cascade
from .ensemble import Ensemble, Interpolation, ReciprocalRankFusion
from .first_stage import FirstStageScore
from .segments import Segments
from .windows import Windows

__all__ = [
    "Cascade",
    "Ensemble",
    "FirstStageScore",
    "Interpolation",
    "ReciprocalRankFusion",
    "Segments",
    "Windows",
]
