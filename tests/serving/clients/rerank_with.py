"""Reranks with a client that somebody else wrote: `python rerank_with.py CLIENT URL < questions.json`.

It runs in an environment that has the client and not pyserini-rerank. Each question is an object with `query`,
`documents`, `top_n`, `model` and `key`; its answer is a line of JSON: [index, score] of the best documents, or what
the client's exception says.
"""

import json
import sys


def cohere_v2(url, key, model, query, documents, top_n):
    import cohere

    answer = cohere.ClientV2(key, base_url=url).rerank(model=model, query=query, documents=documents, top_n=top_n)
    return [(result.index, result.relevance_score) for result in answer.results]


def cohere_v1(url, key, model, query, documents, top_n):
    """The older API, with documents as objects that come back."""
    import cohere

    objects = [{"text": text} for text in documents]
    answer = cohere.Client(key, base_url=url).rerank(
        model=model, query=query, documents=objects, top_n=top_n, return_documents=True
    )
    assert [result.document.text for result in answer.results] == [documents[result.index] for result in answer.results]
    return [(result.index, result.relevance_score) for result in answer.results]


def langchain_cohere(url, key, model, query, documents, top_n):
    from langchain_cohere import CohereRerank

    return _compressed(CohereRerank(model=model, cohere_api_key=key, base_url=url, top_n=top_n), query, documents)


def langchain_jina(url, key, model, query, documents, top_n):
    from langchain_community.document_compressors import jina_rerank

    jina_rerank.JINA_API_URL = f"{url}/v1/rerank"  # no argument sets it
    return _compressed(jina_rerank.JinaRerank(model=model, jina_api_key=key, top_n=top_n), query, documents)


def langchain_infinity(url, key, model, query, documents, top_n):
    from infinity_client.client import Client
    from langchain_community.document_compressors.infinity_rerank import InfinityRerank

    InfinityRerank.model_rebuild(_types_namespace={"Client": Client})  # its module imports it for type checkers only
    client = Client(url, headers={"Authorization": f"Bearer {key}"}, raise_on_unexpected_status=True)
    return _compressed(InfinityRerank(client=client, model=model, top_n=top_n), query, documents)


def _compressed(compressor, query, documents):
    from langchain_core.documents import Document

    numbered = [Document(text, metadata={"index": index}) for index, text in enumerate(documents)]
    found = [document.metadata for document in compressor.compress_documents(numbered, query)]
    return [(metadata["index"], metadata["relevance_score"]) for metadata in found]


def llama_index_cohere(url, key, model, query, documents, top_n):
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    return _postprocessed(CohereRerank(model=model, api_key=key, base_url=url, top_n=top_n), query, documents)


def llama_index_jina(url, key, model, query, documents, top_n):
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    return _postprocessed(JinaRerank(model=model, api_key=key, base_url=f"{url}/v1", top_n=top_n), query, documents)


def llama_index_tei(url, key, model, query, documents, top_n):
    """It sends no model."""
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    reranker = TextEmbeddingInference(base_url=url, auth_token=f"Bearer {key}", top_n=top_n)
    return _postprocessed(reranker, query, documents)


def _postprocessed(postprocessor, query, documents):
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(index))) for index, text in enumerate(documents)]
    found = postprocessor.postprocess_nodes(nodes, QueryBundle(query))
    return [(int(one.node.node_id), one.score) for one in found]


if __name__ == "__main__":
    client, url = sys.argv[1:]
    for question in json.load(sys.stdin):
        try:
            print(json.dumps(globals()[client](url, **question)))
        except Exception as error:
            print(json.dumps(f"{type(error).__name__}: {error}"))
