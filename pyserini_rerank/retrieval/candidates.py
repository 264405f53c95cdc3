"""Reading the first stage's hits, in bulk.

To read a hit by calls into Java takes several times as long as to score it on a GPU. So the stored fields of a
thousand hits come over as one JSON string (Jackson is in Anserini's jar), and only the hits that are
returned become objects in Python. ``tests/benchmark_reading.py`` measures the time that this saves.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from .hits import Hits, Trace, check_hit, rescored
from .jvm import JAVA_LOCK

#: The most hits, and characters of JSON, that one call gets from Java (a Java string holds fewer than 2**31).
MOST_HITS = 20_000
MOST_CHARACTERS = 64_000_000
#: The hits that a list's first call gets. The length of their JSON determines the size of the next call.
FIRST_HITS = 128

#: Fields of a ScoredDoc that are only read from the few hits that are returned.
READ_LATER = ("lucene_docid", "score")

Fields = dict[str, str]


@dataclass(frozen=True)
class Candidates:
    """The first stage's hits for one query, best first."""

    count: int
    """The number of hits."""
    docids: list[str]
    """The docids of the first `depth` hits, as the first stage gives them."""
    documents: list[Fields | None]
    """Their stored fields by name; None for a hit without a stored document, or if the documents are not read."""
    hit: Callable[[int], Any]
    """A function that gives the hit at a first-stage rank, from 0."""
    rescored: Callable[[Any, float], Any]
    """A function that gives a hit another score: in place if nobody else can hold the hit, else in a copy."""
    first_scores: Callable[[], NDArray[np.float32]]
    """A function that reads the scores of the first `depth` hits. Few rerankers need them."""


def from_hits(hits: Sequence[Any], depth: int) -> Candidates:
    """Read a list of hits that somebody else may hold, so that the hits are never changed; raises as `check_hit`."""
    head = hits[:depth]
    if head and hasattr(head[0], "lucene_document"):
        with JAVA_LOCK:
            docids, documents = _read_java(_as_java_list(head), len(head))
    else:
        for hit in hits:
            check_hit(hit)
        docids, documents = [hit.docid for hit in head], [None] * len(head)

    def scores() -> NDArray[np.float32]:
        with JAVA_LOCK:
            return _float32(hit.score for hit in head)

    return Candidates(len(hits), docids, documents, hits.__getitem__, rescored, scores)


def from_java(hits: Any, depth: int, *, documents: bool = True) -> Candidates:
    """Read a Java list of ScoredDocs that nobody else holds, with or without their documents."""
    count = hits.size()
    read = min(count, depth)
    docids, stored = _read_java(hits, read, () if documents else ("lucene_document",))
    # pyjnius binds a method on the class, not on the object: a stored `hits.get` would ask the last list
    # whose `get` was looked up.
    return Candidates(
        count, docids, stored, lambda rank: hits.get(rank), _rescore_in_place, lambda: _read_scores(hits, read)
    )


def as_found(candidates: Candidates, k: int) -> Hits:
    """Give the first k hits as the first stage gave them."""
    with JAVA_LOCK:
        hits = [candidates.hit(position) for position in range(min(k, candidates.count))]
        scored_docids = [(hit.docid, float(hit.score)) for hit in hits]
    traces = [Trace(docid, score, rank, score, docid) for rank, (docid, score) in enumerate(scored_docids, 1)]
    return Hits(hits, traces, 0)


def java_lists(results: Any) -> dict[str, Any]:
    """Turn a Java map from qid to ScoredDoc[] into a dict of Java lists, without making a Python object of any hit.

    pyjnius makes a Python list of proxies of every array that it sees. So it sees none: Arrays.asList runs in Java, on
    a list that holds the array.
    """
    from jnius import autoclass

    array_list = autoclass("java.util.ArrayList")
    arrays = array_list(results.values())
    qids = array_list(results.keySet()).toArray()
    return {qid: _as_list().invokeWithArguments(arrays.subList(i, i + 1)) for i, qid in enumerate(qids)}


def read_documents(documents: Any) -> dict[str, Fields]:
    """Read the stored fields from a Java map of docids to Lucene documents."""
    return {docid: _fields_of(document) for docid, document in loads(_json(documents)).items()}


def _float32(values: Iterable[Any]) -> NDArray[np.float32]:
    return np.fromiter(values, dtype=np.float32)


def _read_scores(hits: Any, count: int) -> NDArray[np.float32]:
    unread = ("docid", "lucene_document", "lucene_docid")
    return _float32(hit["score"] for chunk in _in_chunks(hits, count, unread) for hit in chunk)


def _rescore_in_place(hit: Any, score: float) -> Any:
    hit.score = score
    return hit


def _read_java(hits: Any, count: int, unread: tuple[str, ...] = ()) -> tuple[list[str], list[Fields | None]]:
    docids: list[str] = []
    documents: list[Fields | None] = []
    for chunk in _in_chunks(hits, count, (*READ_LATER, *unread)):
        for hit in chunk:
            docids.append(hit["docid"])
            document = hit.get("lucene_document")
            documents.append(_fields_of(document) if document else None)
    return docids, documents


def _fields_of(document: dict[str, Any]) -> Fields:
    """Give a document's text fields by name; of a repeated field the first, as Lucene's own `get` does."""
    fields: Fields = {}
    for field in document["fields"]:
        if isinstance(field["fieldsData"], str):
            fields.setdefault(field["name"], field["fieldsData"])
    return fields


def _in_chunks(hits: Any, count: int, unread: tuple[str, ...]) -> Iterator[list[Any]]:
    """Read the first `count` hits of a Java list without some fields, a bounded number with each call into Java."""
    start, step = 0, FIRST_HITS
    while start < count:
        end = min(start + step, count)
        with JAVA_LOCK:
            text = _json(hits.subList(start, end), *unread)
        yield loads(text)
        # The next call gets at most eight times as many, since longer documents may follow.
        step = max(1, min(MOST_HITS, 8 * step, MOST_CHARACTERS * (end - start) // len(text)))
        start = end


def _json(java: Any, *unread: str) -> str:
    text: str = _mapper(*unread).writeValueAsString(java)
    return text


def loads(text: str) -> Any:
    """Parse JSON as `json.loads` does, but several times as fast for nearly all of it."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # it refuses halves of surrogate pairs, which Java's strings may hold, and NaN
        return json.loads(text)


def _as_java_list(hits: Sequence[Any]) -> Any:
    from jnius import autoclass

    java = autoclass("java.util.ArrayList")(len(hits))
    for hit in hits:
        java.add(hit)
    return java


@cache
def _as_list() -> Any:
    """Make a handle on Java's Arrays.asList."""
    from jnius import autoclass

    find = autoclass("java.lang.Class").forName
    handles, types = autoclass("java.lang.invoke.MethodHandles"), autoclass("java.lang.invoke.MethodType")
    signature = types.methodType(find("java.util.List"), find("[Ljava.lang.Object;"))
    return handles.publicLookup().findStatic(find("java.util.Arrays"), "asList", signature).asFixedArity()


@cache
def _mapper(*unread: str) -> Any:
    """Make a Java writer of JSON that reads fields, no getters (some read an index), and none of Lucene's types."""
    from jnius import autoclass

    accessor = autoclass("com.fasterxml.jackson.annotation.PropertyAccessor")
    visibility = autoclass("com.fasterxml.jackson.annotation.JsonAutoDetect$Visibility")
    mapper = autoclass("com.fasterxml.jackson.databind.ObjectMapper")()
    mapper.setVisibility(accessor.FIELD, visibility.ANY)
    mapper.setVisibility(accessor.GETTER, visibility.NONE)
    mapper.setVisibility(accessor.IS_GETTER, visibility.NONE)
    field_type = autoclass("java.lang.Class").forName("org.apache.lucene.index.IndexableFieldType")
    mapper.configOverride(field_type).setIsIgnoredType(autoclass("java.lang.Boolean")("true"))
    names = autoclass("java.util.HashSet")()
    for name in unread:
        names.add(name)
    ignored = autoclass("com.fasterxml.jackson.annotation.JsonIgnoreProperties$Value").forIgnoredProperties(names)
    scored_doc = autoclass("java.lang.Class").forName("io.anserini.search.ScoredDoc")
    mapper.configOverride(scored_doc).setIgnorals(ignored)
    return mapper
