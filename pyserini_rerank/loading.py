"""A user's words to a reranker: a checkpoint's name, or how several are combined."""

import inspect
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

from .arguments import listed
from .combining.cascade import Cascade
from .combining.ensemble import Ensemble, FirstStageScore, Interpolation, ReciprocalRankFusion
from .combining.segments import Segments
from .combining.windows import Windows
from .files.reading import read_text
from .files.yaml12 import read_yaml
from .model import ModelReranker
from .reranker import Reranker
from .scoring.backend import make_backend

log = logging.getLogger(__name__)

FIRST_STAGE = "first-stage"
COMBINATIONS: dict[str, Callable[..., Reranker]] = {
    "cascade": Cascade,
    "ensemble": Ensemble,
    "interpolation": Interpolation,
    "rrf": ReciprocalRankFusion,
    "segments": Segments,
    "windows": Windows,
}


def load(name: Any, *, backend: str = "torch", cache: str | os.PathLike[str] | None = None, **options: Any) -> Reranker:
    """Load a checkpoint, or a combination of several.

    Parameters
    ----------
    name : str, path, list or dict
        A hub name, such as ``"cross-encoder/ms-marco-MiniLM-L-6-v2"``; the path of a local folder;
        or ``"bundled"``, the MiniLM-L-12 of the extra `bundled-model`.

        A list (or another iterable) of (reranker, depth) is a cascade. A dict with one key of ``cascade``,
        ``ensemble``, ``interpolation``, ``rrf``, ``segments`` and ``windows`` has the arguments of that class of
        `pyserini_rerank.combining`; ``{"model": name, ...}`` has options for that checkpoint alone, and
        ``"first-stage"`` is the first stage's own score. The same in YAML is the name of a file
        that ends in ``.yaml``, or a string that begins with ``{`` or ``[``. They nest.
    backend : str
        What computes the scores: ``"torch"``, ``"sentence-transformers"``, ``"onnx"``, ``"openvino"``, ``"http"``
        (`name` is then a server's URL), or a backend that another package brings (entry points of the group
        ``pyserini_rerank.backends``). ``"auto"`` measures torch, onnx and openvino once, and takes the fastest that
        ranks as well as torch in float32; so does ``dtype="auto"`` for a backend's dtypes: see
        `pyserini_rerank.automatic.pick`.
    cache : path, optional
        A folder where scores are kept, and looked up before they are computed; see
        `pyserini_rerank.scoring.backends.cached_backend.CachedBackend`.
    **options
        The backend's own; for torch see `pyserini_rerank.scoring.backends.torch_backend.TorchBackend`: `device` (or
        several; see `pyserini_rerank.scoring.backends.devices_backend`), `dtype`, `max_length`, `batch_tokens`,
        `processes`, `threads`, `head`, `known_as`.

    Raises
    ------
    OSError
        There is no such folder, it holds no checkpoint, or the hub cannot be reached.
    ValueError, TypeError
        The checkpoint cannot be read without guessing (pass `head=`), it lacks weights, the device is
        not there, there is no such backend, a combination is none of the above or holds itself, or there are options
        and nothing that is loaded here.
    """
    reranker, _ = load_models(name, backend=backend, cache=cache, **options)
    return reranker


def load_models(
    name: Any, *, backend: str = "torch", cache: str | os.PathLike[str] | None = None, **options: Any
) -> tuple[Reranker, list[ModelReranker]]:
    """Load a reranker, and tell which checkpoints were loaded for it: those are the caller's to close, and not the
    rerankers that a combination was given. Parameters and errors are those of `load`."""
    maker = _Maker(backend, cache, options)
    try:
        reranker = maker.make(name)
        asked = [*options, *["backend"] * (backend != "torch"), *["cache"] * (cache is not None)]
        if asked and maker.given and not maker.loaded:
            given = " and ".join(dict.fromkeys(reranker.name for reranker in maker.given))
            raise TypeError(f"{', '.join(asked)}: give these to the load() that made {given}, nothing is loaded here.")
        return reranker, maker.loaded
    except BaseException:  # the other parts of a combination that cannot be made
        for reranker in maker.loaded:
            reranker.close()
        raise


class _Maker:
    """Makes rerankers of what `load` is given, and remembers the checkpoints that it has loaded, and the rerankers
    that it was given."""

    def __init__(self, backend: str, cache: str | os.PathLike[str] | None, options: Mapping[str, Any]) -> None:
        self.backend, self.cache, self.options = backend, cache, options
        self.loaded: list[ModelReranker] = []
        self.given: list[Reranker] = []
        self._around: list[Any] = []

    def make(self, part: Any) -> Reranker:
        """Make what is written; raises ValueError where that holds itself."""
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
            return self._model(**part) if is_model else _combined(part, self.make)
        if isinstance(part, str | os.PathLike):
            return FirstStageScore() if part == FIRST_STAGE else self._model(part)
        if isinstance(part, Iterable):
            return Cascade(_numbered(part, self.make))
        kind = type(part).__name__
        raise TypeError(f"a {kind} is no reranker: name a checkpoint, a folder, or a combination of them.")

    def _model(self, model: Any, **of_its_own: Any) -> Reranker:
        if not isinstance(model, str | os.PathLike):
            raise TypeError(f"`model` is a {type(model).__name__}: name a checkpoint or a folder.")
        given = {"backend": self.backend, **self.options, **of_its_own}
        log.info("loading %s ...", model)
        start = time.perf_counter()
        if "auto" in (given["backend"], given.get("dtype")):
            from .automatic import pick

            given = pick(model, given)
        backend = make_backend(given.pop("backend"), model, given)
        # Its own options tell it from the same checkpoint with others.
        shown = f"({', '.join(f'{option}={value}' for option, value in of_its_own.items())})" if of_its_own else ""
        self.loaded.append(ModelReranker(backend, os.fspath(model) + shown))
        where = " ".join(map(str, self.loaded[-1].description.values()))
        log.info("loaded %s in %.1f s: %s", model, time.perf_counter() - start, where)
        if self.cache is not None:
            from .scoring.backends.cached_backend import CachedBackend

            self.loaded[-1] = ModelReranker(CachedBackend(backend, self.cache), self.loaded[-1].name)
        return self.loaded[-1]


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


def _combined(part: Mapping[str, Any], make: Callable[[Any], Reranker]) -> Reranker:
    kind, arguments = next(iter(part.items())) if len(part) == 1 else (None, None)
    if kind not in COMBINATIONS:
        raise ValueError(
            f"{dict(part)} is no reranker: give a mapping with one key of {', '.join(COMBINATIONS)}, or with `model`."
        )
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
    return cls(**{**arguments, first: make(inner) if first == "reranker" else _numbered(inner, make)})


def _numbered(parts: Any, make: Callable[[Any], Reranker]) -> list[tuple[Reranker, Any]]:
    """Make the rerankers of a list of pairs, each of a reranker and a number."""
    pairs = [(written, _items(written, "pair")) for written in _items(parts, "list of pairs")]
    for written, pair in pairs:
        if len(pair) != 2 or not isinstance(pair[1], Real):
            raise ValueError(f"{written!r} is no pair of a reranker and a number (its depth, or its weight).")
    return [(make(part), number) for _, (part, number) in pairs]


def _items(values: Any, name: str) -> list[Any]:
    try:
        return listed(values, name)
    except TypeError:
        shown = " ".join(repr(values).split())
        raise ValueError(f"{shown:.200} is no {name} of a reranker and a number (its depth, or its weight).") from None
