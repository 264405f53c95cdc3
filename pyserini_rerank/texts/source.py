"""The protocol of all sources of texts, and reading the texts of a first stage's hits.

A text is never looked up by a docid that Pyserini has cut (`strip_segment_id`): the id in the stored document counts.
"""

import re
from collections.abc import Sequence
from typing import Protocol

from ..passages import Passages
from ..retrieval.candidates import Candidates, Fields

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

#: The remedy for a hit without text.
PASS_TEXTS = (
    "pass texts=, with an index that stores text (a searcher, a path or a prebuilt name), a collection file, a mapping "
    "or callable from docid to text, or a Template for JSON of your own; or missing='skip'."
)


class MissingText(LookupError):
    """A hit has no text to score."""


class Source(Protocol):
    """A source of documents' texts.

    A text is None if the source does not have it, and "" if the document is empty.
    """

    @property
    def location(self) -> str:
        """The name of the source in an error."""

    @property
    def reads_documents(self) -> bool:
        """Whether it reads the documents that the hits store."""

    skips_missing: bool
    """Whether a hit whose document has no text is not scored; otherwise it is an error."""

    def read(self, docids: Sequence[str], documents: Sequence[Fields | None]) -> Sequence[str | None]: ...


class TextSource:
    """The base class of all sources of texts."""

    reads_documents = False
    skips_missing = False


def read(source: Source, candidates: Candidates) -> list[str | None]:
    """Read the texts of the candidates that have a docid here; None for a hit without text that is skipped.

    Raises
    ------
    MissingText
        A hit has no text, and the source does not skip it. The message names the hit and the remedy.
    ValueError
        A document cannot be read as text.
    """
    hits = zip(candidates.docids, candidates.documents, strict=True)
    texts = source.read([fields.get("id", docid) if fields else docid for docid, fields in hits], candidates.documents)
    for docid, text in zip(candidates.docids, texts, strict=True):
        if text is None and not source.skips_missing:
            raise MissingText(f"hit {docid!s:.50} has no text in {source.location}: {PASS_TEXTS}")
    return [None if text is None else clean(text) for text in texts]


def clean(text: str) -> str:
    """Prepare a text for scoring: replace halves of surrogate pairs, which no tokenizer takes, and strip blanks."""
    try:
        text.encode()  # faster than to look for one
    except UnicodeEncodeError:
        text = _LONE_SURROGATE.sub("\ufffd", text)
    return text.strip()


def passages(found: Sequence[Candidates], source: Source) -> list[Passages]:
    """Read the texts of some queries' candidates. A candidate that is skipped gets an empty text, and is not scored."""
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
