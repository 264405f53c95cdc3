"""The door to rerankers: whatever `pyserini_rerank.load` takes becomes one, here and as a part of a combination."""

import inspect
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

from ..arguments import listed
from ..files.reading import read_text
from ..files.yaml12 import read_yaml
from ..model import ModelReranker
from ..reranker import Reranker
from ..scoring.backend import make_backend
from ..scoring.door import close_all
from .combination import COMBINATIONS
from .first_stage import FirstStageScore

log = logging.getLogger(__name__)


class Maker:
    """Makes rerankers, and remembers the checkpoints that it has loaded, and the rerankers that it was given.

    As a context manager it closes the checkpoints that it has loaded if the block raises.

    Parameters
    ----------
    backend, cache, options
        Of every checkpoint: see `pyserini_rerank.load`.
    needs_cache : bool
        See `pyserini_rerank.loading.load_models`.
    """

    def __init__(
        self,
        backend: str = "torch",
        cache: str | os.PathLike[str] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        needs_cache: bool = True,
    ) -> None:
        self.backend, self.cache, self.options, self.needs_cache = backend, cache, options or {}, needs_cache
        self.loaded: list[ModelReranker] = []
        self.given: list[Reranker] = []
        self._around: list[Any] = []

    def __enter__(self) -> "Maker":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            close_all(self.loaded)

    def make(self, part: Any) -> Reranker:
        """Make a reranker of what `pyserini_rerank.load` takes; one that is made already is given back.

        Raises
        ------
        ValueError
            A combination holds itself.
        As `pyserini_rerank.load`.
        """
        key = part if isinstance(part, str | os.PathLike) else id(part)
        if key in self._around:
            raise ValueError(f"the combination {part!r:.80} holds itself.")
        self._around.append(key)
        try:
            return self._made(read_combination(part))
        finally:
            self._around.pop()

    def _made(self, part: Any) -> Reranker:
        if isinstance(part, Reranker):
            self.given.append(part)
            return part
        if isinstance(part, Mapping):
            is_model = "model" in part and all(isinstance(option, str) for option in part)
            return self._model(**part) if is_model else self._combined(part)
        if isinstance(part, str | os.PathLike):
            return FirstStageScore() if part == FirstStageScore.NAME else self._model(part)
        if isinstance(part, Iterable):
            return self._combined({"cascade": part})
        kind = type(part).__name__
        raise TypeError(f"a {kind} is no reranker: name a checkpoint, a folder, or a combination of them.")

    def _model(self, model: Any, **of_its_own: Any) -> Reranker:
        if not isinstance(model, str | os.PathLike):
            raise TypeError(f"`model` is a {type(model).__name__}: name a checkpoint or a folder.")
        given = {"backend": self.backend, **self.options, **of_its_own}
        log.info("loading %s ...", model)
        start = time.perf_counter()
        if "auto" in (given["backend"], given.get("dtype")):
            from ..automatic import pick

            given = pick(model, given)
        backend = make_backend(given.pop("backend"), model, given)
        # Its own options tell it from the same checkpoint with others.
        shown = f"({', '.join(f'{option}={value}' for option, value in of_its_own.items())})" if of_its_own else ""
        try:
            self.loaded.append(ModelReranker(backend, os.fspath(model) + shown))
        except BaseException:
            backend.close()
            raise
        where = " ".join(map(str, self.loaded[-1].description.values()))
        log.info("loaded %s in %.1f s: %s", model, time.perf_counter() - start, where)
        if self.cache is not None and (self.needs_cache or backend.fingerprint):
            from ..scoring.backends.cached_backend import CachedBackend

            self.loaded[-1] = ModelReranker(CachedBackend(backend, self.cache), self.loaded[-1].name)
        return self.loaded[-1]

    def _combined(self, part: Mapping[str, Any]) -> Reranker:
        kind, arguments = next(iter(part.items())) if len(part) == 1 else (None, None)
        if kind not in COMBINATIONS:
            names = ", ".join(COMBINATIONS)
            raise ValueError(f"{dict(part)} is no reranker: give a mapping with one key of {names}, or with `model`.")
        cls = COMBINATIONS[kind]
        parameters = inspect.signature(cls).parameters
        first = next(iter(parameters))
        # What has no further arguments may leave the name of the first out.
        if not isinstance(arguments, Mapping) or first not in arguments:
            arguments = {first: arguments}
        wrong = [name for name in arguments if name not in parameters]
        if wrong:
            raise ValueError(f"{kind} has no {wrong[0]!r}: it has {', '.join(parameters)}.")
        inner = arguments[first]
        # Made here and not by the class, which does not know the options.
        parts = self.make(inner) if first == "reranker" else [(self.make(one), n) for one, n in numbered(inner)]
        return cls(**{**arguments, first: parts})


def numbered(pairs: Any) -> list[tuple[Any, Any]]:
    """Read a caller's pairs, each of what `Maker.make` takes and a number; raises ValueError where one is none."""
    read = [(written, _items(written, "pair")) for written in _items(pairs, "list of pairs")]
    for written, pair in read:
        if len(pair) != 2 or not isinstance(pair[1], Real):
            raise _wrong(written, "pair")
    return [(part, number) for _, (part, number) in read]


def _items(values: Any, name: str) -> list[Any]:
    try:
        return listed(values, name)
    except TypeError:
        raise _wrong(values, name) from None


def _wrong(written: Any, name: str) -> ValueError:
    shown = " ".join(repr(written).split())
    return ValueError(f"{shown:.200} is no {name} of a reranker and a number (its depth, or its weight).")


def read_value(text: str) -> Any:
    """Read the value of an option: YAML, and a text where it is none."""
    try:
        return read_yaml(text)
    except ValueError:
        return text


def read_combination(name: Any) -> Any:
    """Read what is YAML; give everything else back."""
    if not isinstance(name, str | os.PathLike):
        return name
    text = os.fspath(name)
    is_file = text.lower().endswith((".yaml", ".yml"))
    if not is_file and not text.lstrip().startswith(("{", "[")):
        return name
    written = read_text(text) if is_file else text
    try:
        return read_yaml(written)
    except ValueError as error:
        raise ValueError(f"{text:.200} is no YAML: {error}") from None


def settled(part: Any) -> Any:
    """Copy the words of a combination into lists and dicts, so that generators among them can be read twice.

    Raises
    ------
    ValueError
        The combination holds itself.
    """
    try:
        return _copied(part)
    except RecursionError:
        raise ValueError(f"the combination {part!r:.80} holds itself.") from None


def given_rerankers(part: Any) -> Iterator[Reranker]:
    """Give the rerankers that a combination, which is settled, holds already loaded."""
    if isinstance(part, Reranker):
        yield part
    elif isinstance(part, list | dict):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from given_rerankers(inner)


def _copied(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {name: _copied(value) for name, value in part.items()}
    if isinstance(part, str | bytes | os.PathLike | Reranker) or not isinstance(part, Iterable):
        return part
    try:
        return [_copied(item) for item in listed(part, "combination")]
    except TypeError:  # it has no order, and load() says so
        return part
