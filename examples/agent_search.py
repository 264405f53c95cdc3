"""Search as an agent does: ask Pyserini's MCP server, and see what reranking changes.

The server is started here, as an agent's client starts it, and asked over its stdin and stdout.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from pyserini_rerank import docstrings

QUESTIONS = [
    "How do I make a temporary folder that removes itself afterwards?",
    "Is there one call that opens a file, reads all of its text and closes it again?",
    "How do I wait for a thread to end?",
]


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        docstrings.index(dict(docstrings.read()), str(folder / "index"))
        (folder / "config.yaml").write_text(f"indexes: {{python: {folder / 'index'}}}")
        command = ["-m", "pyserini_rerank", "serve-mcp", "--model", "bundled", "--config", str(folder / "config.yaml")]
        server = StdioTransport(sys.executable, command, log_file=folder / "server.log")
        async with Client(server, init_timeout=120) as client:
            for question in QUESTIONS:
                await ask(client, question)


async def ask(client: Client, question: str) -> None:
    """Ask one question in both ways, and print the best three documents."""
    call = {"query": question, "index": "python", "hits": 3}
    plain = json.loads((await client.call_tool("search", call)).content[0].text)
    reranked = (await client.call_tool("retrieve_and_rerank", {**call, "depth": 50})).structured_content["results"]
    print(question)
    print("  search:             ", ", ".join(line.split()[1] for line in plain if line.startswith("DocID: ")))
    print("  retrieve_and_rerank:", ", ".join(f"{hit['docid']} (was {hit['first_rank']})" for hit in reranked))


if __name__ == "__main__":
    asyncio.run(main())
