"""Texts to tokens."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int32]


class TextTokenizer:
    """Tokenizes texts, without special tokens and uncut.

    BERT's tokenizer spends two fifths of its time on normalizing. Of a text in ASCII there is nothing to normalize but
    the case, which Python changes at once: such texts take a shorter way to the same tokens.

    Parameters
    ----------
    tokenizer
        A Rust tokenizer; its own truncation and padding are turned off.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        parts = json.loads(tokenizer.to_str())
        kinds = [(parts[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer")]
        self._short = None
        if kinds == ["BertNormalizer", "BertPreTokenizer"]:
            # "[SEP]" in a text is looked for before it is normalized; other added tokens may be afterwards.
            contents = [token["content"] for token in parts["added_tokens"]]
            added = {*contents, *(tokenizer.normalizer.normalize_str(content) for content in contents)}
            # A tokenizer with line breaks among its tokens needs those that the shorter way takes for spaces.
            if all(content.strip() and content.isprintable() for content in added):
                self._short = Tokenizer.from_str(json.dumps(parts | {"normalizer": None}))
                self._lowers: bool = parts["normalizer"]["lowercase"]
                self._added = [content.lower() for content in added]

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Give the ids of texts' tokens."""
        if self._short is None:
            return _ids(self.tokenizer, texts)
        short = [self._normalized(text) for text in texts]
        plain = iter(_ids(self._short, [text for text in short if text is not None]))
        others = iter(
            _ids(self.tokenizer, [text for text, normalized in zip(texts, short, strict=True) if normalized is None])
        )
        return [next(others) if normalized is None else next(plain) for normalized in short]

    def _normalized(self, text: str) -> str | None:
        """Normalize a text; None where that takes more than what is done here."""
        text = text.replace("\n", " ")
        if not (text.isascii() and text.isprintable()):
            return None
        lower = text.lower()
        if any(content in lower for content in self._added):
            return None
        return lower if self._lowers else text


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
