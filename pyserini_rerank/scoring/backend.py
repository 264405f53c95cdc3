"""What a backend is, and finding one by its name."""

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

GROUP = "pyserini_rerank.backends"
#: The package's own backends: a module of `backends`, and the callable there that makes one.
BUILT_IN = {
    "torch": ("devices_backend", "torch_backend"),
    "sentence-transformers": ("sentence_transformers_backend", "SentenceTransformersBackend"),
    "onnx": ("onnx_backend", "OnnxBackend"),
    "openvino": ("openvino_backend", "OpenVinoBackend"),
    "http": ("http_backend", "HttpBackend"),
}


class OutOfMemoryWarning(UserWarning):
    """The device has less memory than the budget of tokens needs, and batches were cut."""


class DeviceLostWarning(UserWarning):
    """The process of one of several devices has ended, and the others do its work."""


@dataclass(frozen=True)
class Batch:
    """Pairs that go through the model together."""

    positions: NDArray[np.intp]
    """Their positions among the pairs that were planned, (n,)."""
    inputs: Any
    """What the backend's `run` needs of them."""


@dataclass(frozen=True)
class Plan:
    """The batches of some pairs, and how many of their texts were cut or are unknown."""

    batches: Sequence[Batch]
    cut_passages: int = 0
    cut_queries: int = 0
    unknown: int = 0
    """Passages with more unknown tokens than known ones."""


class Backend(Protocol):
    """Computes the scores of pairs, in batches that it plans itself.

    A backend is made by a callable ``make(name, **options)``, which an entry point of the group
    ``pyserini_rerank.backends`` names. It may have members of `FullBackend` as well.

    `pyserini_rerank.testing` has the tests that a backend has to pass.
    """

    @property
    def max_length(self) -> int:
        """Tokens of a pair beyond which it is cut; 0 where the backend cannot know."""

    @property
    def fingerprint(self) -> str:
        """Stands for all that changes the scores (weights, head, max_length, dtype); empty: they cannot be cached."""

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Put pairs into batches. The plan has to be a function of the pairs alone, so that a run can be
        repeated to the bit; it may be called from several threads at once."""

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch: float32 (n,), higher is better; called by no more threads at a time than it has `workers`."""

    def close(self) -> None:
        """Free the device."""


@runtime_checkable
class FullBackend(Backend, Protocol):
    """A backend with all members. `complete` fills in those that a backend has left out."""

    @property
    def scale(self) -> Scale:
        """What its scores are: see `pyserini_rerank.scales`; ``"logit"`` where it is left out."""

    @property
    def workers(self) -> int:
        """How many calls of `run` may be under way, of as many threads; 1 where it is left out."""

    @property
    def vocabulary(self) -> str | None:
        """The fingerprint of its tokenizer, as `pyserini_rerank.scoring.encoding.encoder.vocabulary` gives it; None,
        or left out, where it takes no passages as `Tokens`."""

    def tokenize(self, texts: Sequence[str]) -> list[bytes]:
        """Give each text's `Tokens.ids`; only called where there is a vocabulary."""

    @property
    def description(self) -> Mapping[str, str]:
        """What a report says of where the scores were computed: device, dtype and the like."""

    @property
    def known_scores(self) -> int:
        """How many scores came from a cache so far."""


def complete(backend: Backend) -> FullBackend:
    """Give a backend the members of `FullBackend` that it has left out."""
    return backend if isinstance(backend, FullBackend) else cast(FullBackend, _Completed(backend))


class TextBackend:
    """The further members of a backend that takes texts alone and runs one batch at a time."""

    scale: Scale = "logit"
    workers: int = 1
    vocabulary: str | None = None
    known_scores: int = 0

    @property
    def description(self) -> Mapping[str, str]:
        return {}

    def tokenize(self, texts: Sequence[str]) -> list[bytes]:
        raise TypeError("this backend takes texts and no tokens.")


class _Completed(TextBackend):
    """A backend with its own members, and the defaults of the others."""

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
    """Find the maker of a backend.

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
    """Make a backend of a name and its options.

    Parameters
    ----------
    backend : str
        See `create`.
    name : str or path
        The checkpoint, or what else the backend takes.

    Raises
    ------
    ValueError
        There is no such backend.
    TypeError
        It has no such option, or needs one that was not given; the message names those that there are.
    As the backend's maker.
    """
    maker = create(backend)
    parameters = list(inspect.signature(maker).parameters.values())[1:]
    options_there = {
        option.name: option.default is option.empty
        for option in parameters
        if option.kind in (option.KEYWORD_ONLY, option.POSITIONAL_OR_KEYWORD)
    }
    takes_any = any(option.kind == option.VAR_KEYWORD for option in parameters)
    unknown = [] if takes_any else [option for option in options if option not in options_there]
    missing = [option for option, is_needed in options_there.items() if is_needed and option not in options]
    if unknown or missing:
        said = f"has no option {unknown[0]!r}" if unknown else f"needs the option {missing[0]!r}"
        raise TypeError(f"the backend {backend!r} {said}: there are {', '.join(options_there) or 'none'}.")
    return maker(name, **options)
