"""The formats in which Pyserini's indexes store documents, and the text in each.

| stored as                   | collections                           | text                          |
| --------------------------- | ------------------------------------- | ----------------------------- |
| JSON with ``contents``      | MS MARCO v1, most prebuilt indexes    | contents                      |
| JSON with ``text``          | BEIR, MIRACL                          | title and text                |
| JSON with ``passage``       | MS MARCO v2 passages                  | passage                       |
| JSON with ``segment``       | MS MARCO v2 segmented documents       | title and segment             |
| JSON with ``body``          | MS MARCO v2 documents                 | title and body                |
| SGML, HTML                  | TREC collections, web pages           | the text between the tags     |
| anything else               |                                       | as it is                      |
"""

import re
import string
from html import unescape
from typing import Any

from ..retrieval.candidates import loads

#: Fields with a document's text; the first that is there counts.
MAIN = ("contents", "text", "passage", "segment", "body")
#: Main fields that repeat the title.
WITH_TITLE = ("contents",)
#: Elements of TREC documents and web pages whose content is not read as text.
NO_TEXT = ("script", "style", "docno", "docid", "dochdr", "docoldno")

_JSON = re.compile(r'\s*\{\s*("|\}\s*$)')
_MARKUP = re.compile(r"\s*<[A-Za-z!?/]")
#: A comment, CDATA, a document type, an end tag and the like, or a start tag. One that is not closed goes to the end.
_TAG = re.compile(
    r"""<(?: !--(?: -?> | .*?(?: --!?> | \Z) )
           | !\[CDATA\[ .*?(?: \]\]> | \Z)
           | !(?i:DOCTYPE)[^>\[]*+ \[ .*? (?: \]\s*+> | \Z)
           | [!?/][^>]*+ >?
           | (?P<name>[A-Za-z][^\s/>]*+) (?: =\s*+"[^"]*" | =\s*+'[^']*' | [^>] )*+ >?
         )""",
    re.DOTALL | re.VERBOSE,
)


class Template:
    """A template for the text of JSON documents that have fields of their own.

    Parameters
    ----------
    template : str
        A format string with the names of fields, such as ``"{title}. {abstract}"``. A field that is
        null or missing counts as empty. A list of strings is joined by spaces.
    index : optional
        The index that stores the documents, as for ``texts=``, if the hits do not store them.

    Raises
    ------
    ValueError, TypeError
        The template is no string, names no field, or cannot be filled in with text.
    """

    def __init__(self, template: str, index: Any = None) -> None:
        if not isinstance(template, str):
            raise TypeError(f"the template is a {type(template).__name__}: write a string such as '{{title}}'.")
        try:
            self.names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
            template.format(*self.names, **dict.fromkeys(self.names, ""))
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"the template {template!r} cannot be filled in: {error}.") from None
        if not self.names or not all(name.isidentifier() for name in self.names):
            raise ValueError(f"the template {template!r} names no field: write it as in '{{title}} {{abstract}}'.")
        self.template = template
        self.index = index

    def __call__(self, fields: dict[str, str]) -> str | None:
        if "raw" not in fields:
            return None
        values = _load(fields["raw"])
        if not any(name in values for name in self.names):
            raise ValueError(f"has none of the template's fields {self.names}; its own are {sorted(values)}.")
        texts = {name: _string(values, name) or "" for name in self.names}
        # A document whose fields are empty has no text, although the template has text between the fields.
        return self.template.format(**texts).strip() if "".join(texts.values()).strip() else ""


def text_of_fields(fields: dict[str, str]) -> str | None:
    """Give the text of a stored document.

    Parameters
    ----------
    fields : dict
        The document's stored fields. Its text is in `raw`; without `raw`, `contents` is the text.

    Returns
    -------
    str or None
        None if no text is stored; "" if the document is empty.

    Raises
    ------
    ValueError
        The JSON does not parse, or its text is neither a string nor a list of strings.
    """
    raw = fields.get("raw")
    if raw is None:
        return fields.get("contents")
    if _JSON.match(raw):
        text = _text_of_json(_load(raw))
        return fields.get("contents") if text is None else text
    if _MARKUP.match(raw):
        return _between_tags(raw)
    return raw.strip()


def _text_of_json(values: dict[str, Any]) -> str | None:
    for name in MAIN:
        text = _string(values, name)
        if text is not None:
            title = None if name in WITH_TITLE else _string(values, "title")
            return f"{title} {text}".strip() if title else text.strip()
    return None


def _load(raw: str) -> dict[str, Any]:
    try:
        values = loads(raw)
    except (ValueError, RecursionError) as error:  # bad JSON, an integer that is too long, brackets that are too deep
        raise ValueError(f"its stored JSON does not parse ({error}): index it again, or pass texts=.") from None
    if not isinstance(values, dict):
        raise ValueError(f"its stored JSON is a {type(values).__name__}, not an object: pass texts=.")
    return values


def _string(values: dict[str, Any], name: str) -> str | None:
    """Give the text of a field; None if it is missing or null."""
    value = values.get(name)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"its field {name!r} is a {type(value).__name__}, not text: pass texts=Template(...).")
    return value


def _between_tags(markup: str) -> str:
    """Give the text between the tags. The time grows with the length; that of html.parser grows with its square."""
    parts, start = [], 0
    while tag := _TAG.search(markup, start):
        parts.append(unescape(markup[start : tag.start()]))
        start = tag.end()
        name = (tag["name"] or "").lower()
        if name in NO_TEXT and not tag[0].endswith("/>"):
            end = re.compile(f"</{name}[^>]*>?", re.IGNORECASE).search(markup, start)
            start = end.end() if end else len(markup)
    parts.append(unescape(markup[start:]))
    return " ".join(" ".join(parts).split())
