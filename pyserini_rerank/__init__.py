"""Rerank what Pyserini finds with a cross-encoder.

Importing this registers with Pyserini's searchers, whether Pyserini comes before or after: they gain
`set_reranker`, `unset_reranker` and `is_using_reranker`. Nothing heavy is imported until it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import registration

if TYPE_CHECKING:
    from .combining.cascade import Cascade
    from .combining.ensemble import Ensemble, FirstStageScore, Interpolation, ReciprocalRankFusion
    from .combining.segments import Segments
    from .combining.windows import Windows
    from .counts import Counts, CutWarning, EmptyDocumentWarning, EmptyQueryWarning, UnknownTextWarning
    from .loading import load
    from .model import ModelReranker
    from .notebook.comparison import Comparison, compare
    from .notebook.explanation import Explanation, explain
    from .progress import progress_bars
    from .reranker import Reranker
    from .retrieval.hits import Hits, Trace, trace
    from .retrieval.searcher_adapter import ShortfallWarning
    from .scoring.backend import OutOfMemoryWarning
    from .searcher import RerankingSearcher
    from .texts.formats import Template
    from .texts.source import MissingText

__version__ = "0.1.0"

_PUBLIC = {
    "compare": "notebook.comparison",
    "Comparison": "notebook.comparison",
    "explain": "notebook.explanation",
    "Explanation": "notebook.explanation",
    "load": "loading",
    "ModelReranker": "model",
    "Cascade": "combining.cascade",
    "Ensemble": "combining.ensemble",
    "FirstStageScore": "combining.ensemble",
    "Interpolation": "combining.ensemble",
    "ReciprocalRankFusion": "combining.ensemble",
    "Segments": "combining.segments",
    "Windows": "combining.windows",
    "Reranker": "reranker",
    "Counts": "counts",
    "CutWarning": "counts",
    "EmptyDocumentWarning": "counts",
    "EmptyQueryWarning": "counts",
    "UnknownTextWarning": "counts",
    "RerankingSearcher": "searcher",
    "ShortfallWarning": "retrieval.searcher_adapter",
    "Template": "texts.formats",
    "Hits": "retrieval.hits",
    "Trace": "retrieval.hits",
    "trace": "retrieval.hits",
    "MissingText": "texts.source",
    "progress_bars": "progress",
    "OutOfMemoryWarning": "scoring.backend",
}
__all__ = [
    "Cascade",
    "Comparison",
    "Counts",
    "CutWarning",
    "EmptyDocumentWarning",
    "EmptyQueryWarning",
    "Ensemble",
    "Explanation",
    "FirstStageScore",
    "Hits",
    "Interpolation",
    "MissingText",
    "ModelReranker",
    "OutOfMemoryWarning",
    "ReciprocalRankFusion",
    "Reranker",
    "RerankingSearcher",
    "Segments",
    "ShortfallWarning",
    "Template",
    "Trace",
    "UnknownTextWarning",
    "Windows",
    "compare",
    "explain",
    "load",
    "progress_bars",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


registration.install()
