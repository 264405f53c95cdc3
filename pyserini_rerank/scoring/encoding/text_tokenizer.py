"""Texts to tokens, by the fastest tokenizer that gives the same ids as the reference."""

import json
import platform
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ...files.cache import made_once
from .battery import battery
from .encoded_pairs import Ids
from .vocabulary import vocabulary

#: The words that nanotoken remembers the tokens of, for each thread that tokenizes: at most 25 MiB a thread. Its own
#: number, 2**20, takes up to 130 MiB a thread and was no faster on MS MARCO's passages.
CACHE_ENTRIES = 2**17
#: The file in the user's cache that says whether a tokenizer gave the reference's ids.
VERDICT = "verdict.json"
NANOTOKEN = "nanotoken"
REFERENCE = f"tokenizers {version('tokenizers')}"


class TokenLists(NamedTuple):
    """The tokens of n texts, one text after the other, uncut and without special tokens."""

    ids: Ids
    """int32 (tokens,)"""
    offsets: NDArray[np.int64]
    """Where each text begins, and where the last one ends: (n + 1,)."""


Tokenize = Callable[[Sequence[str]], TokenLists]


class TextTokenizer:
    """Tokenizes texts, without special tokens and uncut.

    The reference is Hugging Face's tokenizer. For WordPiece the package nanotoken takes its place, if it gives the same
    ids for every text of a battery (see `pyserini_rerank.scoring.encoding.battery`). The comparison is made once for a
    vocabulary and a version, and its result is kept in the user's cache.

    Parameters
    ----------
    reference : tokenizers.Tokenizer
        Its own truncation and padding are turned off.

    Attributes
    ----------
    package : str
        The package that tokenizes, with its version.
    """

    def __init__(self, reference: Tokenizer) -> None:
        reference.no_truncation()
        reference.no_padding()
        fast = _exact(reference)
        self.package = f"{NANOTOKEN} {version(NANOTOKEN)}" if fast else REFERENCE
        self._tokenize: Tokenize = fast or partial(by_reference, reference)

    def __call__(self, texts: Sequence[str]) -> TokenLists:
        """Give the tokens of texts."""
        return self._tokenize(texts)


def by_reference(reference: Tokenizer, texts: Sequence[str]) -> TokenLists:
    """Give the tokens of texts as Hugging Face's tokenizer does."""
    ids = [encoding.ids for encoding in reference.encode_batch_fast(texts, add_special_tokens=False)]
    offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    return TokenLists(np.fromiter((token for of_text in ids for token in of_text), np.int32, offsets[-1]), offsets)


def by_nanotoken(reference: Tokenizer) -> Tokenize:
    """Make a WordPiece tokenizer of the package nanotoken. Raises an exception for every other kind of tokenizer.

    It works in the caller's thread alone, so that it survives a fork and its caches do not grow with the cores.
    """
    import nanotoken

    nanotoken.set_cache_entries(CACHE_ENTRIES)
    tokenizer = nanotoken.Tokenizer(reference)

    def tokenize(texts: Sequence[str]) -> TokenLists:
        found = tokenizer.encode_batch(texts, add_special_tokens=False, parallel=False)
        return TokenLists(found.ids.view(np.int32), found.offsets)

    return tokenize


def _exact(reference: Tokenizer) -> Tokenize | None:
    """Make nanotoken's tokenizer; None if it is not installed, does not take this kind, or gives other ids."""
    try:
        versions = f"{version(NANOTOKEN)}-{version('tokenizers')}-{platform.machine()}"
        tokenize = by_nanotoken(reference)
    except Exception:  # of a kind of its own for a tokenizer that it does not support, which its import defines
        return None

    def compare(folder: Path) -> None:
        folder.joinpath(VERDICT).write_text(json.dumps({"same_ids": same_ids(reference, tokenize)}), encoding="utf-8")

    try:
        folder = made_once(f"{NANOTOKEN}-{versions}-{vocabulary(reference)}", compare)
        is_same = json.loads(folder.joinpath(VERDICT).read_text(encoding="utf-8"))["same_ids"] is True
    except (OSError, ValueError, KeyError, TypeError):  # the user's cache cannot be written, or the file is damaged
        is_same = same_ids(reference, tokenize)
    return tokenize if is_same else None


def same_ids(reference: Tokenizer, tokenize: Tokenize) -> bool:
    """Tell whether a tokenizer gives the reference's ids for every text of the battery."""
    normalizer = reference.normalizer
    for token in reference.get_added_tokens_decoder().values():
        if token.normalized and normalizer and not normalizer.normalize_str(token.content):
            return False  # Hugging Face's own panics over such a token in some texts
    texts = battery(reference)
    try:
        found, expected = tokenize(texts), by_reference(reference, texts)
    except Exception:  # the reference itself fails, such as on words that a vocabulary without [UNK] lacks
        return False
    return np.array_equal(found.ids, expected.ids) and np.array_equal(found.offsets, expected.offsets)
