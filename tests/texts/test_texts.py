"""Where a document's text comes from: the hit itself, another index, a mapping, a callable, a template."""

import json
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import faiss
import numpy as np
import pyserini_rerank
import pytest
from pyserini import prebuilt_index_info as catalogue
from pyserini.index.lucene import LuceneIndexer
from pyserini.pyclass import autoclass
from pyserini.search.faiss import FaissSearcher
from pyserini.search.hybrid import HybridSearcher
from pyserini.search.lucene import LuceneImpactSearcher, LuceneSearcher
from pyserini_rerank import EmptyDocumentWarning, MissingText, Template
from pyserini_rerank.retrieval.candidates import from_hits
from pyserini_rerank.texts import stored as stored_texts
from pyserini_rerank.texts.opening import resolve
from pyserini_rerank.texts.source import read
from pyserini_rerank.texts.stored import text_index

DOCUMENTS = {
    "d1": "The life cycle of a flea takes 30 to 75 days.",
    "d2": "The cat flea is the most common flea on cats and dogs.",
    "d3": "A bicycle has two wheels and no flea. \U0001f6b2 قطة",
}
QUERY = "flea"


def index(folder, documents, *options):
    """A Lucene index of JSON documents, or of a mapping from docid to text."""
    if isinstance(documents, dict):
        documents = [{"id": docid, "contents": text} for docid, text in documents.items()]
    indexer = LuceneIndexer(args=["-index", str(folder), *options], threads=1)
    for document in documents:
        indexer.add_doc_raw(json.dumps(document))
    indexer.close()
    return LuceneSearcher(str(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("indexes")


@pytest.fixture(scope="module")
def stored(folder):
    """raw is stored."""
    return index(folder / "raw", DOCUMENTS, "-storeRaw")


@pytest.fixture(scope="module")
def contents(folder):
    """contents is stored, and not raw."""
    return index(folder / "contents", DOCUMENTS, "-storeContents")


@pytest.fixture(scope="module")
def bare(folder):
    """Nothing but the ids is stored."""
    return index(folder / "bare", DOCUMENTS)


ARTICLES = [
    {"id": "a1", "contents": "flea", "title": "On fleas", "abstract": "They jump."},
    {"id": "a2", "contents": "flea", "title": "", "abstract": ""},
    {"id": "a3", "contents": "flea", "title": "On cats", "abstract": None},
    {"id": "a4", "contents": "flea", "title": "  ", "abstract": "\n"},
]


@pytest.fixture(scope="module")
def articles(folder):
    """Documents of a user's own making, some without any text in the fields that count."""
    return index(folder / "articles", ARTICLES, "-storeRaw")


def found(searcher, given=None, query=QUERY, **options):
    """The texts of what a search finds, by docid."""
    hits = searcher.search(query, **options)
    assert hits
    return {hit.docid: text for hit, text in zip(hits, _read(given, searcher, hits), strict=True)}


def _read(given, searcher, hits):
    return read(resolve(given, searcher), from_hits(hits, len(hits)))


def dense_searcher(folder, docids):
    """A real Faiss index of a vector a document."""
    folder.mkdir(exist_ok=True)
    vectors = np.eye(len(docids), 4, dtype=np.float32) + 1
    flat = faiss.IndexFlatIP(4)
    flat.add(vectors)
    faiss.write_index(flat, str(folder / "index"))
    (folder / "docid").write_text("".join(f"{docid}\n" for docid in docids))
    return FaissSearcher(str(folder), SimpleNamespace(encode=lambda query: np.ones(4, dtype=np.float32)))


def one_line(error):
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


# ------------------------------------------------------------------------------------------------ the hit's document


def test_stored_raw(stored):
    assert found(stored) == DOCUMENTS


def test_stored_contents(contents):
    assert found(contents) == DOCUMENTS


def test_neither_is_an_error_that_names_the_hit_and_the_remedy(bare, hashing):
    with pytest.raises(MissingText) as error:
        found(bare)
    assert re.match(r"hit d\d has no text in the index of LuceneSearcher: pass texts=, with an index", one_line(error))
    with pytest.raises(MissingText, match="hit d"):
        hashing.rerank(QUERY, bare.search(QUERY))


def test_a_users_own_json_is_an_error_that_offers_a_template(folder):
    own = index(folder / "own", [{"id": "o1", "contents": "flea", "abstract": "They jump."}], "-storeRaw")
    raw = json.dumps({"id": "o1", "abstract": "They jump."})
    hits = own.search(QUERY)
    hits[0].lucene_document.removeFields("raw")
    stored_field = autoclass("org.apache.lucene.document.StoredField")
    hits[0].lucene_document.add(stored_field("raw", raw))
    with pytest.raises(MissingText, match="Template"):
        _read(None, own, hits)


def test_hits_in_hand_without_a_searcher_say_where_was_looked(hashing, bare):
    with pytest.raises(MissingText) as error:
        hashing.rerank(QUERY, bare.search(QUERY))
    assert "NoneType" not in one_line(error)


@pytest.mark.parametrize(
    ("collection", "file", "content", "text"),
    [
        (
            "JsonCollection",
            "a.json",
            json.dumps([{"id": "1", "contents": "A flea\njumps."}]),
            "A flea\njumps.",
        ),
        (
            "BeirFlatCollection",
            "corpus.jsonl",
            json.dumps({"_id": "1", "title": "On fleas", "text": "A flea jumps.", "metadata": {"year": 1998}}),
            "On fleas A flea jumps.",
        ),
        (
            "BeirMultifieldCollection",
            "corpus.jsonl",
            json.dumps({"_id": "1", "title": "", "text": "A flea jumps.", "metadata": {}}),
            "A flea jumps.",
        ),
        (
            "MrTyDiCollection",  # which is MIRACL's too
            "docs.jsonl",
            json.dumps({"docid": "1#0", "title": "Flea", "text": "A flea jumps. 🐈"}),
            "Flea A flea jumps. 🐈",
        ),
        (
            "MsMarcoV2PassageCollection",
            "a.jsonl",
            json.dumps({"pid": "msmarco_passage_00_0", "passage": "A flea jumps.", "spans": "(0,13)", "docid": "d"}),
            "A flea jumps.",
        ),
        (
            "MsMarcoV2DocCollection",
            "a.jsonl",
            json.dumps(
                {"url": "http://u", "title": "Fleas", "headings": "H", "body": "A flea jumps.", "docid": "doc_00_0"}
            ),
            "Fleas A flea jumps.",
        ),
        (
            "MsMarcoV2DocCollection",
            "a.jsonl",
            json.dumps(
                {
                    "docid": "msmarco_v2.1_doc_00_0#0_0",
                    "url": "http://u",
                    "title": "Fleas",
                    "headings": "H",
                    "segment": "A flea jumps.",
                    "start_char": 0,
                    "end_char": 13,
                }
            ),
            "Fleas A flea jumps.",
        ),
        (
            "TrecCollection",
            "a.txt",
            "<DOC>\n<DOCNO> FBIS3-1 </DOCNO>\n<HEADLINE>Fleas</HEADLINE>\n<TEXT>\nA flea &amp; a cat jump.\n"
            "<P>Second</P>\n</TEXT>\n</DOC>\n",
            "Fleas A flea & a cat jump. Second",
        ),
        (
            "TrecwebCollection",
            "a.txt",
            "<DOC>\n<DOCNO>W1</DOCNO>\n<DOCHDR>\nhttp://x\n</DOCHDR>\n<html><head><style>p {}</style></head>"
            "<body>A flea jumps.</body></html>\n</DOC>\n",
            "A flea jumps.",
        ),
        (
            "HtmlCollection",
            "page.html",
            "<html><script>var flea = 1 < 2;</script><body><pre>A flea jumps &eacute;.</pre></body></html>\n",
            "A flea jumps é.",
        ),
    ],
    ids=lambda value: value if str(value).endswith("Collection") else "",
)
def test_what_anserini_indexes_of_each_collection(tmp_path, collection, file, content, text):
    (tmp_path / "collection").mkdir()
    (tmp_path / "collection" / file).write_text(content, encoding="utf-8")
    arguments = {"collection": collection, "input": tmp_path / "collection", "index": tmp_path / "index"}
    arguments |= {"generator": "DefaultLuceneDocumentGenerator", "threads": 1}
    autoclass("io.anserini.index.IndexCollection").main(
        [part for name, value in arguments.items() for part in (f"-{name}", str(value))] + ["-storeRaw"]
    )
    assert list(found(LuceneSearcher(str(tmp_path / "index"))).values()) == [text]


@pytest.mark.parametrize(
    "document",
    [{"id": "b1", "contents": "flea", "text": 1}, {"id": "b2", "contents": "flea", "title": ["a", 3], "text": "flea"}],
)
def test_a_document_that_cannot_be_read_is_an_error_that_names_it(folder, document):
    broken = index(folder / document["id"], [document], "-storeRaw")
    hits = broken.search(QUERY)
    hits[0].lucene_document.removeFields("raw")
    raw = json.dumps({name: value for name, value in document.items() if name != "contents"})
    hits[0].lucene_document.add(autoclass("org.apache.lucene.document.StoredField")("raw", raw))
    with pytest.raises(ValueError) as error:
        _read(None, broken, hits)
    assert re.match(rf"document {document['id']}: its field '\w+' is a \w+, not text: pass texts=", one_line(error))


def test_broken_json_is_an_error_that_names_the_document(stored):
    hits = stored.search(QUERY)
    hits[1].lucene_document.removeFields("raw")
    hits[1].lucene_document.add(autoclass("org.apache.lucene.document.StoredField")("raw", '{"id": "d1", "cont'))
    with pytest.raises(ValueError) as error:
        _read(None, stored, hits)
    assert one_line(error).startswith(f"document {hits[1].docid}: its stored JSON does not parse")


def test_half_of_a_surrogate_pair_becomes_the_replacement_character(folder):
    odd = [{"id": "s1", "contents": "flea \ud83d odd \ud83d\ude3a"}]
    assert found(index(folder / "surrogates", odd, "-storeRaw")) == {"s1": "flea \ufffd odd 😺"}


def test_nul_and_quotes_survive(folder):
    odd = {'"q"': "flea \0 \" ' \\ \u2028 end"}
    assert found(index(folder / "quotes", odd, "-storeRaw")) == odd
    assert found(index(folder / "quotes-bare", odd), str(folder / "quotes")) == odd


# ------------------------------------------------------------------------------------------------------------ texts=


def test_another_searcher(bare, stored, contents):
    assert found(bare, stored) == DOCUMENTS
    assert found(bare, contents) == DOCUMENTS


def test_texts_counts_before_the_hits_own_document(stored):
    assert found(stored, {docid: f"other {docid}" for docid in DOCUMENTS}) == {d: f"other {d}" for d in DOCUMENTS}


@pytest.mark.parametrize("kind", [str, Path])
def test_the_path_of_an_index(bare, folder, kind):
    assert found(bare, kind(folder / "raw")) == DOCUMENTS


def test_an_impact_searcher_which_has_no_batch_doc(bare, folder, stored):
    impact = LuceneImpactSearcher(str(folder / "raw"), None)
    assert not hasattr(impact, "batch_doc")
    assert found(bare, impact) == DOCUMENTS


def test_any_object_with_doc(bare):
    lookups = []

    def doc(docid):
        lookups.append(docid)
        return None if docid == "d3" else {"contents": DOCUMENTS[docid]}

    with pytest.raises(MissingText, match="hit d3 has no text in the text index SimpleNamespace"):
        found(bare, SimpleNamespace(doc=doc))
    assert sorted(lookups) == ["d1", "d2", "d3"]


def test_many_documents_are_looked_up_in_one_call(bare, stored, monkeypatch):
    calls = []
    real = stored.object

    def look_up(ids, threads):
        calls.append(ids.size())
        return real.batch_get_docs(ids, threads)

    monkeypatch.setattr(stored, "object", SimpleNamespace(batch_get_docs=look_up))
    hits = bare.search(QUERY)
    assert _read(stored, bare, hits + hits) == [DOCUMENTS[hit.docid] for hit in hits + hits]
    assert calls == [3], "docids that come twice are looked up once"


def test_a_mapping(bare):
    assert found(bare, DOCUMENTS) == DOCUMENTS


def test_a_mapping_that_lacks_a_document(bare):
    with pytest.raises(MissingText) as error:
        found(bare, {"d1": "one", "d3": "three"})
    assert one_line(error).startswith("hit d2 has no text in the mapping given as texts=: pass texts=")


def test_a_mapping_that_makes_up_what_it_lacks_is_asked_only_for_what_it_has(bare):
    # A mapping's get() does not trigger defaultdict's factory: an empty text that nobody wrote is never scored.
    from collections import defaultdict

    with pytest.raises(MissingText):
        found(bare, defaultdict(str))


def test_a_callable(bare):
    assert found(bare, DOCUMENTS.__getitem__) == DOCUMENTS
    assert found(bare, lambda docid: f"text of {docid}")["d2"] == "text of d2"


def test_a_callable_that_has_no_text(bare):
    with pytest.raises(MissingText, match="hit d. has no text in what the callable given as texts= returns"):
        found(bare, lambda docid: None)


def test_a_callables_own_error_comes_through(bare):
    with pytest.raises(KeyError, match="d"):
        found(bare, {}.__getitem__)


@pytest.mark.parametrize("value", [b"bytes", 7, ["a"], {"text": "a"}, float("nan")])
def test_a_text_that_is_no_string(bare, value):
    with pytest.raises(TypeError) as error:
        found(bare, lambda docid: value)
    assert re.match(rf"the text of d\d in what the callable .* is {type(value).__name__}, not str", one_line(error))
    with pytest.raises(TypeError, match="in the mapping given as texts="):
        found(bare, dict.fromkeys(DOCUMENTS, value))


@pytest.mark.parametrize("value", ["   ", "\n\t", "\u3000"])
def test_white_space_is_an_empty_text(bare, value):
    assert set(found(bare, dict.fromkeys(DOCUMENTS, value)).values()) == {""}


def test_half_of_a_surrogate_pair_in_a_users_own_text(bare, hashing):
    given = {docid: text + " \ud83d" for docid, text in DOCUMENTS.items()}
    assert found(bare, given) == {docid: text + " \ufffd" for docid, text in DOCUMENTS.items()}
    assert len(hashing.rerank(QUERY, bare.search(QUERY), texts=given)) == 3


@pytest.mark.parametrize("given", [7, 1.5, b"raw", ["d1"], object(), True])
def test_what_is_no_source_of_texts(bare, given):
    with pytest.raises(TypeError) as error:
        resolve(given, bare)
    message = one_line(error)
    assert "searcher, an index's path or name, a collection file, a mapping, a callable or a Template" in message
    assert type(given).__name__ in message


@pytest.mark.parametrize("given", ["no-such-index", "/no/such/folder", Path("no/such/folder")])
def test_an_index_that_does_not_exist(bare, given):
    with pytest.raises(FileNotFoundError) as error:
        resolve(given, bare)
    message = one_line(error)
    assert str(given) in message and "list_prebuilt_indexes()" in message


def test_a_folder_that_is_no_index(bare, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        resolve(str(tmp_path), bare)
    assert str(tmp_path) in one_line(error)


def test_a_prebuilt_index_that_cannot_be_fetched(bare, monkeypatch):
    # What Pyserini does without a network: it prints a line and returns None.
    monkeypatch.setattr(LuceneSearcher, "from_prebuilt_index", lambda name: None)
    with pytest.raises(OSError) as error:
        resolve("msmarco-v1-passage", bare)
    assert "msmarco-v1-passage" in one_line(error)


def test_a_prebuilt_index(bare, stored, monkeypatch):
    asked = []
    monkeypatch.setattr(LuceneSearcher, "from_prebuilt_index", lambda name: asked.append(name) or stored)
    assert found(bare, "msmarco-v1-passage") == DOCUMENTS
    assert asked == ["msmarco-v1-passage"]


def test_unknown_docids_name_the_hit_and_the_index(bare, folder):
    other = index(folder / "other", {"d1": DOCUMENTS["d1"], "x": "flea"}, "-storeRaw")
    with pytest.raises(MissingText) as error:
        found(bare, other)
    assert re.match(rf"hit d[23] has no text in the text index {folder / 'other'}: pass texts=", one_line(error))


def test_a_text_index_that_stores_no_text(stored, bare, folder):
    with pytest.raises(MissingText, match=f"has no text in the text index {folder / 'bare'}"):
        found(stored, bare)


# ---------------------------------------------------------------------------------------------------------- Template


def test_template_on_stored_documents(articles):
    assert found(articles, Template("{title}. {abstract}")) == {
        "a1": "On fleas. They jump.",
        "a2": "",
        "a3": "On cats.",
        "a4": "",
    }


@pytest.mark.parametrize("kind", ["path", "searcher"])
def test_template_with_an_index(articles, folder, kind):
    bare_articles = index(folder / f"bare-articles-{kind}", ARTICLES)
    where = str(folder / "articles") if kind == "path" else articles
    assert found(bare_articles, Template("{title} {abstract}", index=where))["a1"] == "On fleas They jump."


def test_template_with_an_index_that_does_not_exist(articles):
    with pytest.raises(FileNotFoundError, match="no-such-index"):
        resolve(Template("{title}", index="no-such-index"), articles)


def test_template_whose_fields_no_document_has(articles):
    with pytest.raises(ValueError) as error:
        found(articles, Template("{body}"))
    assert re.match(r"document a\d: has none of the template's fields \['body'\]; its own are ", one_line(error))


def test_template_where_no_raw_is_stored(contents):
    with pytest.raises(MissingText):
        found(contents, Template("{title}"))


# --------------------------------------------------------------------------------------------------- empty documents


def test_empty_documents_stay_below_and_are_never_scored(articles, hashing, backend):
    hits = articles.search(QUERY)
    first_stage = [hit.docid for hit in hits]
    with pytest.warns(EmptyDocumentWarning, match="2 documents have no text and stay below the 2 that were") as caught:
        results = hashing.rerank(QUERY, hits, texts=Template("{title} {abstract}"))
    assert {hit.docid for hit in results[:2]} == {"a1", "a3"}
    assert [hit.docid for hit in results[2:]] == [docid for docid in first_stage if docid in ("a2", "a4")]
    scores = [hit.score for hit in results]
    assert all(above > below for above, below in zip(scores, scores[1:], strict=False))
    assert sorted(backend.pairs) == [(QUERY, "On cats"), (QUERY, "On fleas They jump.")]
    assert (hashing.counts.empty, hashing.counts.pairs, hashing.counts.scored) == (2, 2, 2)
    assert [warning.filename for warning in caught] == [__file__]


def test_empty_documents_warn_once_and_are_counted(articles, hashing):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            hashing.rerank(QUERY, articles.search(QUERY), texts=Template("{title} {abstract}"))
    assert [warning.category for warning in caught] == [EmptyDocumentWarning]
    assert hashing.counts.empty == 6


def test_nothing_but_empty_documents(stored, hashing):
    hits = stored.search(QUERY)
    with pytest.warns(EmptyDocumentWarning, match="3 documents"):
        results = hashing.rerank(QUERY, hits, texts=dict.fromkeys(DOCUMENTS, ""))
    assert [hit.docid for hit in results] == [hit.docid for hit in hits]
    assert all(above.score > below.score for above, below in zip(results, results[1:], strict=False))
    assert hashing.counts.scored == 0


def test_an_empty_document_whose_text_index_does_not_have_it_is_still_empty(articles, folder, monkeypatch):
    # Otherwise what was found empty would be an error, and only because an index belongs to the searcher.
    monkeypatch.setattr(articles, "prebuilt_index_name", "msmarco-v1-passage.mine", raising=False)
    monkeypatch.setattr(stored_texts, "open_index", lambda name: LuceneSearcher(str(folder / "raw")))
    assert LuceneSearcher(str(folder / "raw")).doc("a2") is None
    assert found(articles, Template("{title} {abstract}"))["a2"] == ""


def test_an_empty_stored_document_is_looked_up_where_its_text_is(folder):
    # An impact index that stores "" for contents, beside the index that has the text.
    hits = index(folder / "stub", [{"id": d, "contents": "flea"} for d in DOCUMENTS], "-storeRaw").search(QUERY)
    stored_field = autoclass("org.apache.lucene.document.StoredField")
    for hit in hits:
        hit.lucene_document.removeFields("raw")
        hit.lucene_document.add(stored_field("raw", json.dumps({"id": hit.docid, "contents": "", "vector": {"f": 1}})))
    searcher = SimpleNamespace(ssearcher=LuceneSearcher(str(folder / "raw")))
    assert dict(zip([hit.docid for hit in hits], _read(None, searcher, hits), strict=True)) == DOCUMENTS


# ------------------------------------------------------------------------------------------------- strip_segment_id

SEGMENTS = {"D1.0": "A flea jumps.", "D1.1": "A second flea sleeps.", "D2.0": "No flea there, a flea here."}


@pytest.fixture(scope="module")
def segments(folder):
    index(folder / "segments", SEGMENTS, "-storeRaw")
    return index(folder / "bare-segments", SEGMENTS)


@pytest.mark.parametrize("given", ["index", "mapping", "callable"])
def test_stripped_docids_are_looked_up_uncut(segments, folder, given):
    source = {"index": str(folder / "segments"), "mapping": SEGMENTS, "callable": SEGMENTS.__getitem__}[given]
    uncut = segments.search(QUERY)
    hits = segments.search(QUERY, strip_segment_id=True)
    assert {hit.docid for hit in hits} == {"D1", "D2"}
    assert _read(source, segments, hits) == [SEGMENTS[hit.docid] for hit in uncut]


def test_stripped_docids_come_back_stripped(segments, hashing):
    hits = segments.search(QUERY, strip_segment_id=True)
    assert sorted(hit.docid for hit in hashing.rerank(QUERY, hits, texts=SEGMENTS)) == ["D1", "D1", "D2"]


# --------------------------------------------------------------------------- the text index that belongs to a searcher


def test_a_searcher_of_ones_own_has_none(bare, folder):
    assert text_index(bare) is None
    assert text_index(None) is None
    assert text_index(dense_searcher(folder / "faiss", DOCUMENTS)) is None


def test_faiss_hits_without_a_text_index_ask_for_one(folder):
    with pytest.raises(MissingText) as error:
        found(dense_searcher(folder / "faiss", DOCUMENTS), k=3)
    assert re.match(r"hit d\d has no text in the index of FaissSearcher: pass texts=", one_line(error))


def test_faiss_hits_have_the_text_of_its_sparse_searcher(folder, stored):
    dense = dense_searcher(folder / "faiss", DOCUMENTS)
    dense.ssearcher = stored  # what FaissSearcher itself makes for a prebuilt index
    assert text_index(dense) is stored
    assert found(dense, k=3) == DOCUMENTS


def test_faiss_whose_sparse_index_could_not_be_fetched_asks(folder):
    dense = dense_searcher(folder / "faiss", DOCUMENTS)
    dense.ssearcher = None
    with pytest.raises(MissingText, match="pass texts="):
        found(dense, k=3)


def test_hybrid_hits_have_the_text_of_the_sparse_part(folder, stored):
    hybrid = HybridSearcher(dense_searcher(folder / "faiss", DOCUMENTS), stored)
    assert text_index(hybrid) is stored
    assert found(hybrid, k=3) == DOCUMENTS


def test_hybrid_with_an_impact_part(folder, stored, monkeypatch):
    opened = []
    monkeypatch.setattr(stored_texts, "open_index", lambda name: opened.append(name) or stored)
    impact = LuceneImpactSearcher(str(folder / "bare"), None, prebuilt_index_name="msmarco-v1-passage.splade-v3")
    assert text_index(HybridSearcher(dense_searcher(folder / "faiss", DOCUMENTS), impact)) is stored
    assert opened == ["msmarco-v1-passage"]
    dense = dense_searcher(folder / "faiss", DOCUMENTS)
    dense.ssearcher = stored
    nameless = LuceneImpactSearcher(str(folder / "bare"), None)
    assert text_index(HybridSearcher(dense, nameless)) is stored


def test_the_text_index_is_opened_once_and_only_when_a_text_is_lacking(bare, stored, monkeypatch):
    opened = []
    monkeypatch.setattr(stored_texts, "open_index", lambda name: opened.append(name) or stored)
    monkeypatch.setattr(stored, "prebuilt_index_name", "msmarco-v1-passage.splade-v3")
    monkeypatch.setattr(bare, "prebuilt_index_name", "msmarco-v1-passage.splade-v3")
    assert found(stored) == DOCUMENTS
    assert opened == []
    source = resolve(None, bare)
    assert opened == []
    hits = bare.search(QUERY)
    for _ in range(2):
        assert read(source, from_hits(hits, 3)) == [DOCUMENTS[hit.docid] for hit in hits]
    assert opened == ["msmarco-v1-passage"]


# Each name of each of the catalogue's dicts, and what has its text in 2.3.0's.
FOUND = {
    "IMPACT_INDEX_INFO": {
        "msmarco-v1-passage.splade-v3": "msmarco-v1-passage",
        "msmarco-v1-passage.splade-v3-text": "msmarco-v1-passage",
        "msmarco-v1-passage.splade-pp-ed": "msmarco-v1-passage",
        "msmarco-v1-passage.splade-pp-sd-docvectors": "msmarco-v1-passage",
        "msmarco-v1-passage.unicoil": "msmarco-v1-passage",
        "msmarco-v1-passage.deepimpact": "msmarco-v1-passage",
        "msmarco-v1-passage.distill-splade-max": "msmarco-v1-passage",
        "msmarco-v1-passage.slimr-pp": "msmarco-v1-passage",
        "msmarco-v1-doc-segmented.unicoil": "msmarco-v1-doc-segmented",
        "msmarco-v2-passage.unicoil-noexp-0shot": "msmarco-v2-passage",
        "msmarco-v2-doc-segmented.unicoil-0shot": "msmarco-v2-doc-segmented",
        "beir-v1.0.0-trec-covid.splade-pp-ed": "beir-v1.0.0-trec-covid.flat",
        "beir-v1.0.0-scifact.splade-pp-ed": "beir-v1.0.0-scifact.flat",
    },
    "LUCENE_HNSW_INDEX_INFO": {
        "msmarco-v1-passage.bge-base-en-v1.5.hnsw": "msmarco-v1-passage",
        "msmarco-v2.1-doc-segmented-shard05.arctic-embed-l.hnsw-int8": "msmarco-v2.1-doc-segmented",
        "beir-v1.0.0-scidocs.bge-base-en-v1.5.hnsw": "beir-v1.0.0-scidocs.flat",
    },
    "LUCENE_FLAT_INDEX_INFO": {
        "beir-v1.0.0-cqadupstack-android.bge-base-en-v1.5.flat": "beir-v1.0.0-cqadupstack-android.flat",
        "bright-theoremqa-questions.bge-large-en-v1.5.flat": "bright-theoremqa-questions",
    },
    "FAISS_INDEX_INFO": {
        "msmarco-v1-passage.cosdpr-distil": "msmarco-v1-passage",
        "msmarco-v1-passage.tct_colbert.hnsw": "msmarco-v1-passage",
        "beir-v1.0.0-arguana.bge-base-en-v1.5": "beir-v1.0.0-arguana.flat",
        "bright-earth-science.reason-embed-qwen3-4b-0928": "bright-earth-science",
        "mrtydi-v1.1-japanese-mdpr-nq": "mrtydi-v1.1-japanese",
        "miracl-v1.0-fr-mdpr-tied-pft-msmarco": "miracl-v1.0-fr",
    },
    "TF_INDEX_INFO": {
        "msmarco-v1-passage.d2q-t5": "msmarco-v1-passage",
        "msmarco-v1-passage-slim": "msmarco-v1-passage",
        "msmarco-v2-doc-segmented-slim": "msmarco-v2-doc-segmented",
        "msmarco-v2.1-doc-slim": "msmarco-v2.1-doc",
    },
}


def prebuilt(name, monkeypatch):
    """The text index's name for a prebuilt index, without opening either."""
    monkeypatch.setattr(stored_texts, "open_index", lambda index: index)
    return text_index(SimpleNamespace(prebuilt_index_name=name))


@pytest.mark.parametrize(("entries", "name"), [(entries, name) for entries in FOUND for name in FOUND[entries]])
def test_the_text_index_of_a_prebuilt_one(entries, name, monkeypatch):
    assert name in getattr(catalogue, entries)
    assert FOUND[entries][name] in catalogue.TF_INDEX_INFO
    assert prebuilt(name, monkeypatch) == FOUND[entries][name]


@pytest.mark.parametrize(
    "name",
    [
        "msmarco-v1-passage",  # has its own text, or none
        "beir-v1.0.0-scifact.flat",
        "m-beir-union.clip-sf-large",  # texts= names an index that the catalogue does not have
        "mmeb-visdoc-ViDoRe_docvqa.VLM2Vec-V2.0",
        "beir-v1.0.0-cqadupstack-gaming.splade-pp-ed",
        "slidevqa.dse",
        "no-such.index",
    ],
)
def test_a_prebuilt_index_whose_text_index_is_not_to_be_had(name, monkeypatch, bare):
    assert prebuilt(name, monkeypatch) is None
    monkeypatch.setattr(bare, "prebuilt_index_name", name)
    with pytest.raises(MissingText, match="has no text in the index of LuceneSearcher: pass texts="):
        found(bare)


def test_the_whole_catalogue(monkeypatch):
    """Every dense and impact index has a text index, or is one of those that facts/pyserini.md counts."""
    for entries, lacking in (("FAISS", 48), ("IMPACT", 3), ("LUCENE_HNSW", 1), ("LUCENE_FLAT", 1)):
        indexes = getattr(catalogue, f"{entries}_INDEX_INFO")
        names = {name: prebuilt(name, monkeypatch) for name in indexes}
        assert {found for found in names.values() if found} <= catalogue.TF_INDEX_INFO.keys()
        for name, index_name in names.items():
            known = indexes[name].get("texts")
            assert index_name == (known if known in catalogue.TF_INDEX_INFO else None) or known is None
        assert sum(found is None for found in names.values()) <= lacking


# ------------------------------------------------------------------------------------------------- through a searcher


@pytest.mark.parametrize("given", ["searcher", "path", "mapping", "callable"])
def test_set_reranker_takes_texts(folder, bare, stored, hashing, given):
    source = {
        "searcher": stored,
        "path": str(folder / "raw"),
        "mapping": DOCUMENTS,
        "callable": DOCUMENTS.__getitem__,
    }[given]
    expected = hashing.rerank(QUERY, stored.search(QUERY))
    bare.set_reranker(hashing, texts=source)
    try:
        for hits in (bare.search(QUERY), bare.batch_search([QUERY], ["1"])["1"]):
            assert [hit.docid for hit in hits] == [hit.docid for hit in expected]
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-5)
    finally:
        bare.unset_reranker()


def test_a_source_that_does_not_exist_leaves_the_searcher_as_it_was(bare, hashing):
    with pytest.raises(FileNotFoundError, match="no-such-index"):
        bare.set_reranker(hashing, texts="no-such-index")
    assert not bare.is_using_reranker()
    assert bare.search(QUERY)


def test_a_hit_without_text_is_an_error_in_search_and_batch_search(bare, hashing):
    bare.set_reranker(hashing)
    try:
        with pytest.raises(MissingText, match="pass texts="):
            bare.search(QUERY)
        with pytest.raises(MissingText, match="pass texts="):
            bare.batch_search([QUERY], ["1"])
    finally:
        bare.unset_reranker()


def test_the_names_are_public():
    assert pyserini_rerank.MissingText is MissingText
    assert issubclass(MissingText, LookupError)
