"""A comparison of one search before and after reranking."""

import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..arguments import mapped, whole
from ..markup import DOWN, RELEVANT, TERM, UP, element, tinted
from ..retrieval.candidates import Fields, from_hits
from ..retrieval.hits import trace
from ..retrieval.queries import query_text
from ..searcher import RerankingSearcher
from ..texts.source import read
from .words import split_at_terms, visible

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: The number of characters of a passage that a notebook shows unfolded, and the number that a terminal shows.
EXCERPT, EXCERPT_IN_TERMINAL = 300, 160


@dataclass(frozen=True)
class Row:
    """One document of a comparison."""

    docid: str
    title: str
    """Empty if the stored document has no title."""
    text: str
    rank: int
    score: float | None
    """The model's score. It is None (shown as –) for a document below the depth, without text, or not scored by the
    last stage of a cascade."""
    first_rank: int
    first_score: float
    grade: int | None
    """None if the document is not judged."""
    cut: bool
    """True if the passage was too long for the model that gave the score."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """The k best documents of the first stage and the k best after reranking, one row a document.

    A notebook shows it as HTML, `rich.print` as a table with colours, and `print` as plain text.

    Attributes
    ----------
    rows : list of Row
        The k best after reranking, and below them the rest of the k best of the first stage.
    """

    query: str
    k: int
    first_stage: str
    model: str
    depth: int
    judged: bool
    rows: list[Row]

    @property
    def heading(self) -> str:
        return f"{self.first_stage}, its top {self.depth} reranked by {self.model}"

    @property
    def columns(self) -> list[str]:
        return ["rank", "was", "move", "score", "before", *(["grade"] if self.judged else []), "passage"]

    @property
    def legend(self) -> str:
        """Explain the columns."""
        grade = "; grade: its judged relevance (–: not judged)" if self.judged else ""
        return (
            f"rank: after reranking; was: in the first stage; move: places up or down (new: was not in the "
            f"first {self.k}; out: is no more); score: the model's (–: not scored); before: the first stage's{grade}"
        )

    def move(self, row: Row) -> str:
        """Say where a document moved: ``"▲ 3"``, ``"▼ 2"``, ``"="``, ``"▲ 17, new"``, ``"▼ 9, out"``."""
        steps = row.first_rank - row.rank
        note = ", new" if row.first_rank > self.k else ", out" if row.rank > self.k else ""
        return f"{'▲' if steps > 0 else '▼'} {abs(steps)}{note}" if steps else "="

    def _figures(self, row: Row) -> list[str]:
        score = "–" if row.score is None else f"{row.score:.3f}"
        return [str(row.rank), str(row.first_rank), self.move(row), score, f"{row.first_score:.3f}"]

    def _repr_html_(self) -> str:
        body = []
        for position, row in enumerate(self.rows):
            rank, was, move, score, before = self._figures(row)
            if row.rank != row.first_rank:
                move = tinted(move, UP if row.rank < row.first_rank else DOWN, style="padding:0 .3em;")
            cells = [rank, was, move, score, before, *([_grade_html(row.grade)] if self.judged else [])]
            # A line separates the k best from the documents that fell out of them.
            line = "border-top:2px solid;" if position and row.rank > self.k >= self.rows[position - 1].rank else ""
            body.append(self._row_html("td", [*cells, self._passage_html(row)], line))
        head = self._row_html("th", self.columns, "border-bottom:1px solid;")
        legend = element("span", html.escape(self.legend), "font-size:.85em;opacity:.8")
        caption = element("b", html.escape(self.query)) + f"<br>{html.escape(self.heading)}<br>{legend}"
        return element(
            "table",
            element("caption", caption, "text-align:left;color:inherit;padding:.35em .6em", ' dir="auto"')
            + f"<thead>{head}</thead><tbody>{''.join(body)}</tbody>",
            "border-collapse:collapse;background:transparent;color:inherit",
        )

    def _row_html(self, kind: str, cells: Sequence[str], line: str) -> str:
        elements = []
        for name, cell in zip(self.columns, cells, strict=True):
            align = "left" if name in ("move", "passage") else "center" if name == "grade" else "right"
            wrap = "" if name == "passage" else ";white-space:nowrap"
            elements.append(
                element(kind, cell, f"{line}padding:.35em .6em;vertical-align:top;text-align:{align}{wrap}")
            )
        return f"<tr>{''.join(elements)}</tr>"

    def _passage_html(self, row: Row) -> str:
        name = element("b", html.escape(row.title)) + " " if row.title else ""
        docid = element("code", html.escape(row.docid), "background:transparent;color:inherit")
        cut = " " + tinted("✂ cut", DOWN, title="longer than the model reads: its end was not scored") * row.cut
        start, rest = _cut(row.text, EXCERPT)
        text = self._marked_html(start)
        if rest:
            text = f"<details><summary>{text} …</summary>{self._marked_html(rest)}</details>"
        return f"{name}{docid}{cut}" + element("div", text, "max-width:60em", ' dir="auto"')

    def _marked_html(self, text: str) -> str:
        parts = split_at_terms(self.query, text)
        return "".join(tinted(part, TERM) if is_term else html.escape(part) for part, is_term in parts)

    def __rich__(self) -> "Table":
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        title = Text(f"{self.query}\n{self.heading}")
        table = Table(
            title=title, title_justify="left", caption=Text(self.legend), caption_justify="left", box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0), pad_edge=False,
        )  # fmt: skip
        for name in self.columns:
            if name == "passage":
                table.add_column(name, overflow="fold")
            else:
                table.add_column(name, justify="left" if name == "move" else "right", no_wrap=True)
        for position, row in enumerate(self.rows):
            rank, was, move, *scores = self._figures(row)
            style = "" if row.rank == row.first_rank else "cyan" if row.rank < row.first_rank else "magenta"
            cells = [Text(rank), Text(was), Text(move, style), *map(Text, scores)]
            if self.judged:
                cells.append(Text(_grade(row.grade), "bold green" if row.grade and row.grade > 0 else ""))
            following = self.rows[position + 1 : position + 2]
            table.add_row(
                *cells, self._passage_text(row), end_section=any(r.rank > self.k >= row.rank for r in following)
            )
        return table

    def _passage_text(self, row: Row) -> "Text":
        from rich.text import Text

        text = Text.assemble((f"{row.title} " if row.title else "", "bold"), (row.docid, "cyan"))
        if row.cut:
            text.append(" ✂ cut", "magenta")
        text.append("\n")
        start, rest = _cut(row.text, EXCERPT_IN_TERMINAL)
        for part, is_term in split_at_terms(self.query, start):
            text.append(part, "bold underline" if is_term else "")
        return text.append(" …") if rest else text

    def __repr__(self) -> str:
        """Give the table as plain text of the terminal's width, without colours, which are escape codes in a log."""
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, color_system=None, force_jupyter=False, force_terminal=False).print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def compare(
    searcher: Any, query: Any, k: int = 10, *, qrels: Mapping[str, int] | None = None, **options: Any
) -> Comparison:
    """Compare the first stage of a search with its reranked result.

    Parameters
    ----------
    searcher
        A searcher with a reranker: after `set_reranker`, or a `RerankingSearcher`. It searches once.
    query
        The query, in the form that the searcher takes.
    k : int
        The number of best documents of each ranking that are compared.
    qrels : mapping, optional
        docid -> grade, for this query.
    **options
        `rerank_query`, `rerank_depth`, and the searcher's own options.

    Raises
    ------
    ValueError
        The searcher has no reranker, or k is below 1.
    TypeError
        The qrels are those of all queries and not those of this query, or a grade is no number.
    As the searcher's `search`.
    """
    reranking = searcher if isinstance(searcher, RerankingSearcher) else getattr(searcher, "_reranking", None)
    if not isinstance(reranking, RerankingSearcher):
        raise ValueError(f"this {type(searcher).__name__} has no reranker: call its set_reranker(...) first.")
    k = whole(k, "k", least=1)
    grades = {} if qrels is None else mapped(qrels, "qrels")
    for docid, grade in grades.items():
        if isinstance(grade, Mapping):
            raise TypeError("qrels= takes docid -> grade of this one query: pass qrels[qid].")
        if not isinstance(grade, Real):
            raise TypeError(f"the grade of {docid!s:.50} is {grade!r}: give a number.")
    first_stage = reranking.first_stage.searcher
    depth = reranking.depth_of(options.pop("rerank_depth", None))
    hits = reranking.search(query, k=max(k, depth), rerank_depth=depth, **options)
    query = query_text(query, options.get("rerank_query"), first_stage)
    places = list(enumerate(trace(hits), 1))
    shown = [(rank, place) for rank, place in places if min(rank, place.first_rank) <= k]
    # A document that was found in segments is shown by its best segment, whose docid its text is stored under.
    candidates = replace(
        from_hits([hits[rank - 1] for rank, _ in shown], len(shown)), docids=[place.first_docid for _, place in shown]
    )
    texts = read(reranking.texts, candidates)
    reranker = reranking.reranker
    rows = []
    for (rank, place), fields, text in zip(shown, candidates.documents, texts, strict=True):
        scored = rank <= hits.scored
        rows.append(
            Row(
                docid=visible(place.docid),
                title=visible(_title(fields)),
                text=" ".join(visible(text or "").split()),
                rank=rank,
                score=place.score if scored else None,
                first_rank=place.first_rank,
                first_score=place.first_score,
                grade=grades.get(place.docid),
                cut=scored and text is not None and reranker.cuts(query, text),
            )
        )
    return Comparison(
        query=visible(query),
        k=k,
        first_stage=type(first_stage).__name__,
        model=reranker.name,
        depth=depth,
        judged=qrels is not None,
        rows=rows,
    )


def _title(fields: Fields | None) -> str:
    """Give the title of a document that is stored as JSON, if it has one."""
    try:
        values = json.loads((fields or {}).get("raw", ""))
    except ValueError:
        return ""
    title = values.get("title") if isinstance(values, dict) else None
    return title if isinstance(title, str) else ""


def _cut(text: str, length: int) -> tuple[str, str]:
    """Cut a text in two, at a space if there is one. The second part of a short text is empty."""
    if len(text) <= length:
        return text, ""
    end = text.rfind(" ", 0, length)
    return (text[:length], text[length:]) if end < 0 else (text[:end], text[end:])


def _grade(grade: int | None) -> str:
    return "–" if grade is None else str(grade)


def _grade_html(grade: int | None) -> str:
    """Show a grade as a number on green, which is stronger for a higher grade; a missing grade has no colour."""
    if grade is None:
        return element("span", "–", attributes=' title="not judged"')
    grey = (128, 128, 128)
    strength = min(1.0, 0.4 + 0.2 * grade) if grade > 0 else 0.5
    return tinted(str(grade), RELEVANT if grade > 0 else grey, strength, style="padding:0 .5em;")
