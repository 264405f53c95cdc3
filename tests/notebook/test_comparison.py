"""A search beside its first stage: the right rows, readable everywhere, and nothing of a document is run."""

import html
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyserini_rerank
import pytest
from collection import HashBackend, WordBackend, build_lucene_index, docids, hashed, words
from pyserini_rerank import (
    Cascade,
    EmptyQueryWarning,
    Ensemble,
    Interpolation,
    ModelReranker,
    ReciprocalRankFusion,
    Reranker,
    RerankingSearcher,
    Segments,
    Windows,
    compare,
)
from pyserini_rerank.markup import RELEVANT
from pyserini_rerank.notebook.comparison import Comparison
from pyserini_rerank.notebook.words import split_at_terms
from pyserini_rerank.scoring.backend import Plan
from rich.console import Console
from tiny_checkpoints import build

KINDS = ["bm25", "impact", "wordpieces", "slim", "fusion", "hnsw", "flat", "faiss", "ivf", "binary", "hybrid"]

EVIL = 'A <script>document.title="run"</script> <img src=x onerror="run()"> flea [bold red]& "quoted"[/] \x1b[31mred'


class Page(HTMLParser):
    """The elements of a page, its text, and the text of each cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(page)
        self.close()
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def styled(self, name: str) -> list[str]:
        return [attributes["style"] or "" for tag, attributes in self.elements if tag == name and "style" in attributes]


@pytest.fixture(scope="module")
def tricky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A searcher on documents that a page or a terminal could trip over."""
    from pyserini.search.lucene import LuceneSearcher

    documents = {
        "<i>evil</i>": EVIL,
        "long": "fleas " + "and other words that nobody reads " * 200,
        "plain": "The flea's life, and a dog's.",
        "titled": "flea flea flea flea",
        "none": "flea of the dog flea of the cat",
    }
    folder = tmp_path_factory.mktemp("tricky")
    searcher = LuceneSearcher(build_lucene_index(folder / "index", documents))
    yield searcher
    searcher.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reranker]:
    """A real model, small and with random weights, that reads 256 tokens."""
    folder = build("cross-encoder/ms-marco-TinyBERT-L-2-v2", tmp_path_factory.mktemp("tiny"))
    with pyserini_rerank.load(folder, device="cpu", max_length=256) as loaded:
        yield loaded


def compared(tricky: Any, score: Any = hashed, **options: Any) -> Comparison:
    return compare(RerankingSearcher(tricky, ModelReranker(HashBackend(score), "<b>model</b>")), "the flea", **options)


@pytest.mark.parametrize("kind", KINDS)
def test_every_searcher(
    kind: str, make_searcher: Any, vector_query: Any, query: str, hashing: Reranker, documents: Any, numbered: Any
) -> None:
    """The first stage's own best and the reranked best, told by Pyserini and by the scores themselves."""
    searcher = make_searcher(kind)
    texts = numbered if kind in ("slim", "binary") else documents
    asked = (
        vector_query(query) if kind in ("hnsw", "flat") else " ".join(words(query)) if kind == "wordpieces" else query
    )
    more = {"rerank_query": query} if kind in ("hnsw", "flat", "wordpieces") else {}
    first = searcher.search(asked, k=20, **({"k0": 20} if kind == "hybrid" else {}))
    searcher.set_reranker(hashing, depth=20, texts=texts)
    best = searcher.search(asked, k=4, **more)

    made = compare(searcher, asked, k=4, **more)
    assert [row.docid for row in made.rows[:4]] == docids(best)
    assert [row.rank for row in made.rows[:4]] == [1, 2, 3, 4]
    assert {row.docid for row in made.rows if row.first_rank <= 4} == set(docids(first)[:4]) or kind == "hybrid"
    assert [row.first_rank <= 4 < row.rank for row in made.rows[4:]] == [True] * (len(made.rows) - 4)
    for row in made.rows:
        assert row.score == hashed(query, texts[row.docid].strip())
        assert row.text == " ".join(texts[row.docid].split())
        assert row.first_score == pytest.approx(float({hit.docid: hit.score for hit in first}[row.docid]))
    assert made.first_stage == type(searcher).__name__


def test_moves_scores_and_grades(searcher: Any, query: str, documents: dict[str, str]) -> None:
    """All that a row says, from scores that turn the first stage's order around."""
    first = searcher.search(query, k=6)
    order = {documents[hit.docid]: float(rank) for rank, hit in enumerate(first, 1)}
    searcher.set_reranker(ModelReranker(HashBackend(lambda _, text: order[text]), "reverse"), depth=6)
    made = compare(searcher, query, 2, qrels={first[5].docid: 2, first[0].docid: 0})
    assert [(row.rank, row.first_rank, made.move(row)) for row in made.rows] == [
        (1, 6, "▲ 5, new"),
        (2, 5, "▲ 3, new"),
        (5, 2, "▼ 3, out"),
        (6, 1, "▼ 5, out"),
    ]
    assert [row.score for row in made.rows] == [6, 5, 2, 1]
    assert [row.grade for row in made.rows] == [2, None, None, 0]
    heading, *rows = Page(made._repr_html_()).rows
    assert heading == ["rank", "was", "move", "score", "before", "grade", "passage"]
    assert rows[0][:6] == ["1", "6", "▲ 5, new", "6.000", f"{first[5].score:.3f}", "2"]
    assert rows[3][:6] == ["6", "1", "▼ 5, out", "1.000", f"{first[0].score:.3f}", "0"]
    assert rows[1][5] == "–"
    assert all(
        row[6].startswith(hit.docid) for row, hit in zip(rows, [first[5], first[4], first[1], first[0]], strict=True)
    )
    assert len(Page(compare(searcher, query, 2)._repr_html_()).rows[0]) == 6, "a column of grades without any"

    plain = repr(made)
    assert query in plain and "LuceneSearcher, its top 6 reranked by reverse" in plain
    for column in ("rank: after", "was: in", "move: places", "score: the", "before: the", "grade: its"):
        assert column in " ".join(plain.split()) and column in made._repr_html_()
    assert "grade:" not in compare(searcher, query, 2)._repr_html_()
    assert "▲ 5, new" in plain and "\x1b" not in plain


def test_what_stays_has_no_arrow(searcher: Any, query: str, documents: dict[str, str]) -> None:
    order = {documents[hit.docid]: -float(rank) for rank, hit in enumerate(searcher.search(query, k=5))}
    searcher.set_reranker(ModelReranker(HashBackend(lambda _, text: order[text]), "same"), depth=5)
    made = compare(searcher, query, k=7)
    assert [made.move(row) for row in made.rows] == ["="] * 7
    # Below the depth there is no score of the model's, and none is shown.
    assert [row.score for row in made.rows[5:]] == [None, None]
    assert [row[3] for row in Page(made._repr_html_()).rows[6:]] == ["–", "–"]


def test_what_is_in_a_document_is_shown_and_not_run(tricky: Any) -> None:
    made = compared(tricky)
    page = Page(made._repr_html_())
    names = {name for name, _ in page.elements}
    assert names <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "div", "span", "b", "br", "code"} | {
        "details",
        "summary",
    }
    assert {key for _, attributes in page.elements for key in attributes} <= {"style", "title", "dir"}
    assert " ".join(EVIL.replace("\x1b", "\ufffd").split()) in page.text
    assert "<i>evil</i>" in page.text and "<b>model</b>" in page.text

    terminal = io.StringIO()
    Console(file=terminal, force_terminal=True, width=160).print(made)
    assert "\x1b[31mred" not in terminal.getvalue() and "[bold red]" in terminal.getvalue()
    assert "<script>" in repr(made) and "\x1b" not in repr(made)


def test_a_title_stands_before_the_docid(tmp_path: Path) -> None:
    from pyserini.index.lucene import LuceneIndexer
    from pyserini.search.lucene import LuceneSearcher

    indexer = LuceneIndexer(args=["-index", str(tmp_path), "-storeRaw"], threads=1)
    indexer.add_batch_raw([json.dumps({"id": "d1", "title": "Of <fleas>", "contents": "the flea"})])
    indexer.close()
    with RerankingSearcher(LuceneSearcher(str(tmp_path)), ModelReranker(HashBackend(), "m")) as searcher:
        made = compare(searcher, "flea")
    assert made.rows[0].title == "Of <fleas>"
    assert Page(made._repr_html_()).rows[1][-1].startswith("Of <fleas> d1")
    assert "Of <fleas> d1" in repr(made)


class Cutting(HashBackend):
    """Cuts what is longer than 1000 characters."""

    def plan(self, pairs: Any) -> Plan:
        return Plan(
            super().plan(pairs).batches, cut_passages=[i for i, (_, text) in enumerate(pairs) if len(text) > 1000]
        )


def test_a_cut_passage_is_flagged_and_its_rest_is_folded(tricky: Any) -> None:
    searcher = RerankingSearcher(tricky, ModelReranker(Cutting(), "cutting"))
    with pytest.warns(pyserini_rerank.CutWarning):
        made = compare(searcher, "flea")
    assert {row.docid: row.cut for row in made.rows} == {
        "long": True, "<i>evil</i>": False, "plain": False, "titled": False, "none": False,
    }  # fmt: skip
    page = made._repr_html_()
    assert page.count("✂ cut") == repr(made).count("✂ cut") == page.count("<details>") == 1
    (whole,) = (row.text for row in made.rows if row.docid == "long")
    assert whole in Page(page).text.replace(" …", "")


@pytest.mark.filterwarnings("ignore::pyserini_rerank.CutWarning")
def test_a_model_says_what_it_cut(tricky: Any, tiny: Reranker) -> None:
    made = compare(RerankingSearcher(tricky, tiny), "flea")
    assert [row.docid for row in made.rows if row.cut] == ["long"]


@pytest.mark.filterwarnings("ignore::pyserini_rerank.CutWarning")
@pytest.mark.parametrize(
    ("size", "aggregate", "cut"), [(128, "max", []), (128, "first", ["long"]), (256, "max", ["long"])]
)
def test_windows_cut_what_is_in_none_of_them(size: int, aggregate: str, cut: list[str], tricky: Any, tiny: Any) -> None:
    """Windows that fit leave nothing out, the first alone leaves out the rest, and too large ones are cut."""
    made = compare(RerankingSearcher(tricky, Windows(tiny, size, size // 2, aggregate)), "flea")
    assert [row.docid for row in made.rows if row.cut] == cut


@pytest.mark.filterwarnings("ignore::pyserini_rerank.CutWarning")
@pytest.mark.parametrize("best", ["long", "plain"])
def test_a_cascade_shows_what_its_last_stage_did(best: str, tricky: Any) -> None:
    """Its scores, which below them only keep an order, and what it cut, of what it has seen."""

    def cheap(_: str, text: str) -> float:
        return float(text == texts[best])

    texts = {docid: json.loads(tricky.doc(docid).raw())["contents"].strip() for docid in ("long", "plain")}
    stages = [(ModelReranker(HashBackend(cheap), "cheap"), 5), (ModelReranker(Cutting(), "dear"), 1)]
    made = compare(RerankingSearcher(tricky, Cascade(stages)), "flea")
    assert [row.docid for row in made.rows if row.cut] == ["long"] * (best == "long")
    assert [row.score for row in made.rows] == [hashed("flea", texts[best]), None, None, None, None]
    assert made.rows[0].docid == best
    # What the cheap stage cuts, the dear one has scored as a whole.
    made = compare(RerankingSearcher(tricky, Cascade([(stages[1][0], 5), (stages[0][0], 5)])), "flea")
    assert not any(row.cut for row in made.rows) and None not in [row.score for row in made.rows]


@pytest.mark.parametrize(
    ("make", "scored"),
    [
        (lambda cascade: cascade, 3),
        (lambda cascade: Windows(cascade, 8, 4), 3),
        (lambda cascade: Windows(Windows(cascade, 8, 4), 8, 8), 3),
        (lambda cascade: Segments(cascade), 3),
        (lambda cascade: Interpolation(cascade, 0.5), 3),
        (lambda cascade: Ensemble([(cascade, 1), (cascade, 2)], "z"), 3),
        (lambda cascade: Cascade([(cascade, 10), (cascade.parts[0], 2)]), 2),
        (lambda cascade: Cascade([(cascade, 10)]), 3),
        (lambda cascade: Interpolation(Segments(Windows(cascade, 8, 4)), 0.5), 3),
        # Fusing ranks takes no scores: those of all ten are the fusion's own.
        (ReciprocalRankFusion, 10),
    ],
)
def test_scores_that_only_keep_an_order_are_not_shown(make: Any, scored: int, searcher: Any, query: str) -> None:
    """Of a cascade within whatever else: its last stage scores three of the ten that it is given."""
    stages = [(ModelReranker(WordBackend(), "cheap"), 10), (ModelReranker(WordBackend(), "dear"), 3)]
    made = compare(RerankingSearcher(searcher, make(Cascade(stages))), query, k=12)
    scores = [row.score for row in sorted(made.rows, key=lambda row: row.rank)]
    assert made.depth == 10 and len(scores) == 12
    assert None not in scores[:scored] and set(scores[scored:]) == {None}


@pytest.mark.filterwarnings("ignore::pyserini_rerank.CutWarning")
def test_an_ensemble_cuts_what_any_of_it_cuts(tricky: Any, tiny: Reranker) -> None:
    made = compare(RerankingSearcher(tricky, Interpolation(tiny)), "flea")
    assert [row.docid for row in made.rows if row.cut] == ["long"]


def test_segments_of_a_searcher_without_texts(tiny: Reranker) -> None:
    """A document is shown by its best segment, whose text goes by the docid of the segment."""
    texts = {"D1#0": "the cat", "D2#0": "the dog", "D1#1": "a flea of the cat", "D3": "no segment"}

    class Searcher:
        def search(self, query: str, k: int = 10) -> list[Any]:
            return [SimpleNamespace(docid=docid, score=9.0 - i) for i, docid in enumerate(texts)][:k]

    made = compare(RerankingSearcher(Searcher(), Segments(tiny), texts=texts), "flea", qrels={"D1": 1})
    rows = {row.docid: row for row in made.rows}
    scores = dict(zip(texts, tiny.score("flea", list(texts.values())), strict=True))
    assert {docid: row.score for docid, row in rows.items()} == pytest.approx(
        {"D1": max(scores["D1#0"], scores["D1#1"]), "D2": scores["D2#0"], "D3": scores["D3"]}, abs=1e-5
    )
    assert [(rows[docid].first_rank, rows[docid].grade) for docid in ("D1", "D2", "D3")] == [
        (1, 1),
        (2, None),
        (4, None),
    ]
    assert [rows[docid].text for docid in ("D1", "D2", "D3")] == ["the cat", "the dog", "no segment"]


def test_query_terms_are_marked(tricky: Any) -> None:
    """As BM25 matches them: whatever their form, and without stop words."""
    query = "The copying of directories, isn't it?"
    text = "the Directory is copied: a copy-like flea's copyist, of directors"
    assert split_at_terms(query, text) == [
        ("the ", False), ("Directory", True), (" is ", False), ("copied", True), (": a ", False), ("copy", True),
        ("-like flea's copyist, of directors", False),
    ]  # fmt: skip
    question = "What's the way that flea eggs do what they do, and how does one?"
    assert [part for part, marked in split_at_terms(question, "how what way does do done flea") if marked] == [
        "way", "flea"
    ]  # fmt: skip
    assert split_at_terms("Who are you?", "who you") == [("who", True), (" ", False), ("you", True)]
    assert split_at_terms("東京", "東は京都") == [("東", True), ("は", False), ("京", True), ("都", False)]
    assert split_at_terms("x", "") == []
    page = compared(tricky)._repr_html_()
    assert page.count(">flea</span>") == 1 + 4 + 2
    assert page.count(">fleas</span>") == page.count(">flea&#x27;s</span>") == 1
    assert ">of</span>" not in page and ">The</span>" not in page


def test_readable_on_light_and_dark(tricky: Any) -> None:
    """Text has the notebook's own colour, and whatever is behind it lets the notebook's background through."""
    made = compared(tricky, qrels={"plain": 3, "long": 0})
    page = made._repr_html_()
    assert {"background-color", "color"} >= {
        declaration.partition(":")[0]
        for name in ("span", "td", "th", "div", "b", "code", "table", "caption")
        for style in Page(page).styled(name)
        for declaration in html.unescape(style).split(";")
        if "color" in declaration.partition(":")[0]
    }
    for style in (style for name in ("span", "code", "table", "caption") for style in Page(page).styled(name)):
        for declaration in filter(None, style.split(";")):
            key, _, value = declaration.partition(":")
            if key == "color":
                assert value == "inherit"
            if key == "background":
                assert value == "transparent"
            if key == "background-color":
                assert value.startswith("rgba(") and 0 < float(value[5:-1].split(",")[3]) <= 0.5
    assert "#" not in page.replace("&#x27;", ""), "a colour that is not tried above"


def test_grades_have_a_colour_that_grows_with_them(tricky: Any) -> None:
    """Green, the stronger the higher; grey for a 0, and none for what nobody judged."""
    made = compared(tricky, qrels={"plain": 3, "titled": 1, "long": 0})
    docids, rows = [row.docid for row in made.rows], made._repr_html_().split("<tr>")[2:]
    cells = {docid: row.split("<td")[6] for docid, row in zip(docids, rows, strict=True)}
    assert "background" not in cells["none"] and "background" not in cells["<i>evil</i>"]
    tints = {}
    for docid in ("plain", "titled", "long"):
        ((*colour, strength),) = re.findall(r"background-color:rgba\((\d+),(\d+),(\d+),([\d.]+)\)", cells[docid])
        tints[docid] = tuple(map(int, colour)), float(strength)
    assert tints["plain"][0] == tints["titled"][0] == RELEVANT and len(set(tints["long"][0])) == 1
    assert tints["plain"][1] > tints["titled"][1] > 0

    (column,) = (column for column in made.__rich__().columns if column.header == "grade")
    styles = dict(zip(docids, (cell.style for cell in column.cells), strict=True))
    assert styles == {"plain": "bold green", "titled": "bold green", "long": "", "none": "", "<i>evil</i>": ""}


def test_errors_say_what_to_do(searcher: Any, hashing: Reranker, query: str) -> None:
    with pytest.raises(ValueError, match=r"^this LuceneSearcher has no reranker: call its set_reranker\(...\) first.$"):
        compare(searcher, query)
    searcher.set_reranker(hashing)
    with pytest.raises(ValueError, match="k is 0"):
        compare(searcher, query, k=0)
    with pytest.raises(TypeError, match=r"pass qrels\[qid\]"):
        compare(searcher, query, qrels={"q1": {"d1": 1}})  # type: ignore[dict-item]
    with pytest.warns(EmptyQueryWarning):
        assert compare(searcher, " ").rows == []
