"""Texts that an index stores: with the hits themselves, or in another index."""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

from ..retrieval.candidates import Fields, read_documents
from ..retrieval.jvm import JAVA_LOCK
from .source import TextSource

Read = Callable[[Fields], str | None]


class StoredTexts(TextSource):
    """Texts from the hits' stored documents; for hits without text, from the text index of the searcher."""

    reads_documents = True

    def __init__(self, searcher: Any, fields_to_text: Read) -> None:
        self.searcher = searcher
        self.fields_to_text = fields_to_text

    @cached_property
    def index(self) -> "IndexTexts | None":
        """The text index of the searcher; it is looked for once, when a hit lacks its text."""
        searcher = text_index(self.searcher)
        return IndexTexts(searcher, self.fields_to_text) if searcher else None

    @property
    def location(self) -> str:
        if self.index:
            return self.index.location
        return f"the index of {type(self.searcher).__name__}" if self.searcher else "its stored document"

    def read(self, docids: Sequence[str], documents: Sequence[Fields | None]) -> list[str | None]:
        texts = [_text_of(self.fields_to_text, *hit) for hit in zip(docids, documents, strict=True)]
        lacking = [i for i, text in enumerate(texts) if not text]
        if lacking and self.index:
            looked_up = self.index.read([docids[i] for i in lacking], [])
            for i, text in zip(lacking, looked_up, strict=True):
                texts[i] = texts[i] if text is None else text  # an empty document that is not there stays ""
        return texts


class IndexTexts(TextSource):
    """Texts from the documents that an index stores."""

    def __init__(self, searcher: Any, fields_to_text: Read) -> None:
        self.searcher = searcher
        self.fields_to_text = fields_to_text
        self.location = f"the text index {getattr(searcher, 'index_dir', type(searcher).__name__)}"

    def read(self, docids: Sequence[str], documents: Sequence[Fields | None]) -> list[str | None]:
        stored = self._documents(docids)
        return [_text_of(self.fields_to_text, docid, stored.get(docid)) for docid in docids]

    def _documents(self, docids: Sequence[str]) -> dict[str, Fields]:
        if hasattr(getattr(self.searcher, "object", None), "batch_get_docs"):
            from pyserini.pyclass import JArrayList

            threads = os.cpu_count()
            with JAVA_LOCK:
                java = JArrayList()
                for docid in dict.fromkeys(docids):
                    java.add(docid)
                return read_documents(self.searcher.object.batch_get_docs(java, threads))
        # The lock is held for Pyserini's searchers only: another one may have threads that need it.
        with JAVA_LOCK if type(self.searcher).__module__.startswith("pyserini.") else nullcontext():
            documents = {docid: self.searcher.doc(docid) for docid in docids}
        with JAVA_LOCK:
            return {
                docid: {name: document.get(name) for name in ("raw", "contents") if document.get(name) is not None}
                for docid, document in documents.items()
                if document is not None
            }


def text_index(searcher: Any) -> Any:
    """Find the index that has the texts of a searcher's documents; None if it is not known.

    A hybrid searcher has the text index of one of its parts, and a Faiss searcher the one that Pyserini opened with it.
    The text index of a prebuilt index is the one that Pyserini's catalogue names, else the one with the stem of its
    name. The catalogue names none for MS MARCO's impact indexes: ``msmarco-v1-passage.splade-v3`` has its text in
    ``msmarco-v1-passage``.
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
    """Open the index at a path or of a prebuilt name; a searcher is returned as it is."""
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
            f"texts= names {os.fspath(index)!r}, which is neither a folder nor a prebuilt index of Pyserini's, nor a "
            "collection file: LuceneSearcher.list_prebuilt_indexes() lists the prebuilt ones."
        )
    try:
        searcher = LuceneSearcher.from_prebuilt_index(index)
    except AssertionError as error:  # a wrong checksum
        raise ConnectionError(f"the prebuilt index {index!r} came damaged ({error}): fetch it again.") from None
    if searcher is None:  # Pyserini has printed why
        raise ConnectionError(f"the prebuilt index {index!r} cannot be fetched: texts= takes the path of a local one.")
    return searcher


def _text_of(fields_to_text: Read, docid: str, fields: Fields | None) -> str | None:
    """Give a document's text; an error names the document."""
    try:
        return fields_to_text(fields) if fields else None
    except ValueError as error:
        raise ValueError(f"document {docid!s:.50}: {error}") from None
