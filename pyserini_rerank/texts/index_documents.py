"""All documents of a Lucene index, in the order of their Lucene docids."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..retrieval.candidates import fields_of, in_chunks
from ..retrieval.jvm import JAVA_LOCK
from .formats import text_of_fields
from .source import clean
from .stored import open_index, text_of

COMMIT = re.compile("segments_[0-9a-z]+")
#: About how many characters come over from Java at once.
MOST_CHARACTERS = 4_000_000


class IndexedDocuments:
    """The documents that an index stores. Positions are Lucene docids.

    It follows the protocol `pyserini_rerank.texts.token_writer.Documents`.

    Parameters
    ----------
    index : str or path
        The path of an index, or a prebuilt name.

    Raises
    ------
    FileNotFoundError
        There is no such index.
    """

    unit = " documents"

    def __init__(self, index: str | os.PathLike[str]) -> None:
        from pyserini.index.lucene import LuceneIndexReader

        with JAVA_LOCK:
            searcher = open_index(index)
            self.location = Path(searcher.index_dir).resolve()
            searcher.close()
            self._reader = LuceneIndexReader(str(self.location)).reader
            self._in_java = _documents_in_java(self._reader)
            self.end = int(self._reader.maxDoc())
        self.file = newest_commit(self.location)

    def read(self, start: int) -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
        """Read the documents from a position on: (docid, text) in chunks, each with the position behind it.

        Raises
        ------
        ValueError
            A document cannot be read as text.
        """
        live = self._live()
        for chunk in in_chunks(self._part, start, self.end, most=MOST_CHARACTERS):
            numbers = range(start, start + len(chunk))
            start += len(chunk)
            stored = [fields_of(document) for number, document in zip(numbers, chunk, strict=True) if live(number)]
            texts = [(fields["id"], text_of(text_of_fields, fields["id"], fields)) for fields in stored]
            yield start, [(docid, text if text is None else clean(text)) for docid, text in texts]

    def _part(self, start: int, stop: int) -> Any:
        """Give a Java list of the documents from one Lucene docid to another."""
        from jnius import autoclass

        numbers = autoclass("java.util.ArrayList")()
        numbers.add(autoclass("java.util.stream.IntStream").range(start, stop))
        return self._in_java.invokeWithArguments(numbers).toList()

    def _live(self) -> Any:
        """Make a function that tells whether a document is not deleted; few indexes have deleted documents."""
        from jnius import autoclass

        with JAVA_LOCK:
            bits = autoclass("org.apache.lucene.index.MultiBits").getLiveDocs(self._reader)

        def live(number: int) -> bool:
            with JAVA_LOCK:
                return bool(bits.get(number))

        return live if bits else lambda number: True


def newest_commit(folder: Path) -> Path:
    """Find the file whose content identifies the state of an index.

    Every commit of Lucene's writes a new such file, with random ids, and never changes the other files.

    Raises
    ------
    FileNotFoundError
        The folder is no Lucene index.
    """
    commits = [path for path in folder.glob("segments_*") if COMMIT.fullmatch(path.name)]
    if not commits:
        raise FileNotFoundError(f"the folder {folder} is no Lucene index (it has no segments file): name another one.")
    return max(commits, key=lambda path: int(path.name.partition("_")[2], 36))


def _documents_in_java(reader: Any) -> Any:
    """Make a Java function from an IntStream of Lucene docids to a Stream of their stored documents.

    Reading documents one by one would take a call into Java for each. The lambda's class is hidden, which pyjnius
    cannot handle: the lambda is made within the function, and Python never sees it.
    """
    from jnius import autoclass

    find = autoclass("java.lang.Class").forName
    handles, types = autoclass("java.lang.invoke.MethodHandles"), autoclass("java.lang.invoke.MethodType")
    lookup, number = handles.publicLookup(), autoclass("java.lang.Integer").TYPE
    function, stream = find("java.util.function.IntFunction"), find("java.util.stream.Stream")
    document = types.methodType(find("org.apache.lucene.document.Document"), number)
    read = lookup.findVirtual(find("org.apache.lucene.index.StoredFields"), "document", document)
    as_lambda = lookup.findStatic(
        find("java.lang.invoke.MethodHandleProxies"),
        "asInterfaceInstance",
        types.methodType(find("java.lang.Object"), find("java.lang.Class"), find("java.lang.invoke.MethodHandle")),
    )
    # These are two lines, since in one pyjnius would bind the inner `bindTo` to the outer one's object.
    read = read.bindTo(reader.storedFields())
    as_function = as_lambda.bindTo(function).bindTo(read).asType(types.methodType(function))
    over = lookup.findVirtual(find("java.util.stream.IntStream"), "mapToObj", types.methodType(stream, function))
    return handles.collectArguments(over, 1, as_function)
