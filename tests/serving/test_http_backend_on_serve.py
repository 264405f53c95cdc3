"""The http backend and the server of `pyserini-rerank serve`: each speaks the other's language."""

import numpy as np
import pyserini_rerank
import pytest
from pyserini_rerank.scales import probabilities
from pyserini_rerank.scoring.rerank_apis import APIS
from pyserini_rerank.serving.async_reranker import AsyncReranker
from pyserini_rerank.serving.limits import Limits
from pyserini_rerank.serving.rerank_server import rerank_app
from running import running

KEY = "sk-of-the-tests"
MOST = 50
#: Options and a number of texts that the server refuses, and what it says.
REFUSED = {
    "model": ({"model": "gpt"}, 1, "404: .*there is no model 'gpt' here: there is minilm, other"),
    "key": ({"key_env": "WRONG_KEY"}, 1, "401: .*the key is missing or wrong"),
    "texts": ({"batch_size": 1000}, 60, "413: .*60 documents are more than the 50"),
}


@pytest.fixture(scope="module")
def url(reranker):
    serving = AsyncReranker(reranker)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVER_KEY", KEY)
        app = rerank_app(serving, names=["minilm", "other"], limits=Limits(documents=MOST), key_env="SERVER_KEY")
    with running(app) as url:
        yield url
    serving.close()


@pytest.fixture
def load(url, monkeypatch):
    """Loads the http backend, with the server's key."""
    monkeypatch.setenv("CLIENT_KEY", KEY)
    options = {"model": "minilm", "key_env": "CLIENT_KEY"}
    return lambda **more: pyserini_rerank.load(url, backend="http", **{**options, **more})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pyserini_rerank.CutWarning")
@pytest.mark.parametrize("api", APIS)
def test_the_scores_are_those_of_the_library(load, api, reranker, queries, documents):
    """Of several queries, in several requests at a time, with a passage that is cut."""
    found = [documents[docid] for docid in ("tempfile.mkdtemp", "shutil.copy", "shutil.copyfile")]
    pairs = [(query, text) for query in queries[:2] for text in [*found, "Berlin \n„🐻“ "]]
    pairs.append((queries[0], "cat " * 2000))
    expected = reranker.predict(pairs)
    assert expected.min() < 0 < expected.max(), "or they could be of another scale"
    with load(api=api, batch_size=3) as served:
        if served.scale == "probability":
            expected = probabilities(expected, reranker.scale, reranker.name)
        np.testing.assert_allclose(served.predict(pairs), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("api", "kind"),
    # TEI's servers have one model, whatever a request names.
    [(api, kind) for api in APIS for kind in REFUSED if (api, kind) != ("tei", "model")],
)
def test_a_refusal_is_an_error_of_one_line(load, api, kind, monkeypatch):
    options, texts, says = REFUSED[kind]
    monkeypatch.setenv("WRONG_KEY", "sk-wrong")
    with load(api=api, **options) as served, pytest.raises(ValueError, match=f"answered {says}") as caught:
        served.score("flea", [f"cat {number}" for number in range(texts)])
    assert "\n" not in str(caught.value)
