"""Facts about a combination from its description, which `settled` has copied, without loading it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..reranker import Reranker
from .cascade import Cascade
from .maker import numbered, read_combination, read_mapping
from .segments import Segments


def last_depths(part: Any) -> Iterator[int]:
    """Give the depths of the last stages of all cascades; raises ValueError where a part is no reranker."""
    part = read_combination(part)
    inner: Iterable[Any] = ()
    if isinstance(part, list):
        part = {"cascade": part}
    if isinstance(part, Reranker):
        yield from part.depths[-1:] if isinstance(part, Cascade) else ()
        inner = part.parts
    elif isinstance(part, Mapping) and "model" not in part:
        kind, first, arguments = read_mapping(part)
        pairs = [] if first == "reranker" else numbered(arguments[first])
        yield from [depth for _, depth in pairs[-1:]] if kind == "cascade" else ()
        inner = [item for item, _ in pairs] if pairs else [arguments[first]]
    for item in inner:
        yield from last_depths(item)


def ranks_documents(part: Any) -> bool:
    """Tell whether a reranker ranks documents where the first stage has their segments."""
    part = read_combination(part)
    return isinstance(part, Segments) or (isinstance(part, Mapping) and "segments" in part)
