"""What a backend is, and finding one by its name."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Tokens(NamedTuple):
    """A passage that was tokenized before; only backends with a `vocabulary` are given any."""

    ids: bytes
    """Its tokens' ids in little-endian int32, without special tokens and uncut; a text may have none."""
    text: int
    """A hash of its text. Texts with the same tokens ("Flea", "flea") stay different passages, as they are
    untokenized: the batches, and with them the last bit of every score, are the same either way."""


#: A query and a passage.
Pair = tuple[str, str | Tokens]

GROUP = "pyserini_rerank.backends"
BUILT_IN = {
    "torch": "pyserini_rerank.scoring.devices:torch_backend",
    "sentence-transformers": "pyserini_rerank.scoring.sentence_transformers:SentenceTransformersBackend",
    "onnx": "pyserini_rerank.scoring.onnx:OnnxBackend",
    "openvino": "pyserini_rerank.scoring.openvino:OpenVinoBackend",
    "http": "pyserini_rerank.scoring.http:HttpBackend",
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
    """The batches of some pairs, and what had to be done to fit them in."""

    batches: Sequence[Batch]
    cut_passages: int = 0
    cut_queries: int = 0
    unknown: int = 0
    """Passages with more unknown tokens than known ones."""


class Backend(Protocol):
    """Computes the scores of pairs, in batches that it plans itself.

    A backend is made by a callable ``make(name, **options)``, which is what an entry point of the
    group ``pyserini_rerank.backends`` names. One that takes passages as `Tokens` has two more members:
    `vocabulary`, the fingerprint of its tokenizer, as `pyserini_rerank.scoring.pairs.vocabulary` gives it, and
    ``tokenize(texts)``, which gives the `ids` of each text. One that scores several batches at once has `workers`:
    how many calls of `run` may be under way, of as many threads; 1 where there is none. One whose scores are not raw
    logits has a `scale`: see `pyserini_rerank.scales`.

    `pyserini_rerank.scoring.contract` tests that a backend does what is asked of it here.
    """

    max_length: int
    """Tokens of a pair beyond which it is cut; 0 where the backend cannot know."""
    fingerprint: str
    """Stands for all that changes the scores (weights, head, max_length, dtype); empty: they cannot be cached."""

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Put pairs into batches. The plan has to be a function of the pairs alone, so that a run can be
        repeated to the bit; it may be called from several threads at once."""

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch: float32 (n,), raw logits, higher is better; called by no more threads at a time than it
        has `workers`."""

    def close(self) -> None:
        """Free the device."""


def create(name: str) -> Callable[..., Backend]:
    """Find the maker of a backend.

    Raises
    ------
    ValueError
        There is no backend of that name.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in installed:
        raise ValueError(f"there is no backend {name!r}: there are {', '.join(sorted({*BUILT_IN, *installed}))}.")
    return installed[name].load()  # type: ignore[no-any-return]


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
    made: Backend = maker(name, **options)
    return made
