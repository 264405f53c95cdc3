"""Rerank Pyserini's hits with a cross-encoder.

Importing this package gives Pyserini's searchers the methods `set_reranker`, `unset_reranker` and `is_using_reranker`,
whether Pyserini is imported before or after. Heavy packages are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import registration
from .version import __version__ as __version__

if TYPE_CHECKING:
    from .combining.cascade import Cascade
    from .combining.ensemble import Ensemble, Interpolation, ReciprocalRankFusion
    from .combining.first_stage import FirstStageScore
    from .combining.segments import Segments
    from .combining.windows import Windows
    from .counts import (
        Counts,
        CutWarning,
        EmptyDocumentWarning,
        EmptyQueryWarning,
        SkippedDocumentWarning,
        UnknownTextWarning,
    )
    from .experiments.experiment import experiment
    from .experiments.result import ExperimentResult
    from .loading import load
    from .model import ModelReranker
    from .notebook.comparison import Comparison, compare
    from .notebook.explanation import Explanation, explain
    from .progress import progress_bars
    from .ranking import RankedText
    from .reranker import Reranker
    from .retrieval.hits import Hits, Trace, trace
    from .retrieval.searcher_adapter import ShortfallWarning
    from .runs.bm25_run import BM25
    from .runs.job import rerank_run
    from .runs.reranked_run import RerankedRun
    from .scoring.backend import DeviceLostWarning, OutOfMemoryWarning
    from .searcher import RerankingSearcher
    from .serving.async_reranker import AsyncReranker
    from .serving.mcp_tools import register_rerank_tool
    from .serving.rerank_server import rerank_router
    from .serving.rest_search import search_router
    from .texts.formats import Template
    from .texts.source import MissingText
    from .training.train import TrainedCheckpoint, train
    from .training.train_data import train_data
    from .training.training_data import TrainingData
    from .verification.verify import Verification, verify

_PUBLIC = {
    "AsyncReranker": "serving.async_reranker",
    "register_rerank_tool": "serving.mcp_tools",
    "rerank_router": "serving.rerank_server",
    "search_router": "serving.rest_search",
    "compare": "notebook.comparison",
    "Comparison": "notebook.comparison",
    "explain": "notebook.explanation",
    "Explanation": "notebook.explanation",
    "experiment": "experiments.experiment",
    "ExperimentResult": "experiments.result",
    "load": "loading",
    "ModelReranker": "model",
    "Cascade": "combining.cascade",
    "Ensemble": "combining.ensemble",
    "FirstStageScore": "combining.first_stage",
    "Interpolation": "combining.ensemble",
    "ReciprocalRankFusion": "combining.ensemble",
    "Segments": "combining.segments",
    "Windows": "combining.windows",
    "RankedText": "ranking",
    "Reranker": "reranker",
    "Counts": "counts",
    "CutWarning": "counts",
    "EmptyDocumentWarning": "counts",
    "EmptyQueryWarning": "counts",
    "SkippedDocumentWarning": "counts",
    "UnknownTextWarning": "counts",
    "RerankingSearcher": "searcher",
    "rerank_run": "runs.job",
    "RerankedRun": "runs.reranked_run",
    "BM25": "runs.bm25_run",
    "ShortfallWarning": "retrieval.searcher_adapter",
    "Template": "texts.formats",
    "Hits": "retrieval.hits",
    "Trace": "retrieval.hits",
    "trace": "retrieval.hits",
    "MissingText": "texts.source",
    "progress_bars": "progress",
    "DeviceLostWarning": "scoring.backend",
    "OutOfMemoryWarning": "scoring.backend",
    "train": "training.train",
    "train_data": "training.train_data",
    "TrainedCheckpoint": "training.train",
    "TrainingData": "training.training_data",
    "verify": "verification.verify",
    "Verification": "verification.verify",
}
__all__ = [
    "BM25",
    "AsyncReranker",
    "Cascade",
    "Comparison",
    "Counts",
    "CutWarning",
    "DeviceLostWarning",
    "EmptyDocumentWarning",
    "EmptyQueryWarning",
    "Ensemble",
    "ExperimentResult",
    "Explanation",
    "FirstStageScore",
    "Hits",
    "Interpolation",
    "MissingText",
    "ModelReranker",
    "OutOfMemoryWarning",
    "RankedText",
    "ReciprocalRankFusion",
    "RerankedRun",
    "Reranker",
    "RerankingSearcher",
    "Segments",
    "ShortfallWarning",
    "SkippedDocumentWarning",
    "Template",
    "Trace",
    "TrainedCheckpoint",
    "TrainingData",
    "UnknownTextWarning",
    "Verification",
    "Windows",
    "compare",
    "experiment",
    "explain",
    "load",
    "progress_bars",
    "register_rerank_tool",
    "rerank_router",
    "rerank_run",
    "search_router",
    "trace",
    "train",
    "train_data",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


registration.install()
