"""The protocol of a backend, and the registry that finds a backend by its name."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..passages import Tokens
from ..scales import Scale

#: A query and a passage.
Pair = tuple[str, str | Tokens]
#: Positions of pairs among the pairs that were planned.
Positions = Sequence[int] | NDArray[np.intp]

GROUP = "pyserini_rerank.backends"
#: The package's backends by name: a module of `backends`, and the callable in it that makes the backend.
BUILT_IN = {
    "torch": ("devices_backend", "torch_backend"),
    "sentence-transformers": ("sentence_transformers_backend", "SentenceTransformersBackend"),
    "onnx": ("onnx_backend", "OnnxBackend"),
    "openvino": ("openvino_backend", "OpenVinoBackend"),
    "http": ("http_backend", "HttpBackend"),
}


class OutOfMemoryWarning(UserWarning):
    """The device has too little memory for the budget of tokens, so that its batches were cut into smaller ones."""


class BackendFault(ValueError):
    """A server or a file behind a backend is at fault, and not the pairs."""


class DeviceLostWarning(UserWarning):
    """The process of one of several devices has ended, and the other devices do its work."""


@dataclass(frozen=True)
class Batch:
    """Pairs that go through the model together."""

    positions: NDArray[np.intp]
    """The positions of its pairs among the pairs that were planned, (n,)."""
    inputs: Any
    """The pairs in the form that the backend's `run` reads."""


@dataclass(frozen=True)
class Plan:
    """The batches of a sequence of pairs, and the pairs whose texts are cut or are mostly unknown to the tokenizer."""

    batches: Sequence[Batch]
    cut_passages: Positions = ()
    """The positions of the pairs whose passage is cut."""
    cut_queries: Positions = ()
    """The positions of the pairs whose query is cut."""
    unknown: Positions = ()
    """The positions of the pairs whose passage has at least as many unknown tokens as known ones."""
    tokens: NDArray[np.int64] | None = None
    """The number of tokens of each pair that the model reads, (n,); None if the backend does not know it."""


class Backend(Protocol):
    """Computes the scores of pairs, in batches that it plans itself.

    An entry point of the group ``pyserini_rerank.backends`` names a callable ``make(name, **options)``, which makes
    the backend. A backend may have members of `FullBackend` as well.

    `pyserini_rerank.testing` has the tests that a backend has to pass.
    """

    @property
    def max_length(self) -> int:
        """The number of tokens to which a pair is cut; 0 if the backend does not know it."""

    @property
    def fingerprint(self) -> str:
        """Identifies all that changes the scores (weights, head, max_length, dtype); empty if they cannot be cached."""

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Put pairs into batches.

        The plan has to depend on the pairs alone, so that a run can be repeated to the bit. Several threads may call
        this at once.
        """

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch: float32 (n,), higher is better. At most `workers` threads call this at once."""

    def close(self) -> None:
        """Free the device."""


@runtime_checkable
class FullBackend(Backend, Protocol):
    """A backend with the optional members as well; `complete` adds the ones that a backend has left out."""

    @property
    def scale(self) -> Scale:
        """The scale of the scores: see `pyserini_rerank.scales`; by default ``"logit"``."""

    @property
    def workers(self) -> int:
        """How many threads may call `run` at once; by default 1."""

    @property
    def vocabulary(self) -> str | None:
        """The fingerprint of the tokenizer, as `pyserini_rerank.scoring.encoding.vocabulary.vocabulary` gives it.

        It is None, which is the default, if the backend takes no passages as `Tokens`.
        """

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Give the tokens of texts; called only if `vocabulary` is not None."""

    @property
    def description(self) -> Mapping[str, str]:
        """Where the scores are computed, for a report: device, dtype and the like."""

    @property
    def known_scores(self) -> int:
        """How many scores have come from a cache."""

    @property
    def budget(self) -> int:
        """About how many tokens of several callers go into a batch together; by default 4,096."""


def complete(backend: Backend) -> FullBackend:
    """Give a backend the members of `FullBackend` that it has left out."""
    return backend if isinstance(backend, FullBackend) else cast(FullBackend, _Completed(backend))


def score(backend: Backend, pairs: Sequence[Pair]) -> NDArray[np.float32]:
    """Score pairs as a reranker does: float32 (n,), NaN for a pair that the plan leaves out."""
    scores = np.full(len(pairs), np.nan, dtype=np.float32)
    for batch in backend.plan(pairs).batches:
        scores[batch.positions] = backend.run(batch)
    return scores


class TextBackend:
    """The optional members of a backend that takes texts only and runs one batch at a time."""

    scale: Scale = "logit"
    workers: int = 1
    vocabulary: str | None = None
    known_scores: int = 0
    budget: int = 4096

    @property
    def description(self) -> Mapping[str, str]:
        return {}

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        raise TypeError("this backend takes texts and no tokens.")


class _Completed(TextBackend):
    """A backend with the members that it has, and defaults for the optional ones that it lacks."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattribute__(self, name: str) -> Any:
        backend = object.__getattribute__(self, "_backend")
        try:
            return getattr(backend, name)
        except AttributeError:
            # No default may hide that a property fails.
            if isinstance(getattr(type(backend), name, None), property | cached_property):
                raise
            return object.__getattribute__(self, name)


def create(name: str) -> Callable[..., Backend]:
    """Find the callable that makes the backends of a name.

    Raises
    ------
    ValueError
        There is no backend of that name.
    """
    if name in BUILT_IN:
        module, attribute = BUILT_IN[name]
        maker: Callable[..., Backend] = getattr(import_module(f".backends.{module}", __package__), attribute)
        return maker
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in installed:
        raise ValueError(f"there is no backend {name!r}: there are {', '.join(sorted({*BUILT_IN, *installed}))}.")
    installed_maker: Callable[..., Backend] = installed[name].load()
    return installed_maker


def make_backend(backend: str, name: Any, options: Mapping[str, Any]) -> Backend:
    """Make a backend for a checkpoint.

    Parameters
    ----------
    backend : str
        See `create`.
    name : str or path
        The checkpoint, or whatever else the backend takes, such as the URL of a server.

    Raises
    ------
    ValueError
        There is no such backend.
    TypeError
        The backend has no such option, or needs an option that was not given; the message lists its options.
    As the backend's maker.
    """
    maker = create(backend)
    parameters = list(inspect.signature(maker).parameters.values())[1:]
    is_needed_by_option = {
        option.name: option.default is option.empty
        for option in parameters
        if option.kind in (option.KEYWORD_ONLY, option.POSITIONAL_OR_KEYWORD)
    }
    takes_any_option = any(option.kind == option.VAR_KEYWORD for option in parameters)
    unknown = [] if takes_any_option else [option for option in options if option not in is_needed_by_option]
    missing = [option for option, is_needed in is_needed_by_option.items() if is_needed and option not in options]
    if unknown or missing:
        problem = f"has no option {unknown[0]!r}" if unknown else f"needs the option {missing[0]!r}"
        raise TypeError(f"the backend {backend!r} {problem}: there are {', '.join(is_needed_by_option) or 'none'}.")
    return maker(name, **options)
