"""The queries of training data as they are made of the collected candidates: split, selected, scored by a teacher."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..runs.run_file import RunHit, lines, read
from ..runs.topics import Qrels
from ..texts.collection import Collection
from .candidates import TEXTS, Found, found_in
from .selection import Selection
from .splitting import relevant, split_as_named, split_by_shares
from .training_data import Document, JudgedQuery

#: Gives a query with shorter texts, for documents that are read in windows.
Cut = Callable[[JudgedQuery], JudgedQuery]


class NotAllScored(ValueError):
    """A query has documents that the last stage of a cascade would not score."""

    def __init__(self, qid: str, documents: int, depth: int) -> None:
        super().__init__(
            f"query {qid:.50} has {documents} documents, and the last stage of the teacher's cascade scores {depth}: "
            "name this stage's reranker as the teacher, or give the stages a larger depth."
        )


class Collected:
    """The collected queries of a folder.

    Parameters
    ----------
    folder : path
        The folder that `collect` has filled.
    topics, qrels
        The judged topics.
    selection : Selection
    held_out : mapping
        ``"validation"`` and ``"test"``, each with a share or with qids.

    Attributes
    ----------
    splits : dict
        qid -> split, of all queries with a relevant document that has a text.
    without_text : set of str
        The docids of all documents that have no text.

    Raises
    ------
    ValueError
        There is no such query.
    """

    def __init__(
        self, folder: Path, topics: Mapping[str, str], qrels: Qrels, selection: Selection, held_out: Mapping[str, Any]
    ) -> None:
        self.folder, self.topics, self.qrels, self.selection = folder, topics, qrels, selection
        self.texts = Collection(folder / TEXTS)
        pool: dict[str, None] = {}
        usable: dict[str, str] = {}
        self.without_text: set[str] = set()
        for found in found_in(folder):
            self.without_text.update(found.without_text)
            pool.update(dict.fromkeys(found.candidates))
            if relevant(qrels, found.qid, selection.level) & {*found.candidates, *found.added}:
                usable[found.qid] = topics[found.qid]
        if not usable:
            raise ValueError(
                f"no topic has a relevant document (of grade {selection.level} or more) with a text: name the qrels "
                "and the texts of these topics, or another level=."
            )
        self._pool = list(pool)
        #: Relevant documents of the queries that were named to validate and to test with.
        self._kept_apart: set[str] = set()
        if isinstance(held_out["test"], float):
            self.splits = split_by_shares(usable, qrels, selection.level, held_out, selection.seed)
        else:
            self.splits = split_as_named(usable, held_out)
            for qid, split in self.splits.items():
                if split != "train":
                    self._kept_apart |= relevant(qrels, qid, selection.level)

    def write_pairs(self, path: Path, most: int | None = None) -> dict[str, str]:
        """Write the pairs that a teacher scores as a run; give the topics that have some to train on.

        Raises NotAllScored where a query has more than `most` documents.
        """
        topics: dict[str, str] = {}
        with path.open("w", encoding="utf-8") as file:
            for found in self._found("train"):
                documents = self.selection.scored_by_teacher(found.qid, self._documents(found))
                if not self.selection.can_train(documents):
                    continue
                if most is not None and len(documents) > most:
                    raise NotAllScored(found.qid, len(documents), most)
                hits = (RunHit(document.docid, -float(place)) for place, document in enumerate(documents, 1))
                file.writelines(lines(found.qid, hits, "pairs"))
                topics[found.qid] = self.topics[found.qid]
        return topics

    def queries(self, split: str, scored: Path | None = None, cut: Cut | None = None) -> Iterator[JudgedQuery]:
        """Give the queries of a split; of those to train on, the ones that have a relevant document and another one.

        A query to validate or to test with is left out if the first stages found nothing.

        Parameters
        ----------
        split : str
        scored : path, optional
            The run of a teacher's scores.
        cut : callable, optional
        """
        if split != "train":
            for found in self._found(split):
                ranked = [document for document in self._documents(found) if document.rank is not None]
                if ranked:
                    yield self._judged(found.qid, ranked)
            return
        scored_queries = read(scored) if scored else iter(())
        scored_query = next(scored_queries, None)
        for found in self._found(split):
            documents = self._documents(found)
            if scored:
                if scored_query is None or scored_query[0] != found.qid:
                    continue  # it had nothing to train on, and was not scored; the others are in the same order
                scores = {hit.docid: hit.score for hit in scored_query[1]}
                scored_query = next(scored_queries, None)
                documents = [
                    replace(document, teacher_score=scores[document.docid])
                    for document in documents
                    if document.docid in scores
                ]
            chosen = self.selection.chosen(found.qid, documents)
            if self.selection.can_train(chosen):
                query = self._judged(found.qid, chosen)
                yield cut(query) if cut else query

    def _found(self, split: str) -> Iterator[Found]:
        return (found for found in found_in(self.folder) if self.splits.get(found.qid) == split)

    def _documents(self, found: Found) -> list[Document]:
        """Give all documents that a query may have, without their texts."""
        grades = self.qrels[found.qid]
        documents = [Document(docid, "", grades.get(docid), rank) for rank, docid in enumerate(found.candidates, 1)]
        drawn = self.selection.random_docids(found.qid, self._pool, {*found.candidates, *found.added})
        documents += [Document(docid, "", grades.get(docid)) for docid in (*found.added, *drawn)]
        if self.splits[found.qid] != "train":
            return documents
        apart = self._kept_apart & relevant(self.qrels, found.qid, self.selection.level)
        return [document for document in documents if document.docid not in apart]

    def _judged(self, qid: str, documents: Sequence[Document]) -> JudgedQuery:
        """Give a query with its documents' texts."""
        texts = (self.texts.get(document.docid) or "" for document in documents)
        return JudgedQuery(
            qid,
            self.topics[qid],
            [replace(document, text=text) for document, text in zip(documents, texts, strict=True)],
        )
