"""The forms of requests and answers: one for each API that the server speaks.

Every form is turned into a `Question`, and the scores of a question into the form's answer. The names that the `http`
backend needs as well stand in `pyserini_rerank.scoring.rerank_apis`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field

from ..scoring.rerank_apis import APIS

#: The position of a text in the request, and its score.
Scored = tuple[int, float]
#: The kind of a refusal for want of room.
OVERLOADED = "Overloaded"


@dataclass(frozen=True)
class Question:
    """A request in the library's terms."""

    queries: Sequence[str]
    """One for all texts, or one for each text."""
    texts: Sequence[str]
    model: str | None = None
    top_n: int | None = None
    is_raw: bool = False
    """Whether it asks for raw scores instead of scores from 0 to 1."""
    returns_texts: bool = False
    is_ranked: bool = True
    """Whether the best text comes first in the answer, or the first one of the request."""

    @property
    def characters(self) -> int:
        return sum(map(len, self.queries)) + sum(map(len, self.texts))


@dataclass(frozen=True)
class Answered:
    """The scores of a question, and the facts that stand beside them in an answer."""

    question: Question
    scored: Sequence[Scored]
    """In the order of the answer."""
    model: str
    id: str
    tokens: int
    created: int
    """Seconds since 1970."""


class Form(BaseModel, ABC):
    """The body of a request. Keys that it does not know are ignored, as the original servers do."""

    path: ClassVar[str]
    #: The key of a request, and its value, that asks for raw scores.
    raw: ClassVar[tuple[str, bool] | None] = None

    @abstractmethod
    def question(self) -> Question:
        """Give the request in the library's terms."""

    @classmethod
    @abstractmethod
    def answer(cls, answered: Answered) -> Any:
        """Give the body of the answer."""

    @classmethod
    def refusal(cls, status: int, message: str, kind: str) -> Any:
        """Give the body of an answer that says why there is none."""
        # The clients of FastAPI servers, such as Infinity's, expect a list where a body is not valid.
        detail: Any = [{"loc": ["body"], "msg": message, "type": kind}] if status == 422 else message
        return {"message": message, "detail": detail, "error": {"message": message, "type": kind, "code": status}}

    def is_raw(self) -> bool:
        return self.raw is not None and getattr(self, self.raw[0]) == self.raw[1]


class TeiForm(Form):
    """Text Embeddings Inference: `POST /rerank` with `texts`."""

    path = APIS["tei"].path
    raw = APIS["tei"].raw

    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False

    def question(self) -> Question:
        return Question([self.query], self.texts, is_raw=self.is_raw(), returns_texts=self.return_text)

    @classmethod
    def answer(cls, answered: Answered) -> Any:
        question = answered.question
        return [
            {"index": index, "score": score} | ({"text": question.texts[index]} if question.returns_texts else {})
            for index, score in answered.scored
        ]

    @classmethod
    def refusal(cls, status: int, message: str, kind: str) -> Any:
        return {"error": message, "error_type": kind}


def _text_of(document: Any) -> Any:
    """Give the text of a document, which may be an object with a `text`."""
    return document["text"] if isinstance(document, dict) and "text" in document else document


class DocumentsForm(Form):
    """The common part of the forms that name the texts `documents`."""

    model: str | None = None
    query: str
    documents: list[Annotated[str, BeforeValidator(_text_of)]]
    top_n: Annotated[int, Field(ge=0)] | None = None
    """How many results come back; all of them for None and for 0."""
    return_documents: bool | None = None

    def question(self) -> Question:
        return Question(
            [self.query],
            self.documents,
            self.model,
            self.top_n or None,
            is_raw=self.is_raw(),
            returns_texts=self.wants_texts(),
        )

    def wants_texts(self) -> bool:
        return bool(self.return_documents)


#: The model that Infinity's client names by default.
NO_MODEL = "default/not-specified"


class InfinityForm(DocumentsForm):
    """Infinity: `POST /rerank` with `documents`."""

    path = APIS["infinity"].path
    raw = APIS["infinity"].raw

    raw_scores: bool = False

    def question(self) -> Question:
        question = super().question()
        return replace(question, model=None) if self.model == NO_MODEL else question

    @classmethod
    def answer(cls, answered: Answered) -> Any:
        return {"object": "rerank", **_head(answered), "results": _results(answered, lambda text: text)}


class V1Form(DocumentsForm):
    """vLLM's and Jina's `POST /v1/rerank`, whose answer has the keys of both; documents come back unless declined."""

    path = APIS["vllm"].path
    raw = APIS["vllm"].raw

    use_activation: bool | None = None

    def wants_texts(self) -> bool:
        return self.return_documents is not False

    @classmethod
    def answer(cls, answered: Answered) -> Any:
        return {**_head(answered), "results": _results(answered, lambda text: {"text": text})}


class V2Form(DocumentsForm):
    """Cohere's `POST /v2/rerank`."""

    path = APIS["cohere"].path

    @classmethod
    def answer(cls, answered: Answered) -> Any:
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        return {"id": answered.id, "results": _results(answered, lambda text: {"text": text}), "meta": meta}


Texts = Annotated[list[str], BeforeValidator(lambda texts: [texts] if isinstance(texts, str) else texts)]


class ScoreForm(Form):
    """vLLM's `POST /v1/score`: one query for all texts, or as many queries as texts."""

    path = "/v1/score"
    raw = APIS["vllm"].raw

    model: str | None = None
    queries: Texts = Field(validation_alias=AliasChoices("queries", "text_1"))
    documents: Texts = Field(validation_alias=AliasChoices("documents", "items", "text_2"))
    use_activation: bool | None = None

    def question(self) -> Question:
        if len(self.queries) not in (1, len(self.documents)):
            raise ValueError(f"{len(self.queries)} queries for {len(self.documents)} documents: give one, or as many.")
        return Question(self.queries, self.documents, self.model, is_raw=self.is_raw(), is_ranked=False)

    @classmethod
    def answer(cls, answered: Answered) -> Any:
        data = [{"index": index, "object": "score", "score": score} for index, score in answered.scored]
        return {"object": "list", **_head(answered), "data": data}


def _head(answered: Answered) -> dict[str, Any]:
    usage = {"prompt_tokens": answered.tokens, "total_tokens": answered.tokens}
    return {"id": answered.id, "model": answered.model, "created": answered.created, "usage": usage}


def _results(answered: Answered, written: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Give the results, each with its document as `written` has it, where documents are returned."""
    texts = answered.question.texts
    return [
        {"index": index, "relevance_score": score}
        | ({"document": written(texts[index])} if answered.question.returns_texts else {})
        for index, score in answered.scored
    ]
