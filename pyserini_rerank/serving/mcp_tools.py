"""The tool `retrieve_and_rerank` of an MCP server: what Pyserini's prompt for agents asks for, and its server lacks."""

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ..reranker import Reranker
from .locked_backend import lock_backend
from .pyserini_search import reranked_search

if TYPE_CHECKING:
    from fastmcp import FastMCP
    from pyserini.server.backend import SharedSearchBackend

#: The characters of a text that an agent gets unless it asks for more: ten results are some 5,000 tokens.
MAX_DOC_LENGTH = 2_000

log = logging.getLogger(__name__)

Positive = Annotated[int, Field(ge=1)]


def register_rerank_tool(
    mcp: "FastMCP[Any]", backend: "SharedSearchBackend", reranker: Reranker, *, depth: int | None = None
) -> None:
    """Add the tool `retrieve_and_rerank` to an MCP server.

    Parameters
    ----------
    mcp : FastMCP
        The server. It may have Pyserini's tools already: ``register_tools(mcp, backend)``.
    backend : SharedSearchBackend
        Pyserini's backend. All its work in Java is behind the lock from now on.
    reranker : Reranker
    depth : int, optional
        The number of candidates that are reranked unless the agent says otherwise. By default the reranker's own depth,
        else 100.
    """
    from fastmcp.exceptions import ToolError
    from pyserini.server.errors import BackendError

    lock_backend(backend)
    default_depth = depth

    @mcp.tool()
    async def retrieve_and_rerank(
        query: str | dict[str, Any],
        index: str,
        hits: Positive = 10,
        depth: Positive | None = None,
        max_doc_length: Positive = MAX_DOC_LENGTH,
        ef_search: int = 100,
        encoder: str = "",
        query_generator: str = "",
        k1: float | None = None,
        b: float | None = None,
    ) -> dict[str, Any]:
        """
        Search an index, and have a cross-encoder put the results into a better order than `search` does.

        Args:
            query: The question or query in plain words, or a dictionary with it as "query_txt".
            index: Name of the index to search, use the list_indexes tool to see available indexes.
            hits: Number of results to return (default: 10).
            depth: Number of candidates to retrieve and rerank, at least as many as hits. The server has a default.
            max_doc_length: Characters of each text in a document to return (default: 2000).
            ef_search: As for the search tool.
            encoder: As for the search tool.
            query_generator: As for the search tool.
            k1: As for the search tool.
            b: As for the search tool.

        Returns:
            The results, best first. Each has its rank, docid, the reranker's score, its rank and score before
            reranking (first_rank, first_score) and its document. If texts of the document were cut, "cut" tells how
            many characters each of them has; get_document gives the whole document.
        """
        try:
            payload = await asyncio.to_thread(
                reranked_search,
                backend,
                reranker,
                query,
                index,
                hits,
                depth=depth,
                default_depth=default_depth,
                ef_search=ef_search,
                encoder=encoder or None,
                query_generator=query_generator or None,
                k1=k1,
                b=b,
            )
        except BackendError as error:
            raise ToolError(str(error)) from None
        except FloatingPointError as error:
            log.error(str(error))
            raise ToolError(str(error)) from None
        return {"results": [_shortened(candidate, max_doc_length) for candidate in payload["candidates"]]}


def _shortened(candidate: dict[str, Any], length: int) -> dict[str, Any]:
    """Cut the texts of a candidate's document, and tell the lengths that they had."""
    cut: dict[str, int] = {}
    short = {**candidate, "doc": _cut(candidate["doc"], length, "doc", cut)}
    return short | ({"cut": cut} if cut else {})


def _cut(value: Any, length: int, name: str, cut: dict[str, int]) -> Any:
    if isinstance(value, str) and len(value) > length:
        cut[name] = len(value)
        return value[:length]
    if isinstance(value, dict):
        return {key: _cut(part, length, f"{name}.{key}", cut) for key, part in value.items()}
    if isinstance(value, list):
        return [_cut(part, length, f"{name}.{i}", cut) for i, part in enumerate(value)]
    return value
