"""Pyserini 2.4.0, which the tests' environment does not have: it is installed aside, and used in subprocesses.

2.4.0 keeps its catalogue of prebuilt indexes on GitHub (below the URL of `pyserini.prebuilt_index_info.
_prebuilt_indexes_url`, one JSON file a collection) and fetches each file when something is looked up in it. For two
aliases of old names it does so at import: `IMPACT_INDEX_INFO_MSMARCO` is asked, and that reads five files. Hence
2.4.0 cannot be imported without a network; here a server on this machine stands in for GitHub.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyserini_rerank
import pytest
from forking import python
from package_index import skip_or_fail

VERSION = "2.4.0"
ROOT = Path(pyserini_rerank.__file__).parents[1]
#: Not the environment's own packages: 2.4.0 is seen only by whoever puts this on the path.
ASIDE = Path(sys.prefix) / f"pyserini-{VERSION}"
#: The files that 2.4.0 fetches at import, and the two records that it looks up in them.
AT_IMPORT = {
    "lucene/msmarco-v1-passage-impact.json": "msmarco-v1-passage.unicoil",
    "lucene/msmarco-v1-doc-impact.json": None,
    "lucene/msmarco-v2-passage-impact.json": "msmarco-v2-passage.unicoil-0shot",
    "lucene/msmarco-v2-doc-segmented-impact.json": None,
    "lucene/msmarco-v2.1-doc-segmented-impact.json": None,
}


@pytest.fixture(scope="session")
def pyserini_240():
    """The folder with Pyserini 2.4.0, installed there by the first run of the tests."""
    if not ASIDE.is_dir():
        made = Path(tempfile.mkdtemp(prefix=f"{ASIDE.name}-", dir=sys.prefix))
        quick = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1", "--timeout", "30"]
        command = [sys.executable, "-m", "pip", "install", *quick, "--no-deps", "--target", str(made)]
        done = subprocess.run([*command, f"pyserini=={VERSION}"], capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(made)
            skip_or_fail(f"pyserini=={VERSION}", done)
        made.chmod(0o755)
        try:
            made.rename(ASIDE)
        except OSError:  # another run was first
            shutil.rmtree(made)
    return ASIDE


def record(name, **more):
    """What 2.4.0 reads of a record of a `lucene/*.json`: with one of these five missing it gives up."""
    return {"name": name, "description": name, "filename": f"{name}.tar.gz", "urls": [], "md5": "", "size": 0} | more


class GitHub(BaseHTTPRequestHandler):
    """Serves a catalogue out of a folder; files that are not there are empty lists and mappings.

    The first part of the path is how it behaves.
    """

    def do_GET(self):
        _, behaviour, path = self.path.split("/", 2)
        self.server.asked.append(path)
        if behaviour == "silent":
            time.sleep(1.5)
        elif behaviour == "hangs-up":
            pass
        elif behaviour == "not-found":
            self.send_error(404)
        elif behaviour == "login-page":  # of a hotel's network
            self.answer(b"<html>Please log in</html>")
        else:
            file = self.server.folder / path
            empty = b"[]" if path.startswith("lucene/") else b"{}"
            self.answer(file.read_bytes() if file.is_file() else empty)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def github(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), GitHub)
    server.folder, server.asked = tmp_path / "catalogue", []
    for path, name in AT_IMPORT.items():
        (server.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (server.folder / path).write_text(json.dumps([record(name)] if name else []))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


# In place of GitHub: what goes to raw.githubusercontent.com is asked of `base`, without a proxy.
PRELUDE = """
import json, os, sys, traceback, urllib.request
from pathlib import Path

class InPlaceOfGitHub(urllib.request.BaseHandler):
    handler_order = 1  # before urllib's own

    def __init__(self, base, timeout):
        self.base, self.timeout = base, timeout

    def https_open(self, request):
        assert request.host == "raw.githubusercontent.com", request.full_url
        owner, repository, commit, path = request.selector.lstrip("/").split("/", 3)
        folder = {("castorini", "prebuilt-indexes"): "", ("castorini", "eval"): "eval/"}[owner, repository]
        return self.parent.open(f"{self.base}/{folder}{path}", timeout=self.timeout)

def serve(behaviour, timeout=10):
    handlers = urllib.request.ProxyHandler({}), InPlaceOfGitHub(f"{os.environ['BASE']}/{behaviour}", timeout)
    urllib.request.install_opener(urllib.request.build_opener(*handlers))

def tell(**said):
    print(json.dumps(said), flush=True)
"""


def run(script, folder, pyserini, server, **environment):
    """Run a script with Pyserini 2.4.0; gives all that it tells, line for line of JSON."""
    base = f"http://127.0.0.1:{server.server_port}"
    environment |= {"BASE": base, "PYTHONPATH": os.pathsep.join([str(pyserini), str(ROOT)])}
    done = subprocess.run(
        [python(), "-c", PRELUDE + script],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):  # Anserini's log is there, too
            said.update(json.loads(line))
    return said


# (a) The catalogue is out of reach

UNREACHABLE_CATALOGUE = """
import pyserini_rerank

def attempt(name):
    try:
        import pyserini.search.lucene
    except BaseException as error:
        tell(**{name: [type(error).__name__, str(error), traceback.format_exc()]})
    else:
        tell(**{name: ["imported", "", ""]})

attempt("no network")
serve("silent", timeout=0.2)  # 2.4.0's own timeout is 10 seconds
attempt("silent")
for behaviour in ("hangs-up", "not-found", "login-page"):
    serve(behaviour)
    attempt(behaviour)
serve("works")
import pyserini
import pyserini.prebuilt_index_info
tell(works="msmarco-v1-passage.unicoil" in pyserini.prebuilt_index_info.IMPACT_INDEX_INFO, file=pyserini.__file__)
"""


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.slow
def test_without_the_catalogue_the_import_says_what_to_install(tmp_path, pyserini_240, github, closed_port):
    proxy = f"http://127.0.0.1:{closed_port}"
    variables = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"), proxy) | {"no_proxy": ""}
    said = run(UNREACHABLE_CATALOGUE, tmp_path, pyserini_240, github, **variables)
    assert Path(said["file"]).is_relative_to(pyserini_240)
    assert "Connection refused" in said["no network"][1]
    wrong = {}
    for trouble in ("no network", "silent", "hangs-up", "not-found", "login-page"):
        kind, message, told = said[trouble]
        clear = kind == "ImportError" and "`pip install pyserini==2.3.0`" in message and "\n" not in message
        if not clear or "urllib" in told or "During handling" in told or "direct cause" in told:
            wrong[trouble] = told
    assert not wrong, "\n".join(f"--- {trouble}\n{told}" for trouble, told in wrong.items())
    # None of it is for good: with the network back, the same process goes on.
    assert said["works"]


# (b) The catalogue is served

DOCUMENTS = {
    "museum": "Berlin is well known for its museums, and people in Berlin live with many museums.",
    "people": "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "flea": "The life cycle of the flea can last anywhere from two weeks to eight months.",
    "fleas": "A flea market in Berlin: people live for it, long since, as part of their life cycle.",
}
MAIN_FLOW = (
    f"DOCUMENTS = {DOCUMENTS!r}"
    + """
import hashlib, io, tarfile, warnings

serve("works")
import pyserini_rerank
from pyserini.search.faiss import BinaryDenseFaissSearcher, FaissSearcher
from pyserini.search.hybrid import HybridSearcher
from pyserini.search.lucene import (
    LuceneFlatDenseSearcher, LuceneFusionSearcher, LuceneHnswDenseSearcher, LuceneImpactSearcher, LuceneSearcher,
    SlimSearcher,
)
import pyserini
from importlib.metadata import version
from pyserini.index.lucene import LuceneIndexer

urllib.request.urlopen(f"{os.environ['BASE']}/works/imported").close()  # a mark in the server's log
tell(
    file=pyserini.__file__,
    version=version("pyserini"),
    registered={
        kind.__name__: all(hasattr(kind, name) for name in ("set_reranker", "unset_reranker", "is_using_reranker"))
        for kind in (
            BinaryDenseFaissSearcher, FaissSearcher, HybridSearcher, LuceneFlatDenseSearcher, LuceneFusionSearcher,
            LuceneHnswDenseSearcher, LuceneImpactSearcher, LuceneSearcher, SlimSearcher,
        )
    },
)

def index(folder, *options):
    indexer = LuceneIndexer(args=["-index", folder, *options])
    for docid, text in DOCUMENTS.items():
        indexer.add_doc_raw(json.dumps({"id": docid, "contents": text}))
    indexer.close()

def plain(hits):
    return [[hit.docid, hit.score] for hit in hits]

index("with-text", "-storeRaw")
index("without-text")
QUERIES = {"q2": "How many people live in Berlin?", "q1": "How long is the life cycle of a flea?"}
texts, qids = list(QUERIES.values()), list(QUERIES)

searcher = LuceneSearcher("with-text")
before = plain(searcher.search(texts[0])), {q: plain(hits) for q, hits in searcher.batch_search(texts, qids).items()}
reranker = pyserini_rerank.load("bundled", device="cpu", dtype="float32")
searcher.set_reranker("bundled", depth=10, device="cpu", dtype="float32")
assert searcher.is_using_reranker()
hits = searcher.search(texts[0], k=3)
batch = searcher.batch_search(texts, qids, k=3, threads=2)
tell(
    before=before,
    search=plain(hits),
    kind=type(hits[0]).__module__ + "." + type(hits[0]).__name__,
    raw=hits[0].lucene_document.get("raw"),
    batch={qid: plain(hits) for qid, hits in batch.items()},
    order=list(batch),
    scores={qid: dict(zip(DOCUMENTS, reranker.score(query, list(DOCUMENTS.values())).tolist()))
            for qid, query in QUERIES.items()},
)
searcher.unset_reranker()
assert not searcher.is_using_reranker()
tell(after=[plain(searcher.search(texts[0])), {q: plain(h) for q, h in searcher.batch_search(texts, qids).items()}])

# Hybrid's hits are 2.4.0's DenseSearchResult, without a document: the text is in the sparse part's index.
hybrid = HybridSearcher(LuceneSearcher("with-text"), LuceneSearcher("with-text"))
hybrid.set_reranker(reranker, depth=10)
tell(hybrid=plain(hybrid.search(texts[0], k=3)))

# An index without text, of a name in the catalogue: its text is in the index of its name's stem, which
# is downloaded by 2.4.0 itself, from where the catalogue says.
catalogue = Path("catalogue/lucene")
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w:gz") as tar:
    tar.add("with-text", arcname="msmarco-v1-passage")
(catalogue / "archive.json").write_bytes(archive.getvalue())
stats = searcher.index_reader.stats()
(catalogue / "msmarco-v1-passage-inverted.json").write_text(json.dumps([{
    "name": "msmarco-v1-passage", "description": "four documents", "filename": "msmarco-v1-passage.tar.gz",
    "urls": [f"{os.environ['BASE']}/works/lucene/archive.json"], "md5": hashlib.md5(archive.getvalue()).hexdigest(),
    "size": len(archive.getvalue()), "documents": stats["documents"], "unique_terms": stats["unique_terms"],
    "total_terms": stats["total_terms"],
}]))
slim = LuceneSearcher("without-text", prebuilt_index_name="msmarco-v1-passage.unicoil")
slim.set_reranker(reranker, depth=10)
tell(prebuilt=plain(slim.search(texts[0], k=3)), cached=sorted(path.name for path in Path("cache/indexes").iterdir()))

# Topics and qrels by name, which 2.4.0 fetches in Python, and the whole of `reproduce` on them and the index.
evaluation = Path("catalogue/eval")
for part in ("topics", "qrels"):
    (evaluation / part).mkdir(parents=True)
(evaluation / "topics.json").write_text(json.dumps({
    "dl19-passage": {"path": "dl19.tsv", "reader_class": "io.anserini.search.topicreader.TsvStringTopicReader"}
}))
(evaluation / "qrels.json").write_text(json.dumps({"dl19-passage": "dl19.txt"}))
(evaluation / "topics" / "dl19.tsv").write_text("".join(f"{qid}\\t{query}\\n" for qid, query in QUERIES.items()))
(evaluation / "qrels" / "dl19.txt").write_text("q1 0 flea 3\\nq2 0 people 2\\n")
Path("topics.trec").write_text("<top>\\n<num> Number: 7\\n<title> a flea\\n<desc> Description:\\nx\\n</top>\\n")
from pyserini_rerank.cli.main import app
from pyserini_rerank.runs.topics import load_qrels, load_topics

tell(topics=load_topics("dl19-passage"), qrels=load_qrels("dl19-passage"), trec=load_topics("topics.trec"))
app(["reproduce", "--test-set", "dl19-passage", "--first-stage", "bm25", "--model", "bundled", "--device", "cpu",
     "--depth", "4", "--output", "runs"], standalone_mode=False)
tell(run=Path("runs/dl19-passage.bm25-4.bundled.run").read_text(), report=Path("runs/report.md").read_text())
try:
    searcher.set_reranker(reranker, texts="no-such-index")
except FileNotFoundError as error:
    tell(unknown=str(error))
"""
)


@pytest.mark.slow
def test_the_main_flow(tmp_path, pyserini_240, github):
    said = run(MAIN_FLOW, tmp_path, pyserini_240, github, PYSERINI_CACHE=str(tmp_path / "cache"))
    assert Path(said["file"]).is_relative_to(pyserini_240)
    assert said["version"] == VERSION
    assert github.asked[:6] == [*AT_IMPORT, "imported"], "2.4.0's own, see above"
    assert len(said["registered"]) == 9
    assert all(said["registered"].values()), said["registered"]

    # The golden pair of the bundled checkpoint (facts/checkpoints.md) is among the documents.
    assert said["scores"]["q2"]["people"] == pytest.approx(9.085, abs=0.02)
    found = {qid: {docid for docid, _ in hits} for qid, hits in said["before"][1].items()}
    best = {
        qid: sorted(((docid, scores[docid]) for docid in found[qid]), key=lambda hit: -hit[1])[:3]
        for qid, scores in said["scores"].items()
    }
    assert best["q2"][0][0] == "people"
    assert best["q1"][0][0] == "flea"

    def check(hits, qid):
        assert [docid for docid, _ in hits] == [docid for docid, _ in best[qid]]
        assert [score for _, score in hits] == pytest.approx([score for _, score in best[qid]], abs=1e-4)

    assert said["before"][0][0][0] != "people", "BM25 alone should be wrong here"
    check(said["search"], "q2")
    assert said["kind"] == "jnius.reflect.io.anserini.search.ScoredDoc"
    assert json.loads(said["raw"]) == {"id": "people", "contents": DOCUMENTS["people"]}
    assert said["order"] == ["q2", "q1"]
    check(said["batch"]["q2"], "q2")
    check(said["batch"]["q1"], "q1")
    assert said["after"] == said["before"]

    check(said["hybrid"], "q2")
    check(said["prebuilt"], "q2")
    assert len(said["cached"]) == 1
    assert said["cached"][0].startswith("msmarco-v1-passage.")
    assert said["topics"] == {"q2": "How many people live in Berlin?", "q1": "How long is the life cycle of a flea?"}
    assert said["qrels"] == {"q1": {"flea": 3}, "q2": {"people": 2}} and said["trec"] == {"7": "a flea"}
    lines = [line.split() for line in said["run"].splitlines()]
    for qid in ("q1", "q2"):
        check([(line[2], float(line[4])) for line in lines if line[0] == qid][:3], qid)
    assert "| bundled | dl19-passage | bm25, 4 deep | nDCG@10 | 0.5058 |" in said["report"]
    assert "| 1.0000 |" in said["report"], "the best of both queries comes first"
    assert said["unknown"].startswith("texts= names 'no-such-index', which is neither a folder nor a prebuilt index")


SERVERS = (
    f"DOCUMENTS, QUERY, TESTS = {DOCUMENTS!r}, 'How many people live in Berlin?', {str(ROOT / 'tests')!r}"
    + """
import asyncio, signal, threading, time, urllib.parse

serve("works")
import pyserini_rerank
from pyserini.index.lucene import LuceneIndexer
from pyserini_rerank.cli.main import app

indexer = LuceneIndexer(args=["-index", "index", "-storeRaw"])
for docid, text in DOCUMENTS.items():
    indexer.add_doc_raw(json.dumps({"id": docid, "contents": text}))
indexer.close()
Path("config.yaml").write_text("indexes: {docs: index}")
port, answers = os.environ["PORT"], {}

def client():
    url = f"http://127.0.0.1:{port}/v1/docs/search?query={urllib.parse.quote(QUERY)}&hits=3"
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/").close()
            break
        except OSError:
            time.sleep(0.1)
    try:
        for rerank in ("true", "false"):
            with urllib.request.urlopen(f"{url}&rerank={rerank}") as answer:
                answers[rerank] = json.load(answer)["candidates"]
    finally:
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=client, daemon=True).start()
words = ["--host", "127.0.0.1", "--port", port, "--config", "config.yaml", "--no-prebuilt-indexes"]
words += ["--log-file", "requests.jsonl", "--model", "bundled", "--device", "cpu"]
app(["serve-rest", *words], standalone_mode=False)
tell(answers=answers, log=[json.loads(line)["path"] for line in open("requests.jsonl")])

sys.path.append(TESTS)
from fastmcp import Client, FastMCP
from pyserini.server.backend import SharedSearchBackend
from pyserini.server.mcp.tools import register_tools
from pyserini_rerank.serving.mcp_tools import register_rerank_tool
from running import running

mcp, backend = FastMCP("mcpyserini"), SharedSearchBackend("config.yaml", no_prebuilt_indexes=True)
register_tools(mcp, backend)
register_rerank_tool(mcp, backend, pyserini_rerank.load("bundled", device="cpu"))

async def ask(url):
    async with Client(f"{url}/mcp") as client:
        call = {"query": QUERY, "index": "docs", "hits": 3}
        tools = [tool.name for tool in await client.list_tools()]
        return tools, (await client.call_tool("retrieve_and_rerank", call)).structured_content["results"]

with running(mcp.http_app()) as url:
    tools, results = asyncio.run(ask(url))
tell(tools=tools, results=results, file=sys.modules["pyserini"].__file__)
"""
)


@pytest.mark.stress
def test_its_servers(tmp_path, pyserini_240, github):
    """The command with a flag that is new in 2.4.0, and the tool."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = run(SERVERS, tmp_path, pyserini_240, github, PYSERINI_CACHE=str(tmp_path / "cache"), PORT=str(port))
    assert Path(said["file"]).is_relative_to(pyserini_240)
    reranked, plain = said["answers"]["true"], said["answers"]["false"]
    assert reranked[0]["docid"] == "people" != plain[0]["docid"] and "first_rank" not in plain[0]
    assert reranked[0]["score"] == pytest.approx(9.085, abs=0.02)
    assert reranked[0]["first_rank"] == 1 + [one["docid"] for one in plain].index("people")
    assert said["log"] == ["/", "/v1/docs/search", "/v1/docs/search"]
    assert said["results"] == reranked
    assert len(said["tools"]) == 8 and "retrieve_and_rerank" in said["tools"]


DOCTOR = """
from pyserini_rerank.cli.main import app

serve(os.environ["BEHAVIOUR"])
sys.exit(app(["doctor", "--json"], standalone_mode=False))
"""


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", [pytest.param("works", marks=pytest.mark.stress), "not-found"])
def test_the_doctor(tmp_path, pyserini_240, github, behaviour):
    """Its output is JSON and nothing else, whatever Pyserini and Java print."""
    base = f"http://127.0.0.1:{github.server_port}"
    environment = {"BASE": base, "BEHAVIOUR": behaviour, "PYTHONPATH": os.pathsep.join([str(pyserini_240), str(ROOT)])}
    done = subprocess.run(
        [python(), "-c", PRELUDE + DOCTOR], cwd=tmp_path, env=os.environ | environment,
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    findings = {finding["part"]: finding for finding in json.loads(done.stdout)}
    faults = [part for part, finding in findings.items() if finding["state"] == "fault"]
    if behaviour == "works":
        assert done.returncode == 0 and not faults, done.stdout
        assert findings["Pyserini"]["found"] == VERSION
    else:
        assert done.returncode == 1 and faults == ["Pyserini", "a search, reranked"], done.stdout
        assert "fetches its catalogue" in findings["Pyserini"]["found"]
        assert "2.3.0, which fetches nothing" in findings["Pyserini"]["remedy"]
        assert findings["a search, reranked"]["found"] == "does not work for want of Pyserini"
