"""An explanation of a score: how much it falls without each word of the passage."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..arguments import whole
from ..markup import DOWN, UP, element, tinted
from ..reranker import Reranker
from ..texts.source import clean
from .words import SPACED_WORD, visible

if TYPE_CHECKING:
    from rich.console import Group

#: A word whose weight is below this share of the largest weight has only a faint tint.
FAINT = 0.15


@dataclass(frozen=True, repr=False)
class Explanation:
    """How much each word of a passage adds to its score.

    A notebook shows it as a heat map over the text, `rich.print` in colours, and `print` as a list of the heaviest
    words.

    Attributes
    ----------
    score : float
        The model's score of the whole passage.
    window : int
        The number of words that were left out at a time.
    words : list of (str, float)
        The passage's words, and how much each adds to the score, in logits. The weight of a word is below 0 if the
        score is higher without it.
    """

    query: str
    text: str
    score: float
    window: int
    words: list[tuple[str, float]]

    @property
    def heading(self) -> str:
        scale = max(abs(weight) for _, weight in self.words)
        return (
            f"score {self.score:.3f}; coloured: what a word adds to it (underlined: takes from it), "
            f"{scale:.3f} at most, found by leaving out {self.window} words at a time"
        )

    def _parts(self) -> list[tuple[str, float, str, float]]:
        """Cut the text into (space before a word, weight, word, weight on a scale from -1 to 1)."""
        scale = max(abs(weight) for _, weight in self.words) or 1.0
        parts, end = [], 0
        for match, (_, weight) in zip(SPACED_WORD.finditer(self.text), self.words, strict=True):
            parts.append((self.text[end : match.start()], weight, match[0], weight / scale))
            end = match.end()
        return parts

    def _repr_html_(self) -> str:
        text = ""
        for space, weight, word, share in self._parts():
            line = "text-decoration:underline dotted;" if share < -FAINT else ""
            word = tinted(visible(word), UP if share > 0 else DOWN, abs(share), style=line, title=f"{weight:+.4f}")
            text += html.escape(space) + word
        heading = element("b", html.escape(visible(self.query))) + "<br>" + html.escape(self.heading)
        return (
            element("div", heading, "padding:.35em 0", ' dir="auto"')
            + element("div", text, "white-space:pre-wrap;line-height:1.7;max-width:60em", ' dir="auto"')
        )  # fmt: skip

    def __rich__(self) -> "Group":
        from rich.console import Group
        from rich.text import Text

        text = Text()
        for space, _, word, share in self._parts():
            text.append(visible(space))
            text.append(visible(word), _style(share))
        return Group(Text(visible(self.query), "bold"), Text(self.heading), text)

    def __repr__(self) -> str:
        heaviest = sorted(self.words, key=lambda word: -abs(word[1]))[:10]
        return "\n".join([self.heading, *(f"{weight:+9.4f}  {visible(word)}" for word, weight in heaviest)])


def explain(reranker: Reranker, query: str, text: str, window: int = 5) -> Explanation:
    """Find the words of a passage on which its score depends, by leaving words out.

    Every sequence of `window` neighbouring words is left out once, and the rest of the passage is scored. The drop of
    the score is shared equally among the words that were left out, and a word's weight is the mean of its shares. This
    takes about one score a word, from any backend. A word with synonyms in the same passage looks lighter than it is,
    since they can stand in for one another.

    Parameters
    ----------
    reranker : Reranker
    query, text : str
    window : int
        The number of words that are left out at a time. A small window is sharper, and a large one finds phrases whose
        words matter together. At most half of a short passage is left out.

    Raises
    ------
    ValueError, TypeError
        The passage has fewer than two words, or the window is no whole number of at least 1.
    As `Reranker.score`.
    """
    window = whole(window, "window", least=1)
    if not isinstance(reranker, Reranker):
        raise TypeError(f"{reranker!r:.80} is no reranker: have pyserini_rerank.load() make one of it.")
    if not isinstance(text, str):
        raise TypeError(f"the passage is a {type(text).__name__}, not a string.")
    text = clean(text)
    spans = [match.span() for match in SPACED_WORD.finditer(text)]
    if len(spans) < 2:
        raise ValueError(f"the passage has {len(spans)} words: there have to be two, so that one can be left out.")
    window = min(window, len(spans) // 2)
    rests = [
        text[: left_out[0][0]] + text[left_out[-1][1] :].lstrip()
        for left_out in (spans[start : start + window] for start in range(len(spans) - window + 1))
    ]
    score, *without = reranker.score(query, [text, *rests])
    weights = _spread(score - np.array(without), len(spans), window)
    words = [(text[start:stop], float(weight)) for (start, stop), weight in zip(spans, weights, strict=True)]
    return Explanation(query, text, float(score), window, words)


def _spread(drops: NDArray[np.float32], words: int, window: int) -> Sequence[float]:
    """Give each word the mean of its shares in the drops, (windows,), as a list of (words,)."""
    total, count = np.zeros(words), np.zeros(words)
    for start, drop in enumerate(drops):
        total[start : start + window] += drop / window
        count[start : start + window] += 1
    shares: list[float] = (total / count).tolist()
    return shares


def _style(share: float) -> str:
    """Choose one of three strengths, since few styles of a terminal are readable on any background."""
    if abs(share) < FAINT:
        return ""
    strength = "bold reverse" if abs(share) > 0.7 else "bold" if abs(share) > 0.4 else ""
    return f"{strength} cyan" if share > 0 else f"{strength} magenta underline"
