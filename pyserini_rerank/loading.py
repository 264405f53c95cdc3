"""What a user writes to a reranker: a checkpoint's name, or how several are combined."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from .combining.cascade import Cascade
from .combining.ensemble import Ensemble, FirstStage, Interpolation, ReciprocalRankFusion
from .combining.segments import Segments
from .combining.windows import Windows
from .files import read_text
from .model import ModelReranker
from .reranker import Reranker
from .scoring.backend import Backend, create

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

        A list of (reranker, depth) is a cascade. A dict with one key of ``cascade``, ``ensemble``,
        ``interpolation``, ``rrf``, ``segments`` and ``windows`` has the arguments of that class of
        `pyserini_rerank.combining`; ``{"model": name, ...}`` has options for that checkpoint alone, and
        ``"first-stage"`` is the first stage's own score. They nest. The same in YAML is the name of a file
        that ends in ``.yaml``, or a string that begins with ``{`` or ``[``.
    backend : str
        What computes the scores: ``"torch"``, ``"sentence-transformers"``, ``"onnx"``, ``"openvino"``, ``"http"``
        (`name` is then a server's URL), or a backend that another package brings (entry points of the group
        ``pyserini_rerank.backends``). ``"auto"`` measures torch, onnx and openvino once, and takes the fastest that
        ranks as well as torch in float32; so does ``dtype="auto"`` for a backend's dtypes: see
        `pyserini_rerank.automatic.pick`.
    cache : path, optional
        A folder where scores are kept, and looked up before they are computed; see
        `pyserini_rerank.scoring.cache.CachedBackend`.
    **options
        The backend's own; for torch see `pyserini_rerank.scoring.torch.TorchBackend`: `device` (or several; see
        `pyserini_rerank.scoring.devices`), `dtype`, `max_length`, `batch_tokens`, `processes`, `head`, `known_as`.

    Raises
    ------
    OSError
        There is no such folder, it holds no checkpoint, or the hub cannot be reached.
    ValueError, TypeError
        The checkpoint cannot be read without guessing (pass `head=`), it lacks weights, the device is
        not there, there is no such backend, or a combination is none of the above.
    """

    def make(part: Any) -> Reranker:
        if isinstance(part, Reranker):
            return part
        if isinstance(part, Mapping):
            return _combined(part, make, model)
        if isinstance(part, Sequence) and not isinstance(part, str):
            return Cascade(_numbered(part, make))
        if part == FIRST_STAGE:
            return FirstStage()
        return model(part)

    def model(name: str | os.PathLike[str], **own: Any) -> Reranker:
        given = {"backend": backend, **options, **own}
        if "auto" in (given["backend"], given.get("dtype")):
            from .automatic import pick

            given = pick(name, given)
        made: Backend = create(given.pop("backend"))(name, **given)
        if cache is not None:
            from .scoring.cache import CachedBackend

            made = CachedBackend(made, cache)
        # Its own options tell it from the same checkpoint with others.
        shown = f"({', '.join(f'{option}={value}' for option, value in own.items())})" if own else ""
        return ModelReranker(made, os.fspath(name) + shown)

    return make(_read(name))


def _read(name: Any) -> Any:
    """Read what is YAML; give everything else back."""
    if not isinstance(name, str | os.PathLike):
        return name
    text = os.fspath(name)
    is_file = text.endswith((".yaml", ".yml"))
    if not is_file and not text.startswith(("{", "[")):
        return name
    try:
        return yaml.safe_load(read_text(text) if is_file else text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{text} is no YAML: {' '.join(str(error).split())}") from None


def _combined(part: Mapping[str, Any], make: Callable[[Any], Reranker], model: Callable[..., Reranker]) -> Reranker:
    if "model" in part:
        return model(part["model"], **{name: value for name, value in part.items() if name != "model"})
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
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise ValueError(f"{parts!r} is no list of pairs of a reranker and a number (its depth, or its weight).")
    for part in parts:
        if not (isinstance(part, Sequence) and len(part) == 2 and isinstance(part[1], int | float)):
            raise ValueError(f"{part!r} is no pair of a reranker and a number (its depth, or its weight).")
    return [(make(part), number) for part, number in parts]
