"""The words of a text, and which of them are the query's."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from ..retrieval.jvm import JAVA_LOCK

# Chinese and Japanese put no space between words: there every character is one.
_CHARACTER = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
#: What a window counts: whatever stands between spaces.
SPACED_WORD = re.compile(rf"[{_CHARACTER}]|[^\s{_CHARACTER}]+")
_WORD = re.compile(rf"[{_CHARACTER}]|[^\W{_CHARACTER}]+(?:['’][^\W{_CHARACTER}]+)*")
#: Question words, auxiliary verbs and personal pronouns: words of closed classes, which say how something is asked and
#: not what about. Lucene's analyzer keeps them. Left out are those that are names or nouns as well ("may", "us").
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """how what when where which who whom whose why
        am are been being can could did do does doing had has have having is must shall should was were would
        he her him his i its me my our she them we you your""",
    )
)
_CONTRACTED = re.compile("(n['’]t|['’](s|re|ve|ll|d|m))$")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    """Replace control characters, with which a document could write elsewhere than in its cell of a terminal."""
    return _CONTROL.sub("\ufffd", text)


def split_at_terms(query: str, text: str) -> list[tuple[str, bool]]:
    """Cut a text into parts that are the query's terms and parts that are not.

    A word is a term where Lucene's English analyzer, Pyserini's default, makes the same of it as of a word of the
    query: "directories" where that says "directory". Stop words are none: neither Lucene's nor question words,
    auxiliary verbs and personal pronouns. In a query of nothing else they are terms ("who are you").

    Returns
    -------
    list of (str, bool)
        The parts, which joined are the text, and whether each is a term.
    """
    words = [word.lower() for word in _WORD.findall(query)]
    asked_about = [word for word in words if _CONTRACTED.sub("", word) not in _FUNCTION_WORDS]
    terms = {term for word in asked_about for term in _analyzed(word)} or {t for word in words for t in _analyzed(word)}
    found = (match.span() for match in _WORD.finditer(text) if terms.intersection(_analyzed(match[0].lower())))
    return list(_parts(text, found))


def _parts(text: str, spans: Iterable[tuple[int, int]]) -> Iterable[tuple[str, bool]]:
    end = 0
    for start, stop in spans:
        if start > end:
            yield text[end:start], False
        yield text[start:stop], True
        end = stop
    if end < len(text):
        yield text[end:], False


@cache
def _analyzer() -> Any:
    from pyserini.analysis import Analyzer, get_lucene_analyzer

    return Analyzer(get_lucene_analyzer())


@cache
def _analyzed(word: str) -> tuple[str, ...]:
    with JAVA_LOCK:
        return tuple(_analyzer().analyze(word))
