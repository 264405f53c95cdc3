"""The fingerprint of a tokenizer."""

import json
from hashlib import blake2b

from tokenizers import Tokenizer

#: The parts of a tokenizer's file that decide a passage's tokens. Special tokens and cutting are not among them.
MAKES_TOKENS = ("added_tokens", "normalizer", "pre_tokenizer", "model")


def vocabulary(tokenizer: Tokenizer) -> str:
    """Give the fingerprint of a tokenizer: tokenizers with the same one give a passage the same tokens."""
    parts = json.loads(tokenizer.to_str())
    return blake2b(json.dumps([parts[name] for name in MAKES_TOKENS]).encode(), digest_size=16).hexdigest()
