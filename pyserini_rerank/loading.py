"""A user's words to a reranker: a checkpoint's name, or how several are combined."""

import os
from typing import Any

from .combining.maker import Maker
from .model import ModelReranker
from .reranker import Reranker


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
    name: Any,
    *,
    backend: str = "torch",
    cache: str | os.PathLike[str] | None = None,
    needs_cache: bool = True,
    **options: Any,
) -> tuple[Reranker, list[ModelReranker]]:
    """Load a reranker, and tell which checkpoints were loaded for it: those are the caller's to close, and not the
    rerankers that a combination was given.

    Parameters and errors are those of `load`, and `needs_cache`: without it a checkpoint whose scores cannot be kept,
    since nothing stands for the model behind a server's URL, does without the cache.
    """
    with Maker(backend, cache, options, needs_cache=needs_cache) as maker:
        reranker = maker.make(name)
        asked = [*options, *["backend"] * (backend != "torch"), *["cache"] * (needs_cache and cache is not None)]
        if asked and maker.given and not maker.loaded:
            given = " and ".join(dict.fromkeys(reranker.name for reranker in maker.given))
            raise TypeError(f"{', '.join(asked)}: give these to the load() that made {given}, nothing is loaded here.")
        return reranker, maker.loaded
