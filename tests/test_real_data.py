"""CACM from index to evaluation; skipped where it is not, since it is not ours to give away.

TREC DL 2019 is in experiments/test_reproduce.py.
"""

import re
import tarfile
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pyserini_rerank
import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


def here(name):
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"{name} is not in {DATA}")


def ndcg(qrels, run):
    """nDCG@10 over the judged queries."""
    import ir_measures

    return ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]


def qrels_of(file):
    judged = {}
    for line in file.read_text().splitlines():
        qid, _, docid, grade = line.split()
        judged.setdefault(qid, {})[docid] = int(grade)
    return judged


# --------------------------------------------------------------------------------------------------------------- CACM


class Pre(HTMLParser):
    """What stands between <pre> and </pre>."""

    def __init__(self):
        super().__init__()
        self.inside, self.text = False, ""

    def handle_starttag(self, tag, attrs):
        self.inside = self.inside or tag == "pre"

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "pre"

    def handle_data(self, data):
        self.text += data if self.inside else ""


MONTH = re.compile(
    r"^CACM\s+(January|February|March|April|May|June|July|August|September|October|November|December)", re.MULTILINE
)


def cacm_text(html):
    """A document's title and abstract: what follows the line with the month is cataloguing."""
    parser = Pre()
    parser.feed(html)
    return " ".join(MONTH.split(parser.text)[0].split())


@pytest.fixture(scope="module")
def cacm(tmp_path_factory):
    """The index, with the HTML files as they are; their texts, topics and judgements."""
    from pyserini.pyclass import autoclass
    from pyserini.search.lucene import LuceneSearcher

    folder = tmp_path_factory.mktemp("cacm")
    with tarfile.open(DATA / "cacm" / "documents.tar.gz") as archive:
        archive.extractall(folder / "documents", filter="data")
    arguments = {"collection": "HtmlCollection", "input": folder / "documents", "index": folder / "index"}
    arguments |= {"generator": "DefaultLuceneDocumentGenerator", "threads": 1}
    options = [part for name, value in arguments.items() for part in (f"-{name}", str(value))]
    autoclass("io.anserini.index.IndexCollection").main([*options, "-storeRaw", "-quiet"])

    files = (folder / "documents").rglob("*.html")
    texts = {file.stem: cacm_text(file.read_text(encoding="utf-8", errors="replace")) for file in files}
    topics = re.findall(
        r"<DOC>\s*<DOCNO>\s*(\d+)\s*</DOCNO>(.*?)</DOC>", (DATA / "cacm" / "topics.txt").read_text(), re.DOTALL
    )
    qrels = {
        qid: {re.sub(r"\d+$", lambda number: number[0].zfill(4), docid): grade for docid, grade in judged.items()}
        for qid, judged in qrels_of(DATA / "cacm" / "qrels.txt").items()
    }
    queries = {qid: " ".join(text.split()) for qid, text in topics}
    return LuceneSearcher(str(folder / "index")), texts, queries, qrels


@here("cacm")
def test_cacm_is_read_as_it_is_described(cacm):
    searcher, texts, queries, qrels = cacm
    assert searcher.num_docs == len(texts) == 3204
    assert (len(queries), len(qrels), sum(len(judged) for judged in qrels.values())) == (64, 52, 796)
    assert qrels.keys() <= queries.keys()
    assert all(docid in texts for judged in qrels.values() for docid in judged)
    assert all(texts.values())
    assert not any("CACM" in text.split()[-1] for text in texts.values())


@here("cacm")
@pytest.mark.stress
@pytest.mark.parametrize("depth", [10, 20])
def test_cacm(cacm, depth):
    """Index, search, rerank, evaluate; cut to 64 tokens, which is quick, and loses nothing that shows."""
    searcher, texts, queries, qrels = cacm
    qids = list(qrels)
    asked = [queries[qid] for qid in qids]
    bm25 = searcher.batch_search(asked, qids, k=depth, threads=2)
    searcher.set_reranker("bundled", depth=depth, texts=texts.__getitem__, device="cpu", max_length=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pyserini_rerank.CutWarning)
        reranked = searcher.batch_search(asked, qids, k=depth, threads=2)
    searcher.unset_reranker()
    assert list(reranked) == qids
    assert all({h.docid for h in reranked[qid]} == {h.docid for h in bm25[qid]} for qid in qids)

    before, after = (
        ndcg(qrels, {qid: {hit.docid: hit.score for hit in hits} for qid, hits in results.items()})
        for results in (bm25, reranked)
    )
    print(f"CACM nDCG@10: BM25 {before:.4f}, its top {depth} reranked {after:.4f}")
    assert before == pytest.approx(0.460, abs=0.005)
    assert after > before + 0.02, "0.507 of the top 20 where it was measured"
