"""What an explanation says of a score: exactly what leaving words out does to it."""

import io
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from collection import HashBackend
from pyserini_rerank import ModelReranker, Reranker, explain
from rich.console import Console

RELEVANT = "The life cycle of a flea takes between two weeks and eight months."
AROUND = [
    "The weather in Lisbon is mild.",
    "Many visitors come in May for the food and the music.",
    "Trams climb the steep hills all day.",
    "Most of the houses have tiled walls.",
    "The bridge over the river was opened in 1966.",
]


def counting(weights: dict[str, float]) -> tuple[Reranker, HashBackend]:
    """A reranker whose score of a passage is the sum of its words' weights."""
    backend = HashBackend(lambda _, text: sum(weights.get(word, 0.0) for word in text.split()))
    return ModelReranker(backend, "sum"), backend


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 3])
def test_the_real_model_rests_on_the_relevant_sentence(reranker: Reranker, place: int) -> None:
    sentences = [*AROUND[:place], RELEVANT, *AROUND[place:]]
    made = explain(reranker, "how long is the life cycle of a flea", " ".join(sentences))
    assert [word for word, _ in made.words] == " ".join(sentences).split()
    before = sum(len(sentence.split()) for sentence in sentences[:place])
    within = range(before, before + len(RELEVANT.split()))
    heaviest = sorted(range(len(made.words)), key=lambda i: -made.words[i][1])
    assert set(heaviest[:5]) <= set(within)
    weights = np.array([weight for _, weight in made.words])
    assert weights[list(within)].mean() > 5 * abs(np.delete(weights, list(within))).mean()
    (score,) = reranker.score("how long is the life cycle of a flea", [" ".join(sentences)])
    assert made.score == pytest.approx(score, abs=1e-4)


def test_what_is_computed() -> None:
    """Each word is left out alone, and then in twos: by hand."""
    reranker, backend = counting({"a": 1.0, "b": 4.0, "d": -2.0})
    one = explain(reranker, "q", " a  b\nc d ", window=1)
    assert one.words == [("a", 1.0), ("b", 4.0), ("c", 0.0), ("d", -2.0)]
    assert one.score == 3.0
    assert backend.pairs == [("q", text) for text in ("a  b\nc d", "b\nc d", "a  c d", "a  b\nd", "a  b\nc ")]

    two = explain(reranker, "q", "a b c d", window=2)
    # The windows a b, b c and c d lose 5, 4 and -2, of which each word has half.
    assert two.words == [("a", 2.5), ("b", (2.5 + 2.0) / 2), ("c", (2.0 - 1.0) / 2), ("d", -1.0)]


def test_of_a_short_passage_half_is_left_out_at_most() -> None:
    reranker, backend = counting({"a": 1.0})
    assert explain(reranker, "q", "a b c", window=5).words == [("a", 1.0), ("b", 0.0), ("c", 0.0)]
    assert ("q", "") not in backend.pairs


def test_every_character_is_a_word_where_no_space_is() -> None:
    reranker = ModelReranker(HashBackend(lambda _, text: float("京" in text)), "one")
    made = explain(reranker, "q", "東京は big", window=1)
    assert made.words == [("東", 0.0), ("京", 1.0), ("は", 0.0), ("big", 0.0)]


def test_the_map_is_of_the_text() -> None:
    reranker, _ = counting({"<b>good</b>": 2.0, "bad": -1.0, "faint": 0.1})
    text = 'a <b>good</b> and\n\nbad "faint" faint & <script>run()</script> \x1b[31m text'
    made = explain(reranker, "<i>q</i>", text, window=1)

    class Page(HTMLParser):
        text = ""
        spans: dict[str, dict[str, str | None]] = {}  # noqa: RUF012
        names: set[str] = set()  # noqa: RUF012
        attributes: dict[str, str | None] | None = None

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.names.add(tag)
            self.attributes = dict(attrs) if tag == "span" else None

        def handle_endtag(self, tag: str) -> None:
            self.attributes = None

        def handle_data(self, data: str) -> None:
            self.text += data
            if self.attributes:
                self.spans[data] = self.attributes

    page = Page()
    page.feed(made._repr_html_())
    assert page.names == {"div", "span", "b", "br"}
    assert page.text.endswith(text.replace("\x1b", "\ufffd"))
    assert page.text.startswith("<i>q</i>")
    styles = {word: span["style"] or "" for word, span in page.spans.items()}
    assert "rgba(42,122,185,0.45)" in styles["<b>good</b>"]
    assert page.spans["<b>good</b>"]["title"] == "+2.0000"
    assert "rgba(224,130,20,0.23)" in styles["bad"] or "rgba(224,130,20,0.22)" in styles["bad"]
    assert [word for word, style in styles.items() if "underline" in style] == ["bad"]
    assert ",0.00)" in styles["and"]
    assert all("color" not in style.replace("background-color", "") for style in styles.values()), (
        "text of its own colour"
    )

    assert "+2.0000  <b>good</b>" in repr(made) and "\x1b" not in repr(made)
    terminal = io.StringIO()
    Console(file=terminal, force_terminal=True, color_system="standard", width=100).print(made)
    assert "\x1b[1;7;36m<b>good</b>\x1b[0m" in terminal.getvalue()
    assert "\x1b[1;4;35mbad\x1b[0m" in terminal.getvalue() and "\x1b[31m" not in terminal.getvalue()


def test_a_passage_on_which_nothing_rests() -> None:
    reranker, _ = counting({})
    made = explain(reranker, "q", "no word counts")
    assert {weight for _, weight in made.words} == {0.0}
    assert "rgba(224,130,20,0.00)" in made._repr_html_()


def test_errors_say_what_to_do() -> None:
    reranker, _ = counting({})
    with pytest.raises(ValueError, match="the passage has 1 words"):
        explain(reranker, "q", " word ")
    with pytest.raises(ValueError, match="window is 0"):
        explain(reranker, "q", "two words", window=0)
    with pytest.raises(ValueError, match="the query is empty"):
        explain(reranker, "", "two words")
