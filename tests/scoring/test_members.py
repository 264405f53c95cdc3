"""The members that a plugin's backend may have or lack, and what they may be."""

from functools import cached_property
from typing import Any

import pyserini_rerank
import pytest
from collection import HashBackend
from pyserini_rerank import Cascade, ModelReranker
from pyserini_rerank.scoring import backend as module
from pyserini_rerank.scoring.backend import complete
from pyserini_rerank.scoring.backends.cached_backend import CachedBackend


class Delegating:
    """Has no member of its own."""

    def __init__(self, backend: Any) -> None:
        self._of_another = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_another, name)


class Slotted(HashBackend):
    __slots__ = ("vocabulary", "workers")


def test_members_that_are_left_out_and_those_that_an_object_has() -> None:
    of_object = HashBackend()
    of_object.workers = 2  # type: ignore[attr-defined]
    slotted = Slotted()
    slotted.workers = 2
    for made in (of_object, slotted, Delegating(of_object)):
        full = complete(made)
        assert (full.workers, full.vocabulary, full.scale, full.known_scores) == (2, None, "logit", 0)
        reranker = ModelReranker(made, "made")
        assert (
            reranker.score("q", ["a", "b"]).tolist() == ModelReranker(HashBackend(), "").score("q", ["a", "b"]).tolist()
        )
        assert repr(reranker) == "ModelReranker('made')"
        reranker.close()
        assert repr(reranker) == "ModelReranker('made', closed)"


@pytest.mark.parametrize("member", ["scale", "workers", "vocabulary", "description", "known_scores"])
@pytest.mark.parametrize("kind", [property, cached_property])
@pytest.mark.parametrize("error", [AttributeError, RuntimeError])
def test_a_member_that_fails_has_no_default(member: str, kind: Any, error: type[Exception]) -> None:
    """Of a backend that has all members as well as of one that has this one alone."""

    def fails(self: Any) -> Any:
        raise error("no such device")

    def use(made: Any) -> str:
        reranker = ModelReranker(made, "failing")
        return f"{reranker.vocabulary}{reranker.known_scores}{reranker!r}"

    for base in (HashBackend, type("Full", (module.TextBackend, HashBackend), {})):
        failing = kind(fails)
        made = type("Failing", (base,), {member: failing})
        if kind is cached_property:
            failing.__set_name__(made, member)
        with pytest.raises(error, match="no such device"):
            use(made())


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"workers": 0}, "workers of the backend of odd is 0: give 1 or more"),
        ({"workers": None}, "workers of the backend of odd is None: give a whole number"),
        ({"max_length": None}, "max_length of the backend of odd is None: give a whole number"),
        ({"max_length": -1}, "max_length of the backend of odd is -1: give 0 or more"),
        ({"scale": "logits"}, "scale of the backend of odd is 'logits': there are logit, probability, other"),
    ],
)
def test_members_that_cannot_be(members: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`workers` of 0 would have scoring wait for ever. What was opened is closed."""
    made: list[HashBackend] = []

    def make(name: str) -> HashBackend:
        made.append(type("Odd", (HashBackend,), members if name == "odd" else {})())
        return made[-1]

    monkeypatch.setattr(module, "create", lambda name: make)
    for load in (lambda: pyserini_rerank.load("odd"), lambda: Cascade([("even", 3), ("odd", 2)])):
        with pytest.raises((TypeError, ValueError), match=message):
            load()
    assert len(made) == 3 and all(backend.closed for backend in made)


def test_all_are_closed_though_closing_one_fails(tmp_path: Any) -> None:
    class Failing(HashBackend):
        fingerprint = "failing"

        def close(self) -> None:
            super().close()
            raise OSError("the device is gone")

    backends = [HashBackend(), Failing(), HashBackend(), Failing()]
    cached = CachedBackend(backends[-1], tmp_path / "scores")
    parts = [ModelReranker(backend, "part") for backend in (*backends[:-1], cached)]
    with pytest.raises(OSError, match="the device is gone"):
        Cascade([(part, 3) for part in parts]).close()
    assert all(backend.closed for backend in backends) and "closed" in repr(parts)
    with pytest.raises(RuntimeError, match="closed"):
        cached.store.get([b"key"])
