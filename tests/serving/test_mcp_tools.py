"""Pyserini's MCP server with the tool `retrieve_and_rerank`: real clients over HTTP and stdio, on real indexes."""

import asyncio
import importlib.util
import json
import os
import shlex
import time
from pathlib import Path

import pytest
from forking import python
from running import running
from served_indexes import DEPTH, KINDS, PAGE, Library, known_scores, listed, write_config

PYSERINIS = {"search", "get_document", "list_indexes", "get_index", "fuse_search_results", "get_qrels", "eval_hits"}
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def backend(request, tmp_path_factory, encoder):
    from pyserini.server.backend import SharedSearchBackend

    with pytest.MonkeyPatch.context() as patch:
        config = write_config(request.getfixturevalue, tmp_path_factory.mktemp("served"), encoder, patch)
        backend = SharedSearchBackend(config, no_prebuilt_indexes=True)
        yield backend
        backend.close_all()


@pytest.fixture(scope="module")
def url(backend):
    from fastmcp import FastMCP
    from pyserini.server.mcp.tools import register_tools
    from pyserini_rerank.serving.mcp_tools import register_rerank_tool

    mcp = FastMCP("mcpyserini")
    register_tools(mcp, backend)
    register_rerank_tool(mcp, backend, known_scores(), depth=DEPTH)
    with running(mcp.http_app()) as url:
        yield f"{url}/mcp"


@pytest.fixture
def library(make_searcher, documents, encoder):
    return Library(make_searcher, documents, encoder)


def ask(server, *calls, tool="retrieve_and_rerank"):
    """Ask a server by a client of its own, one call after the other; gives the answers, or the messages of errors."""
    from fastmcp import Client
    from fastmcp.exceptions import ToolError

    async def session():
        answers = []
        async with Client(server) as client:
            for arguments in calls:
                try:
                    result = await client.call_tool(tool, arguments)
                    answers.append(result.structured_content or [content.text for content in result.content])
                except ToolError as error:
                    answers.append(str(error))
        return answers

    return asyncio.run(session())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_of_index_is_reranked_as_by_the_library(url, library, documents, queries, kind):
    calls = [{"query": query, "index": kind, "hits": 5} for query in queries[:3]]
    answers = ask(url, *calls, {**calls[0], "hits": 3, "depth": 30})
    for query, answer in zip(queries[:3], answers, strict=False):
        assert listed(answer["results"]) == library(kind, query, 5)
        assert [one["doc"] for one in answer["results"]] == [documents[one["docid"]] for one in answer["results"]]
    assert listed(answers[3]["results"]) == library(kind, queries[0], 3, 30)


@pytest.mark.stress
def test_eight_clients_at_once(url, library, queries):
    """Reranked and plain searches, documents, and an HNSW index that is opened anew for each `ef_search`.

    No thread stays attached to Java, which would keep its stack for ever.
    """
    from fastmcp import Client
    from pyserini.pyclass import autoclass

    def threads():
        return autoclass("java.lang.Thread").getAllStackTraces().size()

    asked = [(kind, query) for kind in KINDS for query in queries[:2]]
    expected = {one: library(*one, 5) for one in asked}

    async def client(number):
        async with Client(url) as client:
            for turn in range(len(asked)):
                kind, query = asked[(number * 3 + turn) % len(asked)]
                call = {"query": query, "index": kind, "hits": 5, "ef_search": 100 + number % 2}
                found = (await client.call_tool("retrieve_and_rerank", call)).structured_content["results"]
                assert listed(found) == expected[kind, query]
                plain = await client.call_tool("search", call)
                shown = json.loads(plain.content[0].text)
                assert shown[0] == f"Query Results for: {query}" and len(shown) == 11
                await client.call_tool("get_document", {"docid": found[0]["docid"], "index": kind})

    async def clients():
        await asyncio.gather(*map(client, range(8)))

    before = threads()
    asyncio.run(clients())
    deadline = time.monotonic() + 20
    while threads() > before + 1:  # the last ones may still be about to leave
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_long_documents_are_cut_and_the_answer_says_so(url):
    call = {"query": "zither", "index": "pages", "hits": 1}
    default, short, whole = ask(url, call, {**call, "max_doc_length": 5}, {**call, "max_doc_length": 10_000})
    [found] = default["results"]
    assert found["doc"]["contents"] == PAGE["contents"][:2000] and found["doc"]["title"] == "Threads"
    assert found["cut"] == {"doc.contents": len(PAGE["contents"]), "doc.parts.0.body": 3000}
    assert short["results"][0]["cut"] == {"doc.title": 7, **found["cut"]}
    assert "cut" not in whole["results"][0] and whole["results"][0]["doc"]["parts"] == PAGE["parts"]
    assert found["first_rank"] == found["rank"] == 1


def test_queries_and_parameters_of_pyserinis(url, backend, queries):
    call = {"query": {"query_txt": queries[0]}, "index": "bm25", "hits": 3}
    answers = ask(
        url, call, {**call, "query": queries[0]}, {**call, "k1": 2, "b": 0.9}, {**call, "query_generator": "bm25qs"}
    )
    results = [answer["results"] for answer in answers]
    assert results[0] == results[1]
    scores = [{one["docid"]: one["first_score"] for one in found} for found in results]
    assert scores[0] != scores[2] and scores[0] != scores[3]
    ask(url, {"query": queries[0], "index": "hnsw", "ef_search": 50})
    assert backend.indexes["hnsw"].ef_search == 50


def test_bad_input(url):
    wrong = {
        "depth=3 is below hits=10: give a depth of at least 10.": {"depth": 3},
        "Index not configured for this server: nowhere": {"index": "nowhere"},
        "hit page has no text in the text index": {"index": "no-text", "query": "zither"},
        "BM25 parameters k1 and b must be set together": {"k1": 1},
        "BM25 parameters k1 and b apply only to sparse (tf) indexes": {"index": "hnsw", "k1": 1, "b": 0.5},
        "the query is empty: there is nothing to rerank with.": {"query": " "},
        "the query has no text to rerank with: give query_txt": {"query": {"query_img_path": "picture.png"}},
        "the query has more different words than Lucene takes": {"query": " ".join(map(str, range(200_000)))},
        "hashing scored nan for 4 pairs": {"query": "temporary NaN"},
        "the server cannot be reached": {"query": "temporary refused"},
        "the server gave no list of results": {"query": "temporary garbled"},
        "greater than or equal to 1": {"hits": 0},
        "valid integer": {"ef_search": "many"},
    }
    call = {"query": "temporary", "index": "bm25"}
    *messages, last = ask(url, *({**call, **change} for change in wrong.values()), call)
    for expected, message in zip(wrong, messages, strict=True):
        assert isinstance(message, str) and expected in message, (expected, message)
    assert len(last["results"]) == 4


@pytest.mark.slow
def test_the_command_over_stdio(lucene_index, queries, make_searcher, reranker, tmp_path):
    """All of Pyserini's tools and one more; on stdout is nothing but the protocol."""
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport

    (tmp_path / "config.yaml").write_text(f"indexes: {{docs: {lucene_index}}}")
    words = [python(), "-m", "pyserini_rerank", "serve-mcp", "--model", "bundled", "--device", "cpu"]
    words += ["--depth", "20", "--config", "config.yaml"]
    # What Java and Python print, and warn of, goes elsewhere.
    line = f"{shlex.join(words)} 2> errors | tee stdout"

    async def session():
        transport = StdioTransport("sh", ["-c", line], cwd=str(tmp_path), env=dict(os.environ))
        async with Client(transport, timeout=120, init_timeout=120) as client:
            tools = {tool.name: tool for tool in await client.list_tools()}
            call = {"query": queries[0], "index": "docs", "hits": 5}
            found = await client.call_tool("retrieve_and_rerank", call)
            cut = await client.call_tool("retrieve_and_rerank", {**call, "query": "temporary " * 600})
            return tools, found.structured_content["results"], cut.structured_content["results"]

    tools, found, cut = asyncio.run(session())
    assert tools.keys() == PYSERINIS | {"retrieve_and_rerank"}
    described = tools["retrieve_and_rerank"]
    assert "cross-encoder" in described.description and described.input_schema["required"] == ["query", "index"]
    searcher = make_searcher("bm25")
    searcher.set_reranker(reranker, depth=20)
    traces = searcher.search(queries[0], k=5).traces
    assert [(one["docid"], one["first_rank"]) for one in found] == [(one.docid, one.first_rank) for one in traces]
    assert [one["score"] for one in found] == pytest.approx([one.score for one in traces], abs=2e-6)
    lines = (tmp_path / "stdout").read_text().splitlines()
    assert len(lines) >= 4 and all(json.loads(line)["jsonrpc"] == "2.0" for line in lines)
    errors = (tmp_path / "errors").read_text()
    assert len(cut) == 4 and "were cut to 512 tokens" in errors
    assert "Traceback" not in errors and "WARNING" not in errors


@pytest.mark.stress
def test_the_example(capsys):
    """An agent asks three questions in both ways, and the answers come first where they are reranked."""
    spec = importlib.util.spec_from_file_location("agent_search", EXAMPLES / "agent_search.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    asyncio.run(example.main())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    answers = ["tempfile.TemporaryDirectory", "pathlib.Path.read_text", "threading.Thread.join"]
    for answer, plain, reranked in zip(answers, lines[1::3], lines[2::3], strict=True):
        assert plain.startswith("  search: ") and reranked.startswith("  retrieve_and_rerank: ")
        assert answer in reranked and not plain.split()[1].startswith(answer)
