"""The collections of `distil.py`: documents, judged topics to test with, and queries made from the documents."""

import gzip
import json
import re
import tarfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from random import Random
from typing import NamedTuple

from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank import docstrings

DEPTH = 50
#: The words of a query that is made from a document.
FEWEST, MOST = 4, 20

Hits = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]


class Collection(NamedTuple):
    """A collection to train on and to test with; the topics of the two have nothing in common."""

    texts: dict[str, str]
    test_topics: dict[str, str]
    test_qrels: Qrels
    test_hits: Hits
    topics: dict[str, str]
    """The queries to train on."""
    qrels: Qrels
    hits: Hits


def library(folder: Path, queries: int) -> Collection:
    """The standard library's documentation: questions that people wrote are the test, first sentences the training."""
    texts = dict(docstrings.read())
    questions = docstrings.questions()
    test_topics = {f"question{number}": question["question"] for number, question in enumerate(questions)}
    answers = zip(test_topics, (question["answers"] for question in questions), strict=True)
    test_qrels = {qid: dict.fromkeys(docids, 1) for qid, docids in answers}
    # The first line is the name, and often the signature follows.
    bodies = {docid: re.sub(r"^.*?(-->?|\n)", "", text, count=1) for docid, text in texts.items()}
    return _searched(folder / "library", texts, test_topics, test_qrels, bodies, queries)


def cacm(data: Path, folder: Path, queries: int) -> Collection:
    """CACM, as the Glasgow distribution has it: its topics are the test, titles the training."""
    months = "January|February|March|April|May|June|July|August|September|October|November|December"
    texts = {}
    with tarfile.open(data / "documents.tar.gz") as archive:
        for member in archive:
            if member.name.endswith(".html"):
                html = archive.extractfile(member).read().decode(errors="replace")
                text = re.split(rf"^CACM\s+(?:{months})", html.split("<pre>")[-1], flags=re.MULTILINE)[0]
                texts[Path(member.name).stem] = unescape(text).strip()
    topics = re.findall(r"<DOCNO>\s*(\d+)\s*</DOCNO>(.*?)</DOC>", (data / "topics.txt").read_text(), re.DOTALL)
    qrels: Qrels = {}
    for line in (data / "qrels.txt").read_text().splitlines():
        qid, _, docid, grade = line.split()
        name, number = docid.split("-")
        qrels.setdefault(f"cacm{qid}", {})[f"{name}-{number.zfill(4)}"] = int(grade)
    test_topics = {f"cacm{qid}": " ".join(text.split()) for qid, text in topics if f"cacm{qid}" in qrels}
    bodies = texts  # a blank line follows the title
    texts = {docid: " ".join(text.split()) for docid, text in bodies.items()}
    return _searched(folder / "cacm", texts, test_topics, qrels, bodies, queries)


def dl19(data: Path, folder: Path, queries: int) -> Collection:
    """TREC 2019 Deep Learning with BM25's 100 best passages: half of the topics are the test, the others the training.

    The judged topics of the other half are trained on, and further queries are made from their passages.
    """
    topics = dict(line.split("\t") for line in (data / "topics.tsv").read_text().splitlines())
    qrels: Qrels = {}
    for line in (data / "qrels.txt").read_text().splitlines():
        qid, _, docid, grade = line.split()
        qrels.setdefault(qid, {})[docid] = int(grade)
    hits: Hits = {}
    texts: dict[str, str] = {}
    for query in json.loads(gzip.decompress((data / "bm25-top100.json.gz").read_bytes())):
        for hit in query["hits"]:
            docid = str(hit["docid"])
            hits.setdefault(str(hit["qid"]), {})[docid] = hit["score"]
            texts[docid] = hit["content"]
    qids = sorted(hits)
    Random(0).shuffle(qids)
    trained, tested = qids[: len(qids) // 2], qids[len(qids) // 2 :]
    passages = {docid: texts[docid] for qid in trained for docid in hits[qid]}
    made = _searched(folder / "dl19", passages, {}, {}, passages, queries)
    # A grade of 1 is no relevant passage there.
    judged = {qid: {docid: max(0, grade - 1) for docid, grade in qrels[qid].items()} for qid in trained}
    return made._replace(
        texts=texts,
        test_topics={qid: topics[qid] for qid in tested},
        test_qrels={qid: qrels[qid] for qid in tested},
        test_hits={qid: hits[qid] for qid in tested},
        topics=made.topics | {qid: topics[qid] for qid in trained},
        qrels=made.qrels | judged,
        hits=made.hits | {qid: hits[qid] for qid in trained},
    )


def _searched(
    folder: Path, texts: dict[str, str], test_topics: dict[str, str], test_qrels: Qrels, bodies: dict[str, str],
    queries: int,
) -> Collection:  # fmt: skip
    """Index texts, make queries from the beginnings of documents, and search with these and with the test topics."""
    if not folder.exists():
        docstrings.index(texts, str(folder))
    beginnings = list(_beginnings(bodies))
    Random(0).shuffle(beginnings)
    made = {f"{folder.name}-{docid}": (query, docid) for docid, query in beginnings[:queries]}
    topics = {qid.replace(" ", "_"): query for qid, (query, _) in made.items()}
    qrels = {qid.replace(" ", "_"): {docid: 1} for qid, (_, docid) in made.items()}
    searcher = LuceneSearcher(str(folder))
    hits = {qid: _hits(searcher, query) for qid, query in (test_topics | topics).items()}
    return Collection(
        texts, test_topics, test_qrels, {qid: hits[qid] for qid in test_topics},
        topics, qrels, {qid: hits[qid] for qid in topics},
    )  # fmt: skip


def _beginnings(bodies: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Give the first sentence of each document that begins with one of a query's length."""
    for docid, text in bodies.items():
        words = re.split(r"(?<=[.?!:])\s|\n\s*\n", text.strip(), maxsplit=1)[0].split()
        if len(words) >= FEWEST:
            yield docid, " ".join(words[:MOST])


def _hits(searcher: LuceneSearcher, query: str) -> dict[str, float]:
    return {hit.docid: hit.score for hit in searcher.search(query, k=DEPTH)}
