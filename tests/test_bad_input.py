"""What bad input gets: one line that names the thing and the remedy, before anything is done with it."""

import inspect
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pyserini_rerank
import pytest
import torch
from collection import docids, listed
from pyserini_rerank import EmptyQueryWarning, ModelReranker, RerankingSearcher, trace
from tiny_checkpoints import build, change_weights

TINY = "cross-encoder/ms-marco-MiniLM-L-2-v2"
LONG = 100_000
LONE = "half \ud83d of a pair"
ODD = [
    "😺 a cat's emoji 🏳️‍🌈",
    "قطة وبرغوث",
    "שלום עולם",
    "nul \0 inside",
    "\u202eright to left\u202c",
    "e\u0301 \ufeff \u2028",
]


class Hit:
    """A hit of a searcher that is not Pyserini's."""

    def __init__(self, docid, score):
        self.docid, self.score = docid, score


class Counting:
    """A searcher with Pyserini's interface that counts its calls."""

    def __init__(self, texts):
        self.texts = texts
        self.calls = 0

    def search(self, q, k=10):
        self.calls += 1
        return [Hit(docid, float(100 - rank)) for rank, docid in enumerate(list(self.texts)[:k])]

    def batch_search(self, queries, qids, k=10, threads=1):
        self.calls += 1
        return {qid: self.search(query, k) for query, qid in zip(queries, qids, strict=False)}


TEXTS = {f"d{row}": f"text of number {row}" for row in range(20)}


@pytest.fixture
def first():
    return Counting(TEXTS)


@pytest.fixture
def reranking(first, hashing):
    return RerankingSearcher(first, hashing, depth=5, texts=TEXTS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return build(TINY, tmp_path_factory.mktemp("tiny"))


def refused(kind, call, *parts):
    """The call is refused with exactly that kind of error, in one line that has those parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(kind) as error:
            call()
    assert error.type is kind
    message = str(error.value)
    assert message and len(message.splitlines()) == 1, message
    assert len(message) < 1000, "a line that can be read"
    assert not [part for part in parts if part not in message], message
    return message


def falls(scores):
    """Strictly, in float32 and as Pyserini's run files print it."""
    singles, printed = [np.float32(score) for score in scores], [float(f"{score:.6f}") for score in scores]
    return all(np.diff(singles) < 0) and all(np.diff(printed) < 0)


# ------------------------------------------------------------------------------------------------------ depth, k, tail


@pytest.mark.parametrize("depth", [0, -1, -100])
def test_a_depth_below_one(searcher, first, hashing, depth):
    says = f"depth is {depth}: give 1 or more"
    refused(ValueError, lambda: RerankingSearcher(first, hashing, depth=depth), says)
    refused(ValueError, lambda: searcher.set_reranker(hashing, depth=depth), says)
    assert not searcher.is_using_reranker()


def test_a_depth_below_one_is_refused_before_a_model_is_loaded(searcher):
    refused(ValueError, lambda: searcher.set_reranker("/no/such/model", depth=0), "depth is 0")


@pytest.mark.parametrize("k", [0, -1])
def test_a_k_below_one(reranking, first, searcher, hashing, query, backend, k):
    says = f"k is {k}: give 1 or more"
    refused(ValueError, lambda: reranking.search(query, k), says)
    refused(ValueError, lambda: reranking.search(query, k=k), says)
    refused(ValueError, lambda: reranking.batch_search([query], ["1"], k=k), says)
    refused(ValueError, lambda: hashing.rerank(query, first.search(query), k=k, texts=TEXTS), says)
    searcher.set_reranker(hashing)
    refused(ValueError, lambda: searcher.search(query, k=k), says)
    refused(ValueError, lambda: searcher.batch_search([query], ["1"], k), says)
    assert first.calls == 1 and not backend.planned


@pytest.mark.parametrize("batch", [False, True])
def test_a_k_above_the_depth_has_a_tail(searcher, hashing, query, documents, batch):
    found = searcher.search(query, k=30)
    searcher.set_reranker(hashing, depth=5)
    hits = searcher.batch_search([query], ["1"], k=30)["1"] if batch else searcher.search(query, k=30)
    assert set(docids(hits[:5])) == set(docids(found[:5]))
    assert docids(hits[5:]) == docids(found[5:])
    assert len(hits) == 30
    assert falls([hit.score for hit in hits[4:]])


def test_a_tail_of_a_thousand_below_a_large_negative_score(first, hashing, backend):
    first.texts = {f"d{row}": "x" for row in range(1000)}
    backend.score = lambda query, text: -12345.678
    hits = RerankingSearcher(first, hashing, depth=5, texts=first.texts).search("flea", k=1000)
    assert docids(hits) == list(first.texts)
    assert falls([hit.score for hit in hits[4:]])
    assert [hit.score for hit in hits[:5]] == [float(np.float32(-12345.678))] * 5


# ----------------------------------------------------------------------------------------------------------- the query


@pytest.mark.parametrize("empty", ["", " ", "\n\t", "\u3000"])
def test_an_empty_query_has_nothing_to_score_with(hashing, query, empty):
    says = "the query is empty: there is nothing to rerank with"
    refused(ValueError, lambda: hashing.score(empty, ["text"]), says)
    refused(ValueError, lambda: hashing.predict([(query, "text"), (empty, "text")]), says)


@pytest.mark.parametrize("empty", ["", " ", "\n\t", "\u3000"])
@pytest.mark.parametrize("kind", ["bm25", "faiss", "impact", "hybrid"])
def test_an_empty_query_gets_what_the_searcher_gives(make_searcher, hashing, backend, query, documents, kind, empty):
    plain, searcher = make_searcher(kind), make_searcher(kind)
    searcher.set_reranker(hashing, depth=20, texts=documents)
    alone = listed(searcher.search(query, k=5))
    with pytest.warns(EmptyQueryWarning, match="1 queries are empty, and their hits stay as the first stage gave them"):
        found = searcher.search(empty, k=5)
    assert listed(found) == listed(plain.search(empty, k=5))[:5]
    assert (found.scored, hashing.counts.empty_queries) == (0, 1)
    both = searcher.batch_search([empty, query, empty], ["1", "2", "3"], k=5)
    assert {qid: listed(hits) for qid, hits in both.items()} == {"1": listed(found), "2": alone, "3": listed(found)}
    assert hashing.counts.empty_queries == 3
    assert {asked for asked, _ in backend.pairs} == {query}


@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.EmptyQueryWarning")
def test_an_empty_text_to_rerank_with_leaves_the_hits_as_they_are(reranking, first, hashing, query):
    as_found = listed(first.search(query))
    assert listed(reranking.search(query, rerank_query=" ")) == as_found
    assert listed(reranking.batch_search([query], ["1"], rerank_queries=[""])["1"]) == as_found
    hits = [Hit("d1", 1.0), Hit("d2", 0.5)]
    assert listed(hashing.rerank("", hits, texts=TEXTS)) == listed(hits)
    assert [place.first_rank for place in trace(hashing.rerank(" ", hits, k=1, texts=TEXTS))] == [1]


@pytest.mark.parametrize("wrong", [None, 7, b"flea", ["flea"]])
def test_a_query_that_is_no_string(reranking, first, hashing, backend, query, wrong):
    kind = type(wrong).__name__
    refused(TypeError, lambda: reranking.search(wrong), f"the query is a {kind}, not text", "rerank_query=")
    refused(TypeError, lambda: hashing.score(wrong, ["text"]), f"the query to rerank with is a {kind}, not a string")
    refused(TypeError, lambda: hashing.rerank(wrong, [Hit("d1", 1.0)], texts=TEXTS), kind)
    if wrong is not None:
        refused(TypeError, lambda: reranking.search(query, rerank_query=wrong), f"is a {kind}, not a string")
        refused(TypeError, lambda: reranking.batch_search([query], ["1"], rerank_queries=[wrong]), kind)
    assert first.calls == 0 and not backend.planned


def test_half_of_a_surrogate_pair_in_a_query(reranking, first, hashing, backend, query, searcher):
    says = ("half of a surrogate pair at character 5", "\\ud83d", "clean it with query.encode('utf-8', 'replace')")
    refused(ValueError, lambda: reranking.search(LONE), *says)
    refused(ValueError, lambda: reranking.batch_search([query, LONE], ["1", "2"]), *says)
    refused(ValueError, lambda: reranking.search(query, rerank_query=LONE), *says)
    refused(ValueError, lambda: hashing.score(LONE, ["text"]), *says)
    refused(ValueError, lambda: hashing.rerank(LONE, [Hit("d1", 1.0)], texts=TEXTS), *says)
    refused(ValueError, lambda: hashing.score("long " * LONG + LONE, ["text"]), "half of a surrogate pair")
    searcher.set_reranker(hashing)
    refused(ValueError, lambda: searcher.search(LONE), *says)
    refused(ValueError, lambda: searcher.batch_search([LONE], ["1"]), *says)
    assert first.calls == 0 and not backend.planned
    cleaned = LONE.encode("utf-8", "replace").decode()
    assert len(searcher.search(cleaned)) == len(searcher.search(LONE.replace("\ud83d", "?")))


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_odd_queries_are_fine(searcher, hashing, odd, backend):
    asked = f"{odd} temporary directory"
    found = searcher.search(asked)
    searcher.set_reranker(hashing, depth=10)
    hits = searcher.search(asked)
    assert set(docids(hits)) == set(docids(found)) and len(hits) == 10
    assert {pair[0] for pair in backend.pairs} == {asked}
    assert docids(searcher.batch_search([asked], ["1"])["1"]) == docids(hits)


def test_a_query_of_100_000_characters(searcher, fresh, query):
    asked = (f"{query} " * LONG)[:LONG]
    searcher.set_reranker(fresh, depth=2)
    with pytest.warns(pyserini_rerank.CutWarning, match="0 of 2 passages and 1 queries were cut to 512 tokens"):
        hits = searcher.search(asked, k=2)
    assert len(hits) == 2 and fresh.counts.cut_queries == 1


@pytest.mark.parametrize("words", ["first", "second"])
@pytest.mark.parametrize("batch", [False, True])
def test_a_query_of_more_words_than_lucene_takes(searcher, hashing, query, batch, words):
    """Lucene refuses more than 1,024 different words, with a stack trace; in a batch without saying which query."""
    asked = " ".join(f"word{number}" for number in range(2000))
    searcher.set_reranker(hashing, depth=3)
    queries = [asked, query] if words == "first" else [query, asked]
    call = (lambda: searcher.batch_search(queries, ["1", "2"])) if batch else (lambda: searcher.search(asked))
    refused(ValueError, call, "1024", "rerank_query")


@pytest.fixture
def fresh(reranker):
    """The real model, with nothing counted yet."""
    return ModelReranker(reranker.backend, reranker.name)


# -------------------------------------------------------------------------------------------------------- the passages


def test_a_passage_of_100_000_characters(first, fresh):
    texts = {**TEXTS, "d1": ("a flea jumps " * LONG)[:LONG], "d2": "x" * LONG}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hits = RerankingSearcher(first, fresh, depth=3, texts=texts).search("flea", k=3)
    cut, unknown = sorted(caught, key=lambda warning: warning.category.__name__)
    assert (cut.category, unknown.category) == (pyserini_rerank.CutWarning, pyserini_rerank.UnknownTextWarning)
    assert str(cut.message).startswith("1 of 3 passages and 0 queries were cut to 512 tokens.")
    assert hits[0].docid == "d1"
    assert (fresh.counts.cut_passages, fresh.counts.unknown) == (1, 1), "a word of 100,000 letters is one token"


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_odd_passages_are_fine(first, reranker, odd):
    texts = {**TEXTS, "d1": odd}
    hits = RerankingSearcher(first, reranker, depth=3, texts=texts).search("flea", k=3)
    assert sorted(docids(hits)) == ["d0", "d1", "d2"]
    assert all(np.isfinite(hit.score) for hit in hits)


def test_half_of_a_surrogate_pair_in_a_passage(first, hashing, backend, query):
    says = ("text 1 holds half of a surrogate pair at character 5", "text.encode('utf-8', 'replace')")
    refused(ValueError, lambda: hashing.score(query, ["fine", LONE]), *says)
    refused(ValueError, lambda: hashing.predict([(query, "fine"), (query, LONE)]), *says)
    assert not backend.planned
    hits = RerankingSearcher(first, hashing, depth=3, texts={**TEXTS, "d1": LONE}).search(query, k=3)
    assert sorted(docids(hits)) == ["d0", "d1", "d2"]
    assert (query, LONE.replace("\ud83d", "\ufffd")) in backend.pairs


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_passage(hashing, backend, query, empty):
    refused(ValueError, lambda: hashing.score(query, ["fine", empty]), "text 1 is empty: there is nothing to score")
    assert not backend.planned


@pytest.mark.parametrize("wrong", [None, 7, b"flea"])
def test_a_passage_that_is_no_string(hashing, backend, query, wrong):
    refused(TypeError, lambda: hashing.score(query, ["fine", wrong]), f"text 1 is a {type(wrong).__name__}, not a str")
    assert not backend.planned


def test_a_string_in_place_of_a_list_of_passages(hashing, query):
    """Or each of its letters would be scored."""
    refused(TypeError, lambda: hashing.score(query, "a passage"), "str")


# ------------------------------------------------------------------------------------------------------------ the hits


def test_a_docid_that_comes_twice(hashing, query, backend):
    hits = [Hit("d1", 3.0), Hit("d2", 2.0), Hit("d1", 1.0)]
    results = hashing.rerank(query, hits, texts=TEXTS)
    assert sorted(docids(results)) == ["d1", "d1", "d2"]
    assert len({hit.score for hit in results if hit.docid == "d1"}) == 1, "equal texts have equal scores"
    assert [t.first_rank for t in pyserini_rerank.trace(results) if t.docid == "d1"] == [1, 3]
    assert hashing.counts.scored == 2 and [hit.score for hit in hits] == [3.0, 2.0, 1.0]


def test_real_hits_with_a_docid_that_comes_twice(searcher, hashing, query, documents):
    hits = searcher.search(query, k=4)
    results = hashing.rerank(query, [*hits, hits[0]], texts=documents)
    assert sorted(docids(results)) == sorted([*docids(hits), hits[0].docid])
    assert sorted(docids(hashing.rerank(query, [*hits, hits[0]]))) == sorted(docids(results))


def test_no_hits(searcher, hashing, backend):
    nothing = "zzzqqq"
    assert searcher.search(nothing) == []
    searcher.set_reranker(hashing)
    assert searcher.search(nothing) == []
    assert searcher.batch_search([nothing, nothing], ["1", "2"]) == {"1": [], "2": []}
    assert hashing.rerank("flea", []) == [] and hashing.rerank("flea", [], k=5) == []
    assert not backend.pairs
    assert pyserini_rerank.trace(searcher.search(nothing)) == []


def test_no_hits_with_the_real_model(searcher, reranker):
    searcher.set_reranker(reranker)
    assert searcher.search("zzzqqq") == []


def test_an_empty_batch(searcher, hashing):
    expected = searcher.batch_search([], [])
    searcher.set_reranker(hashing)
    assert searcher.batch_search([], []) == expected == {}


# --------------------------------------------------------------------------------------------------------- checkpoints


def both(searcher, name, kind, *parts, **options):
    """`load` and `set_reranker` refuse alike, and the searcher stays as it was."""
    message = refused(kind, lambda: pyserini_rerank.load(name, device="cpu", **options), *parts)
    assert refused(kind, lambda: searcher.set_reranker(name, device="cpu", **options), *parts) == message
    assert not searcher.is_using_reranker()


def test_a_folder_that_is_no_checkpoint(searcher, tmp_path):
    both(searcher, str(tmp_path), FileNotFoundError, str(tmp_path), "no checkpoint", "config.json", "hub name")


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "~/no-such-folder", Path("no/such/folder")])
def test_a_folder_that_is_not_there(searcher, name):
    both(searcher, name, FileNotFoundError, f"the folder {name} is not there", "name a folder with a checkpoint")


def test_a_file_in_place_of_a_folder(searcher, tiny):
    both(searcher, str(tiny / "config.json"), FileNotFoundError, str(tiny / "config.json"))


def test_a_checkpoint_without_weights(searcher, tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError) as error:
        pyserini_rerank.load(folder, device="cpu")
    assert str(folder) in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model_type": "no-such-model"}', "{}"])
def test_a_checkpoint_whose_configuration_is_broken(tiny, tmp_path, content):
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "config.json").write_text(content)
    with pytest.raises((OSError, ValueError)) as error:
        pyserini_rerank.load(folder, device="cpu")
    assert str(folder) in str(error.value) and len(str(error.value).splitlines()) == 1


def test_a_checkpoint_without_a_tokenizer(searcher, tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink()
    both(searcher, str(folder), FileNotFoundError, str(folder), "has no tokenizer", "copy its files into the folder")


def test_weights_cut_short(searcher, tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    both(searcher, str(folder), ValueError, f"the weights in {folder} cannot be read")


def test_several_labels_and_no_word_on_them(searcher, tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    labels = {"id2label": {str(i): f"L{i}" for i in range(3)}, "label2id": {f"L{i}": i for i in range(3)}}
    (folder / "config.json").write_text(json.dumps({**config, **labels}))

    def widen(weights):
        weights["classifier.weight"] = weights["classifier.weight"].repeat(3, 1)
        weights["classifier.bias"] = weights["classifier.bias"].repeat(3)

    change_weights(folder, widen)
    both(searcher, str(folder), ValueError, f"{folder} has 3 labels", "pass head=")


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A machine without a network, and with an empty cache."""
    from huggingface_hub import constants

    cache = str(tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return cache


def test_a_hub_that_cannot_be_reached(searcher, no_hub):
    name = "cross-encoder/ms-marco-MiniLM-L-6-v2"
    both(searcher, name, ConnectionError, name, no_hub, "cannot be reached", "'bundled'", "bundled-model")


def test_a_hub_that_cannot_be_reached_and_a_name_that_nobody_knows(searcher, no_hub):
    both(searcher, "nobody/no-such-model", ConnectionError, "nobody/no-such-model", no_hub)


@pytest.mark.parametrize("name", ["a name with spaces", "one/two/three", "", "name?"])
def test_what_is_neither_a_folder_nor_a_name(no_hub, name):
    with pytest.raises((ValueError, OSError)) as error:
        pyserini_rerank.load(name, device="cpu")
    assert name in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_cuda_device_that_is_not_there(searcher, tiny, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    says = f"device='{device}' is not there: torch sees 0 CUDA devices", "Take 'cpu'"
    refused(ValueError, lambda: pyserini_rerank.load(tiny, device=device), *says)
    refused(ValueError, lambda: searcher.set_reranker(tiny, device=device), *says)
    assert not searcher.is_using_reranker()


def test_options_of_a_model_that_is_loaded_already(searcher, hashing):
    """They would be ignored in silence."""
    refused(TypeError, lambda: searcher.set_reranker(hashing, device="cpu"), "device")
    assert not searcher.is_using_reranker()


@pytest.mark.parametrize("wrong", [None, 7, object()])
def test_what_is_no_reranker(searcher, wrong):
    with pytest.raises(TypeError) as error:
        searcher.set_reranker(wrong)
    assert len(str(error.value).splitlines()) == 1 and type(wrong).__name__ in str(error.value)
    assert not searcher.is_using_reranker()


# -------------------------------------------------------------------------------------------------------------- logits


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_no_numbers(searcher, hashing, backend, query, value):
    backend.score = lambda query, text: value
    searcher.set_reranker(hashing, depth=5)
    says = f"hashing scored {value} for ", repr(query), "dtype='float32'"
    refused(FloatingPointError, lambda: searcher.search(query), *says)
    refused(FloatingPointError, lambda: searcher.batch_search([query], ["1"]), *says)
    refused(FloatingPointError, lambda: hashing.score(query, ["text"]), *says, "'text'")


def test_one_logit_of_many(searcher, hashing, backend, queries):
    """The query and the passage that it was are named."""
    bad = searcher.search(queries[1], k=3)[2]
    text = json.loads(bad.lucene_document.get("raw"))["contents"]
    backend.score = lambda query, passage: np.nan if (query, passage) == (queries[1], text) else 1.0
    searcher.set_reranker(hashing, depth=5)
    call = lambda: searcher.batch_search(queries, [str(i) for i in range(len(queries))])  # noqa: E731
    refused(FloatingPointError, call, "scored nan for 1 pairs", repr(queries[1]), ascii(text[:40])[:-1])


def test_a_nan_for_a_long_query_is_still_a_line_that_can_be_read(hashing, backend):
    backend.score = lambda query, text: np.nan
    refused(FloatingPointError, lambda: hashing.score("long\n" * 20_000, ["text\n" * 20_000]), "scored nan")


# ---------------------------------------------------------------------------------------------------- closed searchers


@pytest.fixture
def closed(make_searcher, vector_query, hashing, documents, numbered):
    """A searcher of a kind that worked and was closed, a query, and what goes with it."""

    def make(kind):
        searcher = make_searcher(kind)
        words = "make a temporary directory"
        asked = vector_query(words) if kind in ("hnsw", "flat") else words
        searcher.set_reranker(hashing, depth=5, texts={**documents, **numbered})
        assert searcher.search(asked, rerank_query=words)
        below = {"hybrid": lambda: [searcher.sparse_searcher], "fusion": lambda: searcher.searchers}
        for part in below.get(kind, lambda: [searcher])():
            part.close()
        return searcher, asked, words

    return make


CLOSABLE = ["bm25", "impact", "wordpieces", "slim", "hnsw", "flat", "fusion", "hybrid"]


@pytest.mark.parametrize("kind", CLOSABLE)
def test_search_with_a_closed_searcher(closed, kind):
    searcher, asked, words = closed(kind)
    says = type(searcher).__name__, "is closed", "open the index again"
    refused(RuntimeError, lambda: searcher.search(asked, rerank_query=words), *says)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind in CLOSABLE if kind != "fusion"])
def test_batch_search_with_a_closed_searcher(closed, kind, threads):
    searcher, asked, words = closed(kind)
    says = type(searcher).__name__, "is closed", "open the index again"
    call = lambda: searcher.batch_search([asked, asked], ["1", "2"], threads=threads, rerank_queries=[words, words])  # noqa: E731
    refused(RuntimeError, call, *says)


def test_a_closed_searcher_through_the_explicit_form(make_searcher, hashing, query):
    searcher = make_searcher("bm25")
    reranking = RerankingSearcher(searcher, hashing)
    assert reranking.search(query)
    searcher.close()
    refused(RuntimeError, lambda: reranking.search(query), "LuceneSearcher is closed")
    refused(RuntimeError, lambda: reranking.batch_search([query], ["1"]), "LuceneSearcher is closed")


def test_a_closed_text_index(make_searcher, hashing, query):
    """Pyserini's look-up in a closed index finds nothing, in silence: every document would seem to lack its text."""
    texts, searcher = make_searcher("bm25"), make_searcher("faiss")
    searcher.set_reranker(hashing, depth=5, texts=texts)
    assert searcher.search(query)
    texts.close()
    with pytest.raises((RuntimeError, LookupError)) as error:
        searcher.search(query)
    assert len(str(error.value).splitlines()) == 1 and "text" in str(error.value)


def test_one_failing_query_of_a_dense_batch(make_searcher, hashing, vector_query, documents):
    """Pyserini leaves out of the results, in silence, a query that failed (here: of the wrong dimension)."""
    searcher = make_searcher("hnsw")
    searcher.set_reranker(hashing, depth=5, texts=documents)
    queries = [vector_query("make a temporary directory"), "[1, 2]"]
    with pytest.raises((RuntimeError, ValueError)) as error:
        searcher.batch_search(queries, ["good", "bad"], rerank_queries=["one", "two"])
    assert "bad" in str(error.value) and len(str(error.value).splitlines()) == 1


# ---------------------------------------------------------------------------------------------------- queries and qids


@pytest.mark.parametrize(("queries", "qids"), [(["a"], ["1", "2"]), (["a", "b"], ["1"]), ([], ["1"]), (["a"], [])])
def test_queries_and_qids_of_different_number(reranking, first, searcher, hashing, queries, qids):
    says = f"there are {len(queries)} queries and {len(qids)} qids: give one qid a query"
    refused(ValueError, lambda: reranking.batch_search(queries, qids), says)
    searcher.set_reranker(hashing)
    refused(ValueError, lambda: searcher.batch_search(queries, qids), says)
    assert first.calls == 0


def test_qids_that_come_twice(reranking, first, searcher, hashing):
    says = "the qid '1' comes twice", "results are kept by qid"
    refused(ValueError, lambda: reranking.batch_search(["a", "b", "c"], ["1", "2", "1"]), *says)
    refused(ValueError, lambda: reranking.batch_search(["a", "a"], ["1", "1"]), *says)
    searcher.set_reranker(hashing)
    refused(ValueError, lambda: searcher.batch_search(["a", "b"], ["1", "1"]), *says)
    assert first.calls == 0


@pytest.mark.parametrize("qid", [1, None, 1.0, b"1", ("1",)])
def test_qids_that_are_no_strings(reranking, first, searcher, hashing, qid):
    says = f"the qid {qid!r} is a {type(qid).__name__}: Pyserini's qids are strings"
    refused(TypeError, lambda: reranking.batch_search(["a", "b"], ["1", qid]), says)
    searcher.set_reranker(hashing)
    refused(TypeError, lambda: searcher.batch_search(["a", "b"], ["1", qid]), says)
    assert first.calls == 0


@pytest.mark.parametrize("number", [0, 1, 3])
def test_rerank_queries_of_another_number(reranking, first, number):
    given = ["text"] * number
    says = f"there are {number} rerank_queries for 2 queries"
    refused(ValueError, lambda: reranking.batch_search(["a", "b"], ["1", "2"], rerank_queries=given), says)
    assert first.calls == 0


@pytest.mark.parametrize("qids", [["1", "2"], ["é 😺", 'quo"te'], ["b", "a"]])
def test_qids_are_kept_as_they_are(searcher, hashing, queries, qids):
    searcher.set_reranker(hashing)
    assert list(searcher.batch_search(queries[:2], qids)) == qids


# -------------------------------------------------------------------------------------------------------------- texts=


@pytest.mark.parametrize("name", ["no-such-index", "/no/such/index", "msmarco-v1-pasage"])
def test_a_text_index_that_does_not_exist(searcher, first, hashing, name, query):
    says = f"texts= names '{name}'", "neither a folder nor a prebuilt index", "list_prebuilt_indexes()"
    refused(FileNotFoundError, lambda: searcher.set_reranker(hashing, texts=name), *says)
    refused(FileNotFoundError, lambda: RerankingSearcher(first, hashing, texts=name), *says)
    refused(FileNotFoundError, lambda: hashing.rerank(query, first.search(query), texts=name), *says)
    assert not searcher.is_using_reranker()


def test_a_text_index_that_does_not_exist_is_refused_before_a_model_is_loaded(searcher):
    refused(FileNotFoundError, lambda: searcher.set_reranker("/no/such/model", texts="no-such-index"), "no-such-index")


# ------------------------------------------------------------------------------------------------------ after an error


def test_a_searcher_works_after_an_error(searcher, hashing, query, documents):
    """Nothing of a refused call stays behind."""
    searcher.set_reranker(hashing, depth=5)
    expected = [(hit.docid, hit.score) for hit in searcher.search(query)]
    for call in (
        lambda: searcher.search(7),
        lambda: searcher.search(query, k=0),
        lambda: searcher.batch_search([query], ["1", "2"]),
        lambda: searcher.search(query, no_such_argument=1),
    ):
        with pytest.raises((ValueError, TypeError)):
            call()
        assert [(hit.docid, hit.score) for hit in searcher.search(query)] == expected
    assert next(iter(inspect.signature(searcher.search).parameters)) == "q"
    searcher.unset_reranker()
    assert len(searcher.search(query)) == 10
