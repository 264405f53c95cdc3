"""Draws the pictures of the documentation: ``python docs/pictures.py``."""

import io
import re
import tempfile
from pathlib import Path

import pyserini_rerank
from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank import docstrings
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME

PICTURES = Path(__file__).parent / "pictures"
QUESTION = "How do I make a temporary folder that removes itself afterwards?"
THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": SVG_EXPORT_THEME}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        docstrings.index(dict(docstrings.read()), folder)
        searcher = LuceneSearcher(folder)
        searcher.set_reranker("bundled", depth=30, max_length=256)
        answers = next(asked["answers"] for asked in docstrings.questions() if asked["question"] == QUESTION)
        comparison = pyserini_rerank.compare(searcher, QUESTION, k=3, qrels=dict.fromkeys(answers, 1))
        searcher.unset_reranker()
    PICTURES.mkdir(exist_ok=True)
    for name, theme in THEMES.items():
        console = Console(record=True, width=110, force_terminal=True, color_system="truecolor", file=io.StringIO())
        console.print(comparison)
        svg = console.export_svg(title="compare(searcher, query, k=3, qrels=...)", theme=theme)
        # The font would be fetched from the web; the reader's own monospaced one does as well.
        svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
        (PICTURES / f"compare-{name}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
