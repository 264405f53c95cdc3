"""The words of a text, and the query's terms among them."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from ..retrieval.jvm import JAVA_LOCK

# Chinese and Japanese have no spaces between words, so that every character counts as a word.
_CHARACTER = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
#: A word for the window of `explain`: the characters between two spaces.
SPACED_WORD = re.compile(rf"[{_CHARACTER}]|[^\s{_CHARACTER}]+")
_WORD = re.compile(rf"[{_CHARACTER}]|[^\W{_CHARACTER}]+(?:['’][^\W{_CHARACTER}]+)*")
#: Question words, auxiliary verbs and personal pronouns. They say how a question is asked and not what it is about, and
#: Lucene's analyzer keeps them. Words that are also names or nouns, such as "may" and "us", are left out of the list.
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
    """Replace control characters, with which a document could write outside its cell of a terminal."""
    return _CONTROL.sub("\ufffd", text)


def split_at_terms(query: str, text: str) -> list[tuple[str, bool]]:
    """Cut a text into parts that are the query's terms and parts that are not.

    For example, "directories" is a term of the query "a directory": Lucene's English analyzer, Pyserini's default,
    gives the same term for both. Lucene's stop words, question words, auxiliary verbs and personal pronouns are no
    terms. If the query consists of the latter three alone ("who are you"), they are terms.

    Returns
    -------
    list of (str, bool)
        The parts of the text in order, and whether each is a term.
    """
    words = [word.lower() for word in _WORD.findall(query)]
    content_words = [word for word in words if _CONTRACTED.sub("", word) not in _FUNCTION_WORDS]
    terms = {t for word in content_words for t in _analyzed(word)} or {t for word in words for t in _analyzed(word)}
    spans = (match.span() for match in _WORD.finditer(text) if terms.intersection(_analyzed(match[0].lower())))
    return list(_parts(text, spans))


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
