"""Opening the source of the texts of a searcher's hits."""

import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, cast

from ..retrieval.candidates import Fields
from .collection import Collection
from .formats import Template, text_of_fields
from .source import Source, TextSource
from .stored import IndexTexts, StoredTexts, open_index, text_index

#: The choices for a hit whose document has no text.
MISSING = ("error", "skip")


def open_source(texts: Any, searcher: Any, missing: str = "error") -> Source:
    """Open the source of the texts of a searcher's hits.

    Parameters
    ----------
    texts, searcher
        See `resolve`.
    missing : str
        What to do about a hit whose document has no text there: ``"error"`` raises, and ``"skip"`` does not score the
        hit. It then follows below the reranked hits, as a hit with an empty text does.

    Raises
    ------
    ValueError
        `missing` is neither of the two.
    As `resolve`.
    """
    if missing not in MISSING:
        raise ValueError(f"missing={missing!r}: give {' or '.join(map(repr, MISSING))}.")
    source = resolve(texts, searcher)
    source.skips_missing = missing == "skip"
    return source


def open_by_docid(texts: Any, searcher: Any) -> Source:
    """Open the source of the texts of documents that a searcher has not found: they come by docid, from its index.

    Parameters and errors are those of `open_source`. A document without text is skipped.
    """
    template = texts if isinstance(texts, Template) and texts.index is None else None
    if (texts is None or template) and searcher is not None:
        index = text_index(searcher) or searcher
        if hasattr(index, "doc"):
            return IndexTexts(index, template or text_of_fields)
    return open_source(texts, searcher, "skip")


def resolve(texts: Any, searcher: Any) -> Source:
    """Find the source of the text of a searcher's hits.

    Parameters
    ----------
    texts
        None: the hits' stored documents; for hits without them, the text index that Pyserini's catalogue names for the
        searcher's prebuilt index.
        A searcher, or the path or prebuilt name of an index: the documents stored there.
        The path of a collection file, JSON lines or TSV: it is read through once, here, and then from the disk; see
        `pyserini_rerank.texts.collection.Collection`.
        A mapping (such as a dict or a pandas Series) or a callable from docid to text.
        A `Template`, for JSON documents with other fields.
    searcher
        The first stage.

    Raises
    ------
    FileNotFoundError
        `texts` is a name, but there is no such file, folder, or index in Pyserini's catalogue.
    ValueError
        The collection file cannot be read.
    TypeError
        `texts` is none of the above.
    """
    if texts is None:
        return StoredTexts(searcher, text_of_fields)
    if isinstance(texts, Template):
        return StoredTexts(searcher, texts) if texts.index is None else IndexTexts(open_index(texts.index), texts)
    if isinstance(texts, Mapping) or (hasattr(texts, "keys") and not hasattr(texts, "columns")):  # a pandas Series
        return _checked(_getter(texts), "the mapping given as texts=")
    if isinstance(texts, str | os.PathLike) and os.path.exists(texts) and not os.path.isdir(texts):
        return CallableTexts(Collection(Path(texts)).get, os.fspath(texts))
    if isinstance(texts, str | os.PathLike) or hasattr(texts, "doc"):
        return IndexTexts(open_index(texts), text_of_fields)
    if callable(texts):
        return _checked(texts, "what the callable given as texts= returns")
    raise TypeError(
        "texts= takes a searcher, an index's path or name, a collection file, a mapping, a callable or a Template, "
        f"not {type(texts).__name__}."
    )


def _getter(texts: Any) -> Callable[[str], Any]:
    """Give the function that looks a docid up in a mapping, whose docids may be numbers, such as MS MARCO's."""
    if not isinstance(next(iter(texts.keys()), None), Integral):
        return cast("Callable[[str], Any]", texts.get)
    return lambda docid: texts.get(int(docid)) if docid.isdecimal() else None


class CallableTexts(TextSource):
    """Texts that a callable gives by docid."""

    def __init__(self, get: Callable[[str], Any], location: str) -> None:
        self.get = get
        self.location = location

    def read(self, docids: Sequence[str], documents: Sequence[Fields | None]) -> list[Any]:
        return [self.get(docid) for docid in docids]


def _checked(get: Callable[[str], Any], location: str) -> CallableTexts:
    """Make a source of a user's own mapping or callable, and check each result, since it may be of any type."""

    def checked(docid: str) -> str | None:
        text = get(docid)
        if text is not None and not isinstance(text, str):
            raise TypeError(f"the text of {docid!s:.50} in {location} is {type(text).__name__}, not str.")
        return text

    return CallableTexts(checked, location)
