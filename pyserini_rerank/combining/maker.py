"""Makes rerankers of all that `pyserini_rerank.load` takes, for `load` itself and for the parts of combinations."""

import inspect
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np

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
    """A maker of rerankers. It lists the checkpoints that it has `loaded`, and the rerankers that were loaded
    before and are `reused`.

    As a context manager it closes the checkpoints that it has loaded if the block raises.

    Parameters
    ----------
    backend, cache, options
        The defaults for every checkpoint: see `pyserini_rerank.load`.
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
        self.reused: list[Reranker] = []
        #: The descriptions that are being made, from the outermost in: a combination that holds itself comes twice.
        self._being_made: list[Any] = []

    def __enter__(self) -> "Maker":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            close_all(self.loaded)

    def make(self, part: Any) -> Reranker:
        """Make a reranker of an argument of `pyserini_rerank.load`; a reranker is returned as it is.

        Raises
        ------
        ValueError
            A combination holds itself.
        As `pyserini_rerank.load`.
        """
        key = part if isinstance(part, str | os.PathLike) else id(part)
        if key in self._being_made:
            raise ValueError(f"the combination {part!r:.80} holds itself.")
        self._being_made.append(key)
        try:
            return self._make(read_combination(part))
        finally:
            self._being_made.pop()

    def _make(self, part: Any) -> Reranker:
        if isinstance(part, Reranker):
            self.reused.append(part)
            return part
        if isinstance(part, Mapping):
            is_model = "model" in part and all(isinstance(option, str) for option in part)
            return self._load(**part) if is_model else self._combine(part)
        if isinstance(part, str | os.PathLike):
            return FirstStageScore() if part == FirstStageScore.NAME else self._load(part)
        if isinstance(part, Iterable):
            return self._combine({"cascade": part})
        kind = type(part).__name__
        raise TypeError(f"a {kind} is no reranker: name a checkpoint, a folder, or a combination of them.")

    def _load(self, model: Any, **its_options: Any) -> Reranker:
        """Load a checkpoint, with the options of all checkpoints and those of its own."""
        if not isinstance(model, str | os.PathLike):
            raise TypeError(f"`model` is a {type(model).__name__}: name a checkpoint or a folder.")
        options = {"backend": self.backend, **self.options, **its_options}
        log.info("loading %s ...", model)
        start = time.perf_counter()
        if "auto" in (options["backend"], options.get("dtype")):
            from ..automatic import pick

            options = pick(model, options)
        backend = make_backend(options.pop("backend"), model, options)
        # The name has the checkpoint's own options: a combination may hold the checkpoint twice, with other options.
        suffix = f"({', '.join(f'{option}={value}' for option, value in its_options.items())})" if its_options else ""
        try:
            self.loaded.append(ModelReranker(backend, os.fspath(model) + suffix))
        except BaseException:
            backend.close()
            raise
        where = " ".join(map(str, self.loaded[-1].description.values()))
        log.info("loaded %s in %.1f s: %s", model, time.perf_counter() - start, where)
        if self.cache is not None and (self.needs_cache or backend.fingerprint):
            from ..scoring.backends.cached_backend import CachedBackend

            self.loaded[-1] = ModelReranker(CachedBackend(backend, self.cache), self.loaded[-1].name)
        return self.loaded[-1]

    def _combine(self, part: Mapping[str, Any]) -> Reranker:
        """Make a combination of a mapping such as ``{"windows": {"reranker": name, "size": 128}}``."""
        kind, first, arguments = read_mapping(part)
        cls = COMBINATIONS[kind]
        parameters = inspect.signature(cls).parameters
        unknown = [name for name in arguments if name not in parameters]
        if unknown:
            raise ValueError(f"{kind} has no {unknown[0]!r}: it has {', '.join(parameters)}.")
        inner = arguments[first]
        # The parts are made here and not by the class, which does not know the options.
        parts = self.make(inner) if first == "reranker" else [(self.make(item), n) for item, n in numbered(inner)]
        return cls(**{**arguments, first: parts})


def read_mapping(part: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Read a combination's mapping: its key, the name of the argument with its parts, and all arguments."""
    kind, arguments = next(iter(part.items())) if len(part) == 1 else (None, None)
    if kind not in COMBINATIONS:
        keys = ", ".join(COMBINATIONS)
        raise ValueError(
            f"{dict(part)} is no reranker: give a mapping with the key `model`, or with one of the keys {keys}."
        )
    first = next(iter(inspect.signature(COMBINATIONS[kind]).parameters))
    # ``{"windows": name}`` is short for ``{"windows": {"reranker": name}}``.
    if not isinstance(arguments, Mapping) or first not in arguments:
        arguments = {first: arguments}
    return kind, first, dict(arguments)


def numbered(pairs: Any) -> list[tuple[Any, Any]]:
    """Read a caller's pairs of an argument of `Maker.make` and a number; raises ValueError where an item is no pair."""
    read = [(item, _items(item, "pair")) for item in _items(pairs, "list of pairs")]
    for item, pair in read:
        if len(pair) != 2 or not isinstance(pair[1], Real):
            raise _not_a(item, "pair")
    return [(part, number) for _, (part, number) in read]


def _items(values: Any, name: str) -> list[Any]:
    try:
        return listed(values, name)
    except TypeError:
        raise _not_a(values, name) from None


def _not_a(value: Any, name: str) -> ValueError:
    excerpt = " ".join(repr(value).split())[:200]
    return ValueError(f"{excerpt} is no {name} of a reranker and a number (its depth, or its weight).")


def read_value(text: str) -> Any:
    """Read the value of an option as YAML; text that is no YAML is returned as it is."""
    try:
        return read_yaml(text)
    except ValueError:
        return text


def read_combination(name: Any) -> Any:
    """Read a combination that is written in YAML, or in a YAML file; return everything else as it is."""
    if not isinstance(name, str | os.PathLike):
        return name
    text = os.fspath(name)
    is_file = text.lower().endswith((".yaml", ".yml"))
    if not is_file and not text.lstrip().startswith(("{", "[")):
        return name
    source = read_text(text) if is_file else text
    try:
        return read_yaml(source)
    except ValueError as error:
        raise ValueError(f"{text:.200} is no YAML: {error}") from None


def settled(part: Any) -> Any:
    """Copy the description of a combination into lists, dicts and Python's numbers, as JSON has them.

    A generator in it could be read only once, and NumPy's numbers are written otherwise.

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
    """Give the rerankers that are loaded already in the description of a combination, as `settled` copies it."""
    if isinstance(part, Reranker):
        yield part
    elif isinstance(part, list | dict):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from given_rerankers(inner)


def _copied(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {name: _copied(value) for name, value in part.items()}
    if isinstance(part, np.generic):
        return part.item()
    if isinstance(part, str | bytes | os.PathLike | Reranker) or not isinstance(part, Iterable):
        return part
    try:
        return [_copied(item) for item in listed(part, "combination")]
    except TypeError:  # it has no order; load() raises the error
        return part
