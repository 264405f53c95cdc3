"""Where a document's text comes from.

First the hit's own stored document; where it has no text, another index, a mapping or a callable.
A text is never looked up by a docid that Pyserini has cut (`strip_segment_id`): the stored id counts.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ..passages import Passages
from ..retrieval.candidates import Candidates, Fields

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


#: What to do about a hit without text.
PASS_TEXTS = (
    "pass texts=, with an index that stores text (a searcher, a path or a prebuilt name), a collection file, a mapping "
    "or callable from docid to text, or a Template for JSON of your own; or missing='skip'."
)


class MissingText(LookupError):
    """A hit has no text that could be scored."""


class Leaf(Protocol):
    """A reranker that reads passages."""

    @property
    def name(self) -> str: ...
    @property
    def vocabulary(self) -> str | None:
        """The fingerprint of its tokenizer; None where it takes texts only."""


class Readers(Protocol):
    """A reranker, as a source sees it."""

    def leaves(self) -> Iterable[Leaf]:
        """Give the rerankers that read passages, of which it is made."""


class Source(Protocol):
    """Gives documents' texts: None where there is no text, "" where there is a document without any.

    What is no string (a passage that was tokenized before) is passed on to the backend as it is.
    """

    @property
    def location(self) -> str:
        """Where it looks, as an error says it."""

    @property
    def remedy(self) -> str:
        """What to do about a document that it does not have."""

    @property
    def reads_documents(self) -> bool:
        """Does it read the documents that the hits store?"""

    skips_missing: bool
    """Is a hit whose document has no text left out of what is scored? It is an error otherwise."""

    def check(self, reranker: Readers) -> None:
        """Check that a reranker can read its passages; raises ValueError."""

    def read(self, docids: Sequence[str], documents: Sequence[Fields | None]) -> Sequence[Any]: ...


class TextSource:
    """What all sources of texts have in common."""

    remedy = PASS_TEXTS
    reads_documents = False
    skips_missing = False

    def check(self, reranker: Readers) -> None:
        """Every reranker reads texts."""


def read(source: Source, candidates: Candidates) -> list[Any]:
    """Read the candidates' texts, as many as have been read of them; None for one without text that is skipped.

    Raises
    ------
    MissingText
        A hit has no text, and the source does not skip it; the message names it, and what to do.
    ValueError
        A document is there but cannot be read as text.
    """
    hits = zip(candidates.docids, candidates.documents, strict=True)
    texts = source.read([fields.get("id", docid) if fields else docid for docid, fields in hits], candidates.documents)
    for docid, text in zip(candidates.docids, texts, strict=True):
        if text is None and not source.skips_missing:
            raise MissingText(f"hit {docid} has no text in {source.location}: {source.remedy}")
    return [clean(text) if isinstance(text, str) else text for text in texts]


def clean(text: str) -> str:
    """Give a text as it is scored. Half of a surrogate pair is no character, and no tokenizer takes it."""
    return _LONE_SURROGATE.sub("\ufffd", text).strip()


def passages(found: Sequence[Candidates], source: Source) -> list[Passages]:
    """Read the texts of some queries' candidates. One that is skipped has nothing to score, as an empty one."""
    texts = [read(source, candidates) for candidates in found]
    return [
        Passages(
            candidates.docids,
            ["" if text is None else text for text in of_query],
            candidates.first_scores,
            frozenset(position for position, text in enumerate(of_query) if text is None),
        )
        for candidates, of_query in zip(found, texts, strict=True)
    ]
