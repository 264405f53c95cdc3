"""Notebooks in a browser: nbconvert's pages in Chromium, with what is to be seen on them, light and dark."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import notebooks
import pytest
from collection import HashBackend, build_lucene_index
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output
from pyserini_rerank import ModelReranker, RerankingSearcher, compare, experiment, explain

pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed: apt install chromium")

#: Scripts that run where something of a document reaches the page as HTML; each leaves a mark.
HOSTILE = (
    'flea <script>document.title="run"</script> <img src="nowhere" onerror="document.title=\'run\'"> '
    '"><svg onload="document.title=\'run\'"></svg> \'" onmouseover="document.title=\'run\'" </details></td></table> '
    "<style>* {display: none}</style> &lt;b&gt; the end"
)

#: The colour contrast (WCAG 2) of each piece of text of our outputs with what is behind it, as the browser paints it.
CONTRAST = """
(() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, i) => a * c + (1 - a) * below[i]);
    const luminance = (rgb) => rgb.map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => element === null
        ? [255, 255, 255]
        : over(parse(getComputedStyle(element).backgroundColor), behind(element.parentElement));
    const found = [];
    for (const output of document.querySelectorAll(".jp-RenderedHTML")) {
        const walker = document.createTreeWalker(output, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const element = walker.currentNode.parentElement;
            if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("style")) continue;
            const background = behind(element);
            const [one, other] = [over(parse(getComputedStyle(element).color), background), background].map(luminance);
            const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
            found.push([walker.currentNode.data.trim().slice(0, 40), ratio]);
        }
    }
    return found;
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    with chromium.page(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What a notebook shows of a hostile document and of harmless ones."""
    from pyserini.search.lucene import LuceneSearcher

    documents = {
        "<script>document.title='run'</script>": HOSTILE,
        "plain": "The flea's life, and a dog's.",
        "titled": "flea flea flea flea, and much more of it " * 20,
        "none": "of the dog flea of the cat",
    }
    folder = build_lucene_index(tmp_path_factory.mktemp("index") / "index", documents)
    reranker = ModelReranker(HashBackend(), '<img src="nowhere" onerror="document.title=\'run\'">')
    with RerankingSearcher(LuceneSearcher(folder), reranker, depth=3) as searcher:
        query = f"the flea {HOSTILE}"
        compared = compare(searcher, query, k=2, qrels={"plain": 3, "none": 0, "titled": 1})
        qrels = {"q": {"plain": 1, "none": 0}, "r": {"titled": 1}}
        table = experiment({HOSTILE: searcher, "plain": qrels}, dict.fromkeys("qr", query), qrels, baseline="plain")
        yield [compared, explain(reranker, query, HOSTILE, window=1), searcher.search(query), table]


def write_page(notebook: Any, path: Path, theme: str = "light") -> Path:
    """Write a notebook as HTML, without the scripts that nbconvert fetches from elsewhere.

    They are require.js and MathJax, which nothing here needs, and which no machine without a network can have: it
    would log an error for each. (mermaid.js is only fetched where there is a diagram.)
    """
    exporter = HTMLExporter(theme=theme, require_js_url="data:text/javascript,", mathjax_url="data:text/javascript,")
    path.write_text(exporter.from_notebook_node(notebook)[0], encoding="utf-8")
    return path


def notebook_of(things: list[Any]) -> Any:
    """A notebook whose cells have shown these things."""
    cells = []
    for thing in things:
        data = {"text/plain": repr(thing), "text/html": thing._repr_html_()}
        cells.append(new_code_cell("thing", outputs=[new_output("execute_result", data)]))
    return new_notebook(cells=cells, metadata={"title": "still"})


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_in_the_browser(name: str, browser: chromium.Page, tmp_path: Path) -> None:
    notebook = notebooks.read(name)
    browser.open(write_page(notebook, tmp_path / f"{name}.html"))
    assert browser.errors == []
    shown = [output.get("data", {}) for cell in notebooks.code_cells(notebook) for output in cell.outputs]
    tables = sum(data.get("text/html", "").count("<table") for data in shown)
    rows = browser.evaluate("[...document.querySelectorAll('.jp-RenderedHTML table')].map((t) => t.rows.length)")
    assert len(rows) == tables and all(count > 1 for count in rows)
    widths = browser.evaluate("[...document.images].map((image) => image.complete && image.naturalWidth)")
    assert len(widths) == sum("image/png" in data for data in shown) and all(width > 100 for width in widths)
    assert tables + len(widths) > 0
    # Nothing is wider than the page.
    assert browser.evaluate("document.documentElement.scrollWidth") <= browser.evaluate("innerWidth")


def test_the_browser_tells_errors(browser: chromium.Page, tmp_path: Path) -> None:
    """The check above could fail."""
    (tmp_path / "page.html").write_text(
        "<script>console.error('said')</script><script>nothing()</script><img src='nowhere.png'>"
    )
    browser.open(tmp_path / "page.html")
    assert len(browser.errors) == 3
    assert browser.evaluate("document.images[0].naturalWidth") == 0


def test_what_is_in_a_document_is_shown_and_not_run(browser: chromium.Page, tmp_path: Path, outputs: Any) -> None:
    raw = tmp_path / "raw.html"
    raw.write_text(f"<title>still</title>{HOSTILE}")
    browser.open(raw)
    assert browser.evaluate("document.title") == "run", "the document is harmless, and the test could not fail"

    path = write_page(notebook_of(outputs), tmp_path / "still.html")
    browser.open(path)
    assert browser.errors == []
    browser.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true })")
    # As if a mouse went over everything: with bubbling, every handler that is there is called.
    browser.evaluate("document.querySelectorAll('*').forEach((e) => e.dispatchEvent(new MouseEvent('mouseover')))")
    assert browser.evaluate("document.title") == "still"
    found = browser.evaluate("[...document.querySelectorAll('.jp-RenderedHTML')].map((e) => e.textContent)")
    shown = [" ".join(text.split()) for text in found]
    hostile = " ".join(HOSTILE.split())
    assert len(shown) == 4
    assert hostile in shown[0] and hostile in shown[1] and hostile in shown[3]
    assert "<script>document.title='run'</script>" in shown[2]
    assert browser.evaluate("document.querySelectorAll('.jp-RenderedHTML :is(script, img, svg, style)').length") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable(theme: str, browser: chromium.Page, tmp_path: Path, outputs: Any) -> None:
    """A contrast of 4.5 to 1, as WCAG 2 (AA) has it, in JupyterLab's two themes."""
    browser.open(write_page(notebook_of(outputs), tmp_path / "page.html", theme))
    found = browser.evaluate(CONTRAST)
    assert len(found) > 80
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert json.loads(f"[{background.strip('rgb()')}]")[0] > 250 or theme == "dark"
