"""The tokenizer of texts."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int32]


class TextTokenizer:
    """Tokenizes texts, without special tokens and uncut.

    BERT's tokenizer spends two fifths of its time on normalizing. In an ASCII text only the case has to be normalized,
    which is quick in Python: such a text goes to a tokenizer without a normalizer, which gives the same tokens.

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
        self._without_normalizer = None
        if kinds == ["BertNormalizer", "BertPreTokenizer"]:
            # The tokenizer finds "[SEP]" in a text before it normalizes the text, and other added tokens maybe later.
            contents = [token["content"] for token in parts["added_tokens"]]
            added = {*contents, *(tokenizer.normalizer.normalize_str(content) for content in contents)}
            # Added tokens with line breaks would be lost, since `_normalized` turns line breaks into spaces.
            if all(content.strip() and content.isprintable() for content in added):
                self._without_normalizer = Tokenizer.from_str(json.dumps(parts | {"normalizer": None}))
                self._lowers: bool = parts["normalizer"]["lowercase"]
                self._added = [content.lower() for content in added]

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Give the ids of each text's tokens."""
        if self._without_normalizer is None:
            return _ids(self.tokenizer, texts)
        normalized_texts = [self._normalized(text) for text in texts]
        short = iter(_ids(self._without_normalizer, [text for text in normalized_texts if text is not None]))
        others = iter(
            _ids(
                self.tokenizer,
                [text for text, normalized in zip(texts, normalized_texts, strict=True) if normalized is None],
            )
        )
        return [next(others) if normalized is None else next(short) for normalized in normalized_texts]

    def _normalized(self, text: str) -> str | None:
        """Normalize a text; None if the text needs the tokenizer's normalizer."""
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
