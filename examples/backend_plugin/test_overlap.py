"""That the backend keeps the contract of all backends."""

from pyserini_rerank.testing import BackendContract
from pyserini_rerank_overlap import OverlapBackend


class TestOverlap(BackendContract):
    knows_relevance = True

    def make(self):
        return OverlapBackend("overlap")
