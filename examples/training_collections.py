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

#: Candidates of a test topic, but for DL 2019, which has 100.
DEPTH = 30
#: A made query is trained on with so many candidates, drawn from so many of the best.
DRAWN, AMONG = 7, 20
#: The words of a sentence that a made query has.
FEWEST, MOST = 2, 7
#: The words that the sentence has at least.
SHORTEST = 5
#: Half of the made queries begin with one of these.
BEGINNINGS = ("what is", "what are", "how to", "how does", "how do I", "why", "when", "where", "which", "can")

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
    """The standard library's documentation, and questions that people wrote, which are the test."""
    texts = dict(docstrings.read())
    questions = docstrings.questions()
    test_topics = {f"question{number}": question["question"] for number, question in enumerate(questions)}
    answers = zip(test_topics, (question["answers"] for question in questions), strict=True)
    test_qrels = {qid: dict.fromkeys(docids, 1) for qid, docids in answers}
    return _searched(folder / "library", texts, test_topics, test_qrels, queries)


def cacm(data: Path, folder: Path, queries: int) -> Collection:
    """CACM, as the Glasgow distribution has it; its topics are the test."""
    months = "January|February|March|April|May|June|July|August|September|October|November|December"
    texts = {}
    with tarfile.open(data / "documents.tar.gz") as archive:
        for member in archive:
            if member.name.endswith(".html"):
                html = archive.extractfile(member).read().decode(errors="replace")
                text = re.split(rf"^CACM\s+(?:{months})", html.split("<pre>")[-1], flags=re.MULTILINE)[0]
                texts[Path(member.name).stem] = " ".join(unescape(text).split())
    topics = re.findall(r"<DOCNO>\s*(\d+)\s*</DOCNO>(.*?)</DOC>", (data / "topics.txt").read_text(), re.DOTALL)
    qrels: Qrels = {}
    for line in (data / "qrels.txt").read_text().splitlines():
        qid, _, docid, grade = line.split()
        name, number = docid.split("-")
        qrels.setdefault(f"cacm{qid}", {})[f"{name}-{number.zfill(4)}"] = int(grade)
    test_topics = {f"cacm{qid}": " ".join(text.split()) for qid, text in topics if f"cacm{qid}" in qrels}
    return _searched(folder / "cacm", texts, test_topics, qrels, queries)


def dl19(data: Path, folder: Path, queries: int) -> Collection:
    """TREC 2019 Deep Learning with BM25's 100 best passages: half of the topics are the test, the others the training.

    The judged topics of the other half are trained on with all their passages, from which further queries are made.
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
    made = _searched(folder / "dl19", passages, {}, {}, queries)
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
    folder: Path, texts: dict[str, str], test_topics: dict[str, str], test_qrels: Qrels, queries: int
) -> Collection:
    """Index texts, search with the test topics, make queries from the texts, and draw candidates for these."""
    if not folder.exists():
        docstrings.index(texts, str(folder))
    searcher = LuceneSearcher(str(folder))
    chance = Random(0)
    topics, qrels, hits = {}, {}, {}
    for number, (docid, query) in zip(range(queries), _made(texts, chance), strict=False):
        qid = f"{folder.name}-{number}"
        found = list(_hits(searcher, query, AMONG).items())
        topics[qid], qrels[qid] = query, {docid: 1}
        hits[qid] = dict(sorted(chance.sample(found, min(DRAWN, len(found))), key=lambda hit: -hit[1]))
    test_hits = {qid: _hits(searcher, topic, DEPTH) for qid, topic in test_topics.items()}
    return Collection(texts, test_topics, test_qrels, test_hits, topics, qrels, hits)


def _made(texts: dict[str, str], chance: Random) -> Iterator[tuple[str, str]]:
    """Make queries without end, each with the docid of the document that it is made from.

    As people type them, they are neighbouring or scattered words of a sentence.
    """
    docids = list(texts)
    while True:
        docid = chance.choice(docids)
        sentence = chance.choice(re.split(r"(?<=[.?!:])\s|\n\s*\n", texts[docid]))
        words = re.findall(r"\w[\w.'-]*\w|\w", sentence.lower())
        if len(words) < SHORTEST:
            continue
        count = min(chance.randint(FEWEST, MOST), len(words))
        start = chance.randrange(len(words) - count + 1)
        scattered = sorted(chance.sample(range(len(words)), count))
        places = chance.choice([scattered, range(start, start + count)])
        beginning = [chance.choice(BEGINNINGS)] if chance.random() < 0.5 else []
        yield docid, " ".join(beginning + [words[place] for place in places])


def _hits(searcher: LuceneSearcher, query: str, depth: int) -> dict[str, float]:
    return {hit.docid: hit.score for hit in searcher.search(query, k=depth)}
