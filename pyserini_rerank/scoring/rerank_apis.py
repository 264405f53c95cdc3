"""The rerank APIs of servers: the names in their requests and answers, for the `http` backend and for `serve`."""

from dataclasses import dataclass, field
from typing import Any

from ..scales import Scale


@dataclass(frozen=True)
class Api:
    """The names in the requests and answers of one API. Every API scores the documents of one query."""

    path: str
    documents: str = "documents"
    results: str | None = "results"
    """The key of the list of results in the answer; None if the answer is that list."""
    score: str = "relevance_score"
    most: int = 1000
    """The largest number of documents of a request, by default."""
    raw: tuple[str, bool] | None = None
    """The key of a request, and its value, that asks for raw scores; None if there are only scores from 0 to 1."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further keys of a request: they ask for cutting long passages, and for no texts in the answer."""

    @property
    def scale(self) -> Scale:
        """The scale of the scores that the `http` backend gets."""
        return "logit" if self.raw else "probability"


#: No request of the `http` backend has a `top_n`: without it every API gives all scores.
APIS = {
    # https://huggingface.github.io/text-embeddings-inference (`--max-client-batch-size` is 32 by default)
    "tei": Api("/rerank", "texts", None, "score", most=32, raw=("raw_scores", True), extra={"truncate": True}),
    # https://github.com/michaelfeil/infinity: fastapi_schemas/pymodels.py, `RerankInput`
    "infinity": Api("/rerank", raw=("raw_scores", True), extra={"return_documents": False}),
    # https://docs.vllm.ai/en/latest/models/pooling_models/scoring: `RerankRequest`; -1 cuts at the model's limit
    "vllm": Api("/v1/rerank", raw=("use_activation", False), extra={"truncate_prompt_tokens": -1}),
    # https://api.jina.ai/redoc; from 0 to 1, there are no raw scores
    "jina": Api("/v1/rerank", extra={"return_documents": False}),
    # https://docs.cohere.com/reference/rerank; from 0 to 1, there are no raw scores
    "cohere": Api("/v2/rerank"),
}
