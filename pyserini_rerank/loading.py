"""`load`: from a checkpoint's name, or a description of a combination, to a reranker."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .combining.maker import Maker
from .model import ModelReranker
from .reranker import Reranker
from .scoring.door import close_all


def load(name: Any, *, backend: str = "torch", cache: str | os.PathLike[str] | None = None, **options: Any) -> Reranker:
    """Load a checkpoint, or a combination of several.

    Parameters
    ----------
    name : str, path, list or dict
        A hub name, such as ``"cross-encoder/ms-marco-MiniLM-L-6-v2"``; the path of a local folder;
        or ``"bundled"``, the MiniLM-L-12 of the extra `bundled-model`.

        A list (or another iterable) of pairs (reranker, depth) is a cascade. A dict with one of the keys ``cascade``,
        ``ensemble``, ``interpolation``, ``rrf``, ``segments`` and ``windows`` has the arguments of that class of
        `pyserini_rerank.combining`. ``{"model": name, ...}`` has options for that checkpoint alone, and
        ``"first-stage"`` is the first stage's own score. All of these nest. They can be written in YAML as well: `name`
        is then a file that ends in ``.yaml``, or a string that begins with ``{`` or ``[``.
    backend : str
        The backend that computes the scores: ``"torch"``, ``"sentence-transformers"``, ``"onnx"``, ``"openvino"``,
        ``"http"`` (`name` is then a server's URL), or a backend of another package (an entry point of the group
        ``pyserini_rerank.backends``). ``"auto"`` measures torch, onnx and openvino once, and takes the fastest that
        ranks as well as torch in float32. ``dtype="auto"`` does the same for a backend's dtypes. See
        `pyserini_rerank.automatic.pick`.
    cache : path, optional
        A folder where scores are kept, and looked up before they are computed; see
        `pyserini_rerank.scoring.backends.cached_backend.CachedBackend`.
    **options
        Options of the backend. For torch they are `device` (one, or several: see
        `pyserini_rerank.scoring.backends.devices_backend`), `dtype`, `max_length`, `batch_tokens`, `threads`,
        `head`, `known_as`, `revision` and `instruction`: see
        `pyserini_rerank.scoring.backends.torch_backend.TorchBackend`.

    Raises
    ------
    OSError
        There is no such folder, it holds no checkpoint, or the hub cannot be reached.
    ValueError, TypeError
        The checkpoint does not say how it scores (pass `head=`), or lacks weights; the device is not there; there is no
        such backend; a combination is none of the above, or holds itself; there are options, but every reranker was
        loaded before.
    """
    reranker, _ = load_models(name, backend=backend, cache=cache, **options)
    return reranker


@contextmanager
def loaded(name: Any, **options: Any) -> Iterator[Reranker]:
    """Load a reranker for a block, and close what was loaded for it; see `load_models`."""
    reranker, models = load_models(name, **options)
    try:
        yield reranker
    finally:
        close_all(models)


def load_models(
    name: Any,
    *,
    backend: str = "torch",
    cache: str | os.PathLike[str] | None = None,
    needs_cache: bool = True,
    **options: Any,
) -> tuple[Reranker, list[ModelReranker]]:
    """Load a reranker, and list the checkpoints that were loaded for it.

    The caller closes these. Rerankers that a combination was given stay open.

    Parameters and errors are those of `load`, and one more:

    Parameters
    ----------
    needs_cache : bool
        Raise an error where a checkpoint's scores cannot be cached (nothing identifies the model behind a server's
        URL). If False, such a checkpoint does without the cache.
    """
    with Maker(backend, cache, options, needs_cache=needs_cache) as maker:
        reranker = maker.make(name)
        set_here = [*options, *["backend"] * (backend != "torch"), *["cache"] * (needs_cache and cache is not None)]
        if set_here and maker.reused and not maker.loaded:
            names = " and ".join(dict.fromkeys(reranker.name for reranker in maker.reused))
            raise TypeError(
                f"{', '.join(set_here)}: give these to the load() that made {names}; nothing is loaded here."
            )
        return reranker, maker.loaded
