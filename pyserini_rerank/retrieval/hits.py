"""Hits: copies of Pyserini's hits with other scores, and the list of hits that reranking returns."""

import copy
import dataclasses
import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pandas import DataFrame


#: The number of hits that a terminal and a notebook show of a longer list.
SHOWN = 20


class Trace(NamedTuple):
    """The rank and the score of a returned hit, now and in the first stage."""

    docid: str
    score: float
    first_rank: int
    """From 1."""
    first_score: float
    first_docid: str
    """The docid in the first stage; for a document that was found in segments, the docid of its best segment."""


class Hits(list[Any]):
    """A list of hits, as Pyserini returns it, with the hits' places in the first stage.

    Attributes
    ----------
    traces : list of Trace
        A trace for each hit, in the same order.
    scored : int
        The number of hits with a score of the reranker's; they come first. The scores of the others only keep their
        order.
    """

    def __init__(self, hits: Iterable[Any], traces: list[Trace], scored: int) -> None:
        super().__init__(hits)
        self.traces = traces
        self.scored = scored

    @property
    def _heading(self) -> str:
        first = f", of which the first {SHOWN} (to_pandas() gives all)" if len(self.traces) > SHOWN else ""
        return f"{len(self.traces)} reranked hits{first}"

    def __repr__(self) -> str:
        ranked = enumerate(self.traces[:SHOWN], 1)
        rows = (f"{rank:>4} {t.score:>10.4f}  {t.docid} (was {t.first_rank})" for rank, t in ranked)
        return "\n".join((self._heading, *rows))

    def _repr_html_(self) -> str:
        """Show the hits in a notebook, as a table in its own style."""
        rows = "".join(
            f"<tr><td>{rank}</td><td>{t.first_rank}</td><td>{t.score:.4f}</td><td>{t.first_score:.4f}</td>"
            f'<td style="text-align:left">{html.escape(t.docid)}</td></tr>'
            for rank, t in enumerate(self.traces[:SHOWN], 1)
        )
        head = "<tr><th>rank</th><th>was</th><th>score</th><th>before</th><th>docid</th></tr>"
        return f"<div>{self._heading}</div><table><thead>{head}</thead><tbody>{rows}</tbody></table>"

    def to_pandas(self) -> "DataFrame":
        """Give a table with one row a hit: `rank` and `first_rank`, from 1, `docid`, `score` and `first_score`."""
        import pandas

        frame = pandas.DataFrame(self.traces, columns=Trace._fields)
        frame.insert(0, "rank", range(1, len(frame) + 1))
        return frame[["rank", "docid", "score", "first_rank", "first_score"]]


def trace(hits: Hits) -> list[Trace]:
    """Give each returned hit's rank, from 1, and score in the first stage.

    Parameters
    ----------
    hits : Hits
        A list that a reranked search, or `Reranker.rerank`, returned.

    Raises
    ------
    TypeError
        The list is another one. A slice or a copy of such a list is another one, too.
    """
    if not isinstance(hits, Hits):
        raise TypeError(f"trace() takes the list that a reranked search returned, not a {type(hits).__name__}.")
    return hits.traces


def check_hit(hit: Any) -> None:
    """Check that an object has a hit's `docid` and `score`; raises TypeError."""
    docid: Any = getattr(hit, "docid", None)
    score: Any = getattr(hit, "score", None)
    try:
        is_number = not isinstance(score, str) and float(score) is not None
    except (TypeError, ValueError):
        is_number = False
    if not (is_number and isinstance(docid, str)):
        raise TypeError(
            f"a hit is a {type(hit).__name__} whose docid is {docid!r:.80} and whose score is {score!r:.80}: give hits "
            "with a string as `docid` and a number as `score`, NaN where there is none."
        )


def rescored(hit: Any, score: float, docid: str | None = None) -> Any:
    """Copy a hit of any of Pyserini's types, with another score.

    Parameters
    ----------
    hit
        Anserini's ScoredDoc, a DenseSearchResult, a SlimResult, or any object with `docid` and `score`.
    score : float
        A float32 value.
    docid : str, optional
        The docid of the copy; by default that of the hit.
    """
    if hasattr(hit, "lucene_document"):
        return type(hit)(docid or hit.docid, hit.lucene_docid, score, hit.lucene_document)
    new = {"score": score} | ({"docid": docid} if docid else {})
    if dataclasses.is_dataclass(hit) and not isinstance(hit, type):
        return dataclasses.replace(hit, **new)
    if hasattr(hit, "_replace"):
        return hit._replace(**new)
    changed = copy.copy(hit)
    try:
        for name, value in new.items():
            setattr(changed, name, value)
    except AttributeError as error:
        raise TypeError(
            f"a copy of a {type(hit).__name__} cannot be given another {error.name or name} ({error}): make hits "
            "dataclasses, named tuples, or objects whose `docid` and `score` can be set."
        ) from None
    return changed
