"""Where a document's text comes from.

First the hit's own stored document; where it has no text, another index, a mapping or a callable.
A text is never looked up by a docid that Pyserini has cut (`strip_segment_id`): the stored id counts.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, Protocol

from .candidates import Candidates, Fields, read_documents
from .formats import Template, text_of_fields
from .jvm import JAVA_LOCK

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

Read = Callable[[Fields], str | None]

#: What to do about a hit without text.
PASS_TEXTS = (
    "pass texts=, with an index that stores text (a searcher, a path or a prebuilt name), a mapping or callable from "
    "docid to text, or a Template for JSON of your own."
)


class MissingText(LookupError):
    """A hit has no text that could be scored."""


class Source(Protocol):
    """Gives documents' texts: None where there is no text, "" where there is a document without any.

    What is no string (a passage that was tokenized before) is passed on to the backend as it is.
    """

    @property
    def place(self) -> str:
        """Where it looks, as an error says it."""

    @property
    def remedy(self) -> str:
        """What to do about a document that it does not have."""

    @property
    def reads_documents(self) -> bool:
        """Does it read the documents that the hits store?"""

    def read(self, docids: Sequence[str], documents: Sequence[Fields | None]) -> Sequence[Any]: ...


def read(source: Source, candidates: Candidates) -> list[Any]:
    """Read the candidates' texts, as many as have been read of them.

    Raises
    ------
    MissingText
        A hit has no text; the message names it, and what to do.
    ValueError
        A document is there but cannot be read as text.
    """
    hits = zip(candidates.docids, candidates.documents, strict=True)
    texts = source.read([fields.get("id", docid) if fields else docid for docid, fields in hits], candidates.documents)
    for docid, text in zip(candidates.docids, texts, strict=True):
        if text is None:
            raise MissingText(f"hit {docid} has no text in {source.place}: {source.remedy}")
    return [clean(text) if isinstance(text, str) else text for text in texts]


def clean(text: str) -> str:
    """Give a text as it is scored. Half of a surrogate pair is no character, and no tokenizer takes it."""
    return _LONE_SURROGATE.sub("\ufffd", text).strip()


def resolve(texts: Any, searcher: Any) -> Source:
    """Decide where the text of a searcher's hits comes from.

    Parameters
    ----------
    texts
        None: the stored documents, else the index that Pyserini's catalogue names for a prebuilt one.
        A searcher, or the path or prebuilt name of an index: the documents stored there.
        A mapping (a pandas Series is one) or a callable from docid to text. A `Template` for documents of one's own
        making.
    searcher
        The first stage.

    Raises
    ------
    FileNotFoundError
        `texts` names an index that is neither a folder nor in Pyserini's catalogue.
    TypeError
        `texts` is none of the above.
    """
    if texts is None:
        return Stored(searcher, text_of_fields)
    if isinstance(texts, Template):
        return Stored(searcher, texts) if texts.index is None else Index(open_index(texts.index), texts)
    if isinstance(texts, Mapping) or (hasattr(texts, "keys") and not hasattr(texts, "columns")):  # a pandas Series
        return _checked(texts.get, "the mapping given as texts=")
    if isinstance(texts, str | os.PathLike) or hasattr(texts, "doc"):
        return Index(open_index(texts), text_of_fields)
    if callable(texts):
        return _checked(texts, "what the callable given as texts= returns")
    raise TypeError(
        "texts= takes a searcher, an index's path or name, a mapping, a callable or a Template, "
        f"not {type(texts).__name__}."
    )


class Stored:
    """Texts from the hits' stored documents; for those without, from the index that belongs to them."""

    remedy = PASS_TEXTS
    reads_documents = True

    def __init__(self, searcher: Any, fields_to_text: Read) -> None:
        self.searcher = searcher
        self.fields_to_text = fields_to_text

    @cached_property
    def index(self) -> "Index | None":
        """The index that belongs to the searcher's; looked for once, when a hit lacks its text."""
        found = text_index(self.searcher)
        return Index(found, self.fields_to_text) if found else None

    @property
    def place(self) -> str:
        if self.index:
            return self.index.place
        return f"the index of {type(self.searcher).__name__}" if self.searcher else "its stored document"

    def read(self, docids: Sequence[str], documents: Sequence[Fields | None]) -> list[str | None]:
        texts = [text_of(self.fields_to_text, *hit) for hit in zip(docids, documents, strict=True)]
        lacking = [i for i, text in enumerate(texts) if not text]
        if lacking and self.index:
            looked_up = self.index.read([docids[i] for i in lacking], [])
            for i, text in zip(lacking, looked_up, strict=True):
                texts[i] = texts[i] if text is None else text  # an empty document stays one
        return texts


class Index:
    """Texts from the documents that an index stores."""

    remedy = PASS_TEXTS
    reads_documents = False

    def __init__(self, searcher: Any, fields_to_text: Read) -> None:
        self.searcher = searcher
        self.fields_to_text = fields_to_text
        self.place = f"the text index {getattr(searcher, 'index_dir', type(searcher).__name__)}"

    def read(self, docids: Sequence[str], documents: Sequence[Fields | None]) -> list[str | None]:
        found = self._documents(docids)
        return [text_of(self.fields_to_text, docid, found.get(docid)) for docid in docids]

    def _documents(self, docids: Sequence[str]) -> dict[str, Fields]:
        if hasattr(getattr(self.searcher, "object", None), "batch_get_docs"):
            from pyserini.pyclass import JArrayList

            threads = os.cpu_count()
            with JAVA_LOCK:
                java = JArrayList()
                for docid in dict.fromkeys(docids):
                    java.add(docid)
                return read_documents(self.searcher.object.batch_get_docs(java, threads))
        # One that is not Pyserini's may have threads that need the lock, so it is held for Pyserini's alone.
        with JAVA_LOCK if type(self.searcher).__module__.startswith("pyserini.") else nullcontext():
            documents = {docid: self.searcher.doc(docid) for docid in docids}
        with JAVA_LOCK:
            return {
                docid: {name: document.get(name) for name in ("raw", "contents") if document.get(name) is not None}
                for docid, document in documents.items()
                if document is not None
            }


class Function:
    """Passages by docid from a callable."""

    remedy = PASS_TEXTS
    reads_documents = False

    def __init__(self, get: Callable[[str], Any], place: str) -> None:
        self.get = get
        self.place = place

    def read(self, docids: Sequence[str], documents: Sequence[Fields | None]) -> list[Any]:
        return [self.get(docid) for docid in docids]


def _checked(get: Callable[[str], Any], place: str) -> Function:
    """Make a source of a user's own mapping or callable, which may give anything."""

    def checked(docid: str) -> str | None:
        text = get(docid)
        if text is not None and not isinstance(text, str):
            raise TypeError(f"the text of {docid} in {place} is {type(text).__name__}, not str.")
        return text

    return Function(checked, place)


def text_index(searcher: Any) -> Any:
    """Find the index that has the texts of a searcher's documents; None where nothing says which.

    A hybrid searcher's is that of its parts, a Faiss searcher's the one that Pyserini opened with it. That
    of a prebuilt index is the one that Pyserini's catalogue names, else the one with the stem of its name
    (the catalogue names none for MS MARCO's impact indexes: ``msmarco-v1-passage.splade-v3`` has its text
    in ``msmarco-v1-passage``).
    """
    if hasattr(searcher, "sparse_searcher"):
        sparse = searcher.sparse_searcher
        return sparse if hasattr(sparse, "batch_doc") else text_index(sparse) or text_index(searcher.dense_searcher)
    if getattr(searcher, "ssearcher", None):
        return searcher.ssearcher
    name = getattr(searcher, "prebuilt_index_name", None)
    if not name:
        return None
    from pyserini import prebuilt_index_info as catalogue

    infos = (
        catalogue.TF_INDEX_INFO,
        catalogue.FAISS_INDEX_INFO,
        catalogue.IMPACT_INDEX_INFO,
        catalogue.LUCENE_HNSW_INDEX_INFO,
        catalogue.LUCENE_FLAT_INDEX_INFO,
    )
    named = [entries[name].get("texts") for entries in infos if name in entries]
    for candidate in (*named, name.split(".")[0]):
        if candidate and candidate != name and candidate in catalogue.TF_INDEX_INFO:
            return open_index(candidate)
    return None


def open_index(index: Any) -> Any:
    """Open the index at a path or of a prebuilt name; a searcher is one already."""
    if not isinstance(index, str | os.PathLike):
        return index
    from pyserini.search.lucene import LuceneSearcher

    if os.path.isdir(index):
        try:
            return LuceneSearcher(os.fspath(index))
        except Exception as error:
            raise FileNotFoundError(
                f"texts= names the folder {os.fspath(index)}, which Lucene cannot open as an index "
                f"({str(error).splitlines()[0]})."
            ) from None
    from pyserini.prebuilt_index_info import TF_INDEX_INFO

    if index not in TF_INDEX_INFO:
        raise FileNotFoundError(
            f"texts= names {os.fspath(index)!r}, which is neither a folder nor a prebuilt index of Pyserini's: "
            "LuceneSearcher.list_prebuilt_indexes() lists those."
        )
    try:
        searcher = LuceneSearcher.from_prebuilt_index(index)
    except AssertionError as error:  # a wrong checksum
        raise ConnectionError(f"the prebuilt index {index!r} came damaged ({error}): fetch it again.") from None
    if searcher is None:  # Pyserini has printed why
        raise ConnectionError(f"the prebuilt index {index!r} cannot be fetched: texts= takes the path of a local one.")
    return searcher


def text_of(fields_to_text: Read, docid: str, fields: Fields | None) -> str | None:
    """Give a document's text; a failure names the document."""
    try:
        return fields_to_text(fields) if fields else None
    except ValueError as error:
        raise ValueError(f"document {docid}: {error}") from None
