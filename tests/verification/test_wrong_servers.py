"""Servers that are wrong in one way each: `verify` names the fault, over real HTTP.

They score with transformers alone, so that a mistake in the package's own reading of pairs could not hide itself.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
import tiny_families
import torch
from fastapi import Body, FastAPI
from pyserini_rerank import verify
from running import running
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, BertTokenizer

UNCASED, TWO_LABELS = "cross-encoder/ms-marco-MiniLM-L-2-v2", "nboost/pt-tinybert-msmarco"
XLM_R, MODERNBERT, QWEN3 = tiny_families.BGE, tiny_families.GTE, tiny_families.QWEN3
BUNDLED = "bundled"
Score = Callable[[str, Sequence[str]], np.ndarray]


class Engine:
    """A checkpoint in transformers, and how it reads pairs."""

    def __init__(self, folder: Path, *, causal: bool = False, tokenizer: Any = None) -> None:
        auto = AutoModelForCausalLM if causal else AutoModelForSequenceClassification
        self.tokenizer = tokenizer or AutoTokenizer.from_pretrained(folder)
        self.model = auto.from_pretrained(folder).eval()
        self.types: Callable[[torch.Tensor], torch.Tensor] = lambda right: right
        self.length, self.label = 512, None
        self.options: dict[str, Any] = {}

    def with_(self, **changes: Any) -> "Engine":
        other = object.__new__(Engine)
        other.__dict__.update(self.__dict__ | changes)
        return other

    def __call__(self, query: str, texts: Sequence[str]) -> np.ndarray:
        scores = np.empty(len(texts))
        rows = np.argsort([len(text) for text in texts])
        for of_batch in np.array_split(rows, max(1, len(rows) // 3)):  # little padding
            scores[of_batch] = self._scores(query, [texts[row] for row in of_batch])
        return scores

    @torch.inference_mode()
    def _scores(self, query: str, texts: Sequence[str]) -> np.ndarray:
        inputs = self.tokenizer(
            [query] * len(texts), list(texts), padding=True, truncation=True, max_length=self.length,
            return_tensors="pt", **self.options,
        )  # fmt: skip
        if "token_type_ids" in inputs:
            inputs["token_type_ids"] = self.types(inputs["token_type_ids"])
        logits = self.model(**inputs).logits.double().numpy()
        if logits.shape[1] == 2:
            return logits[:, 1] - logits[:, 0] if self.label is None else logits[:, self.label]
        return logits[:, 0]


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")


def each(change: Callable[[str], str]) -> Callable[[Engine], Score]:
    return lambda right: lambda query, texts: right(change(query), [change(text) for text in texts])


def swapped(right: Engine) -> Score:
    return lambda query, texts: np.concatenate([right(text, [query]) for text in texts])


def after(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Engine], Score]:
    return lambda right: lambda query, texts: change(right(query, texts))


def keeping(**options: Any) -> Callable[[Engine], Score]:
    def make(right: Engine) -> Score:
        vocabulary = right.tokenizer.get_vocab()
        return right.with_(tokenizer=BertTokenizer(vocab=vocabulary, **options))

    return make


def having(**changes: Any) -> Callable[[Engine], Score]:
    return lambda right: right.with_(**changes)


def cutting_left(right: Engine) -> Score:
    tokenizer = AutoTokenizer.from_pretrained(right.tokenizer.name_or_path, truncation_side="left")
    return right.with_(tokenizer=tokenizer)


def one_text(right: Engine) -> Score:
    def score(query: str, texts: Sequence[str]) -> np.ndarray:
        joined = [f"{query} {text}" for text in texts]
        inputs = right.tokenizer(joined, padding=True, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            return right.model(**inputs).logits[:, 0].double().numpy()

    return score


def both(*changes: Callable[[Any], Score]) -> Callable[[Engine], Score]:
    def make(right: Engine) -> Score:
        made: Any = right
        for change in changes:
            made = change(made)
        return made

    return make


def prefixed(of_query: str, of_passage: str) -> Callable[[Engine], Score]:
    return lambda right: lambda query, texts: right(of_query + query, [of_passage + text for text in texts])


def without_template(right: Engine) -> Score:
    """Qwen3-Reranker as an engine has it that knows no template: the two texts alone."""
    yes, no = (right.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))

    def score(query: str, texts: Sequence[str]) -> np.ndarray:
        scores = []
        for text in texts:
            ids = [
                token for part in (query, text) for token in right.tokenizer(part, add_special_tokens=False).input_ids
            ]
            with torch.inference_mode():
                last = right.model(input_ids=torch.tensor([ids[:512]])).logits[0, -1]
            scores.append(float(last[yes] - last[no]))
        return np.array(scores)

    return score


def by_length(_: str, texts: Sequence[str]) -> np.ndarray:
    return np.array([len(text) % 7 - np.pi for text in texts])


#: A checkpoint, what the server does to it, and the findings, in any order.
FAULTS: dict[str, tuple[str, Callable[[Any], Score], set[str]]] = {
    "a sigmoid": (UNCASED, after(sigmoid), {"sigmoid"}),
    "two sigmoids": (UNCASED, after(lambda scores: sigmoid(sigmoid(scores))), {"two sigmoids"}),
    "the other label": (UNCASED, after(np.negative), {"negated"}),
    "swapped": (UNCASED, swapped, {"swapped"}),
    "cut at 128": (UNCASED, having(length=128), {"cut at 128"}),
    "cut at 510": (UNCASED, having(length=510), {"cut at 510"}),
    "cut at 300": (UNCASED, having(length=300), {"cut elsewhere"}),
    "not cut": (MODERNBERT, having(length=8192), {"not cut"}),
    "cut at 1024": (XLM_R, having(length=1024), {"cut at 1024"}),
    "first tokens cut": (UNCASED, cutting_left, {"cuts beginnings"}),
    "no types": (UNCASED, having(types=torch.zeros_like), {"no token types"}),
    "types the other way round": (UNCASED, having(types=lambda right: 1 - right), {"wrong token types"}),
    "lower case": (XLM_R, each(str.lower), {"lower-cased"}),
    "lower case without accents": (XLM_R, each(lambda text: plain(text.lower())), {"lower-cased, no accents"}),
    "no accents": (XLM_R, each(plain), {"no accents"}),
    "capitals": (UNCASED, keeping(do_lower_case=False), {"not lower-cased"}),
    "no special tokens": (UNCASED, having(options={"add_special_tokens": False}), {"no special tokens"}),
    "one text": (UNCASED, one_text, {"one text", "cuts the passage alone"}),
    "special tokens as text": (UNCASED, having(options={"split_special_tokens": True}), {"special tokens as text"}),
    "E5's prefixes": (UNCASED, prefixed("query: ", "passage: "), {"prefix query: passage:"}),
    "BGE's instruction": (
        XLM_R,
        prefixed("Represent this sentence for searching relevant passages: ", ""),
        {"prefix Represent this sentence for searching relevant passages:"},
    ),
    "no template": (QWEN3, without_template, {"prompt left out", "unexplained"}),
    "one label of two": (TWO_LABELS, having(label=1), {"head: the logit of label 1 alone"}),
    "label 0 of two": (TWO_LABELS, having(label=0), {"head: the logit of label 0 alone"}),
    "zeros": (UNCASED, after(np.zeros_like), {"constant"}),
    "two decimals": (UNCASED, after(lambda scores: scores.round(2)), {"rounded"}),
    "another checkpoint": (UNCASED, lambda _: by_length, {"unexplained"}),
    "swapped, with a sigmoid": (UNCASED, both(swapped, after(sigmoid)), {"swapped", "sigmoid"}),
    "cut at 128, no types, a sigmoid": (
        UNCASED,
        both(having(length=128, types=torch.zeros_like), after(sigmoid)),
        {"cut at 128", "no token types", "sigmoid"},
    ),
    "lower case and swapped": (XLM_R, both(swapped, each(str.lower)), {"swapped", "lower-cased"}),
}  # fmt: skip


@contextmanager
def serving(score: Score, mixes: bool = False) -> Iterator[str]:
    """Serve scores in the forms of TEI and of Jina, best first, each with its document's index (or its rank)."""
    app = FastAPI()

    def ranked(query: str, texts: Sequence[str], name: str) -> list[dict[str, Any]]:
        scores = score(query, texts)
        order = np.argsort(-scores, kind="stable").tolist()
        return [{"index": rank if mixes else row, name: float(scores[row])} for rank, row in enumerate(order)]

    @app.post("/rerank")
    def tei(body: Any = Body()) -> Any:  # noqa: B008
        return ranked(body["query"], body["texts"], "score")

    @app.post("/v1/rerank")
    def jina(body: Any = Body()) -> Any:  # noqa: B008
        return {"results": ranked(body["query"], body["documents"], "relevance_score")}

    with running(app) as url:
        yield url


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("checkpoints")
    made = {name: tiny_checkpoints.build(name, parent) for name in (UNCASED, TWO_LABELS)}
    return made | {name: tiny_families.build(name, parent) for name in (XLM_R, MODERNBERT, QWEN3)}


@pytest.fixture(scope="module")
def engines(folders: dict[str, Path]) -> dict[str, Engine]:
    return {name: Engine(folder, causal=name == QWEN3) for name, folder in folders.items()}


#: Faults that differ from another one in a figure or a word alone, or are two of them at once.
FURTHER = {
    "two sigmoids", "cut at 510", "cut at 300", "cut at 1024", "types the other way round", "lower case", "no accents",
    "E5's prefixes", "label 0 of two", "swapped, with a sigmoid", "cut at 128, no types, a sigmoid",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.stress) if case in FURTHER else case for case in FAULTS]
)
def test_a_fault_is_named(case: str, folders: dict[str, Path], engines: dict[str, Engine]) -> None:
    name, wrong, names = FAULTS[case]
    with serving(wrong(engines[name])) as url:
        result = verify(folders[name], url, backend="http", api="tei")
    assert {finding.name for finding in result.findings} == names, result
    assert not {finding.aspect for finding in result.findings} & set(result.right)
    assert all("{" not in finding.says for finding in result.findings)
