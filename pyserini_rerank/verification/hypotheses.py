"""What an engine may do otherwise than the reference: each a name, a way to read pairs, and what it means."""

import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..scoring.checkpoints.heads import HEADS, LABELS
from ..scoring.encoding.pair_encoder import PairEncoder, TextEncoder
from ..scoring.encoding.prompt_encoder import PromptEncoder
from ..scoring.encoding.text_tokenizer import by_reference
from .reading import Reading

#: The numbers of tokens to which engines cut pairs: powers of two, and 512 without its special tokens.
LENGTHS = (64, 128, 192, 256, 320, 384, 448, 500, 509, 510, 511, 512, 1024, 2048, 4096, 8192)
#: Texts that engines put before queries and before passages, for checkpoints that were trained with these.
PREFIXES = (
    ("query: ", "passage: "),
    ("query: ", ""),
    ("Query: ", "Document: "),
    ("search_query: ", "search_document: "),
    ("Represent this sentence for searching relevant passages: ", ""),
)


@dataclass(frozen=True)
class Hypothesis:
    """A fault of an engine, which the engine's scores may bear out.

    Attributes
    ----------
    name : str
    aspect : str
        What the fault is about, such as ``"case"``.
    says : str
        What the fault means, and the remedy.
    change : callable
        Give the reading that has the fault; None where it makes no sense for the checkpoint.
    """

    name: str
    aspect: str
    says: str
    change: Callable[[Reading], Reading | None]


def _cut_at(length: int) -> Hypothesis:
    def change(reading: Reading) -> Reading | None:
        encoder = reading.encoder
        reads = encoder.least <= length <= (encoder.most or length) and length < reading.uncut.max()
        return reading.with_encoder(max_length=length) if reads and length != encoder.max_length else None

    says = (
        f"It cuts pairs to {length:,} tokens and not to {{max_length:,}}, so that it scores other parts of long texts. "
        f"Set its longest input to {{max_length:,}}, or compare it with --max-length {length} (max_length={length})."
    )
    return Hypothesis(f"cut at {length}", "cuts", says, change)


def _cut_nowhere(reading: Reading) -> Reading | None:
    encoder, longest = reading.encoder, int(reading.uncut.max())
    reads = encoder.max_length < longest <= (encoder.most or longest)
    return reading.with_encoder(max_length=longest) if reads else None


def _cut_passages_alone(reading: Reading) -> Reading | None:
    encoder = reading.encoder
    if not isinstance(encoder, PairEncoder):
        return None
    room = encoder.max_length - len(encoder.special)

    def kept(queries: NDArray[np.int64], passages: NDArray[np.int64]) -> Any:
        return np.minimum(queries, room), np.minimum(passages, np.maximum(room - queries, 0))

    return reading.with_encoder(kept=kept)


def _cut_beginnings(reading: Reading) -> Reading:
    return reading.with_encoder(cuts_left=not reading.encoder.cuts_left)


def _with_types(types: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> Callable[[Reading], Reading | None]:
    def change(reading: Reading) -> Reading | None:
        encoder = reading.encoder
        has_types = isinstance(encoder, PairEncoder) and encoder.types.any()
        return reading.with_encoder(types=types(encoder.types)) if has_types else None  # type: ignore[attr-defined]

    return change


def _with_texts(change: Callable[[str], str]) -> Callable[[Reading], Reading]:
    return lambda reading: reading.with_pairs(lambda query, passage: (change(query), change(passage)))


def _plain(text: str) -> str:
    """Leave the accents out of a text."""
    return "".join(mark for mark in unicodedata.normalize("NFD", text) if unicodedata.category(mark) != "Mn")


def _normalizing(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Callable[[Reading], Reading | None]:
    """Read with a tokenizer that has another normalizer; `change` gives None for a part that is left out."""

    def changed(part: dict[str, Any]) -> dict[str, Any] | None:
        if part["type"] != "Sequence":
            return change(part)
        kept = [new for old in part["normalizers"] if (new := changed(old)) is not None]
        return {**part, "normalizers": kept}

    def reading_otherwise(reading: Reading) -> Reading | None:
        facts = json.loads(reading.encoder.tokenizer.to_str())
        before = facts["normalizer"]
        facts["normalizer"] = changed(before) if before else None
        if facts["normalizer"] == before:
            return None
        return _with_tokenizer(reading, Tokenizer.from_str(json.dumps(facts)))

    return reading_otherwise


def _with_tokenizer(reading: Reading, tokenizer: Tokenizer) -> Reading | None:
    if not isinstance(reading.encoder, TextEncoder):
        return None
    return reading.with_encoder(tokenizer=tokenizer, texts=partial(by_reference, tokenizer))


def _cased(part: dict[str, Any]) -> dict[str, Any] | None:
    if part["type"] == "BertNormalizer" and part["lowercase"]:
        return {**part, "lowercase": False}
    return None if part["type"] == "Lowercase" else part


def _accented(part: dict[str, Any]) -> dict[str, Any] | None:
    if part["type"] == "BertNormalizer" and part["lowercase"] and part["strip_accents"] is not False:
        return {**part, "strip_accents": False}
    return None if part["type"] == "StripAccents" else part


def _special_as_text(reading: Reading) -> Reading | None:
    tokenizer = Tokenizer.from_str(reading.encoder.tokenizer.to_str())
    tokenizer.encode_special_tokens = True
    return _with_tokenizer(reading, tokenizer)


def _without_spans(spans: Callable[[PairEncoder], list[int]], **attributes: Any) -> Callable[[Reading], Reading | None]:
    """Leave special tokens out; the texts get the room."""

    def change(reading: Reading) -> Reading | None:
        encoder = reading.encoder
        if not isinstance(encoder, PairEncoder) or reading.left_out or not spans(encoder):
            return None
        left_out = tuple(spans(encoder))
        longer = reading.with_encoder(max_length=encoder.max_length + len(left_out), **attributes)
        return replace(longer, left_out=left_out)

    return change


def _separators(encoder: PairEncoder) -> list[int]:
    return list(range(encoder.query_at + 1, encoder.passage_at))


def _one_text(reading: Reading) -> Reading | None:
    changed = _without_spans(_separators)(reading)
    return changed and changed.with_encoder(types=np.zeros_like(changed.encoder.types))  # type: ignore[attr-defined]


def _without_prompt(reading: Reading) -> Reading | None:
    encoder = reading.encoder
    if isinstance(encoder, PromptEncoder):
        bare = PromptEncoder(encoder.tokenizer, encoder.max_length, ("{query}", "{document}"))
        return reading.with_encoder(pieces=bare.pieces, fixed=bare.fixed)
    return reading.with_encoder(prompt="") if isinstance(encoder, TextEncoder) and encoder.prompt else None


def _prefixed(of_query: str, of_passage: str) -> Hypothesis:
    added = " and ".join(
        f"{text!r} before {of}" for text, of in ((of_query, "queries"), (of_passage, "passages")) if text
    )
    return Hypothesis(
        f"prefix {of_query.strip()}" + (f" {of_passage.strip()}" if of_passage else ""),
        "prompt",
        f"It puts {added}, which this checkpoint was not trained with. Turn its prompts off.",
        lambda reading: reading.with_pairs(lambda query, passage: (of_query + query, of_passage + passage)),
    )


def _headed(name: str, head: Callable[[Any], Any]) -> Hypothesis:
    def change(reading: Reading) -> Reading | None:
        facts = reading.backend.family.facts
        return reading.with_head(name, head) if LABELS.get(facts) == 2 and not reading.head else None

    says = f"It takes {name} for the score, which orders passages otherwise. Have it take the head {{head!r}}."
    return Hypothesis(f"head: {name}", "head", says, change)


def _hypotheses() -> Iterator[Hypothesis]:
    yield from map(_cut_at, LENGTHS)
    yield Hypothesis(
        "not cut",
        "cuts",
        "It reads the longest texts of the corpus to their end, and the reference cuts them to {max_length:,} tokens. "
        "That may be better, but is not the same: set its longest input to {max_length:,}.",
        _cut_nowhere,
    )
    yield Hypothesis(
        "cuts the passage alone",
        "cuts",
        "It never cuts a query, and the reference cuts the longer of the two texts first. Only queries of hundreds of "
        "tokens are concerned: have it truncate by 'longest_first'.",
        _cut_passages_alone,
    )
    yield Hypothesis(
        "cuts beginnings",
        "cuts",
        "It cuts long texts at the other end than the reference. Set its side of truncation as the checkpoint's files "
        "have it (truncation_side, right by default).",
        _cut_beginnings,
    )
    yield Hypothesis(
        "swapped",
        "texts",
        "It put the passage where the query belongs, and the query where the passage belongs. Give it the query as the "
        "first text of each pair.",
        lambda reading: reading.with_pairs(lambda query, passage: (passage, query)),
    )
    yield Hypothesis(
        "documents mixed up",
        "documents",
        "Its scores are right, but belong to other documents of the same request. See that each result of an answer "
        "has the document's place in the request as its `index`, also where the results come best first.",
        lambda reading: replace(reading, by_rank=True),
    )
    types = "the model was trained to tell the passage by token types. Give it the tokenizer's own token_type_ids."
    yield Hypothesis(
        "no token types", "token types", f"It gave all tokens the type 0, but {types}", _with_types(np.zeros_like)
    )
    yield Hypothesis(
        "wrong token types",
        "token types",
        f"It gave the query's tokens the type 1 and the passage's 0, but {types}",
        _with_types(lambda right: right.max() - right),
    )
    # Before lower case, which leaves no "[SEP]" in a text either.
    yield Hypothesis(
        "special tokens as text",
        "special tokens",
        "It reads a special token such as [SEP] in a text letter by letter, and the reference reads the token. Only "
        "such texts are concerned.",
        _special_as_text,
    )
    lower = "It lower-cased the texts, but the checkpoint tells capital letters from small ones"
    own = "Load the tokenizer from the checkpoint's own files (do_lower_case, strip_accents)."
    yield Hypothesis("lower-cased", "case", f"{lower}. {own}", _with_texts(str.lower))
    yield Hypothesis(
        "lower-cased, no accents",
        "case",
        f"{lower}, and left accents out. {own}",
        _with_texts(lambda text: _plain(text.lower())),
    )
    yield Hypothesis(
        "no accents", "case", f"It left accents out, which the checkpoint reads. {own}", _with_texts(_plain)
    )
    yield Hypothesis(
        "not lower-cased",
        "case",
        f"It kept capital letters, which the checkpoint does not know, so that such words were unknown. {own}",
        _normalizing(_cased),
    )
    yield Hypothesis(
        "accents kept",
        "case",
        f"It kept accents, which the checkpoint's tokenizer leaves out. {own}",
        _normalizing(_accented),
    )
    yield Hypothesis(
        "no special tokens",
        "special tokens",
        "It left out the special tokens that begin, part and end a pair. Have it tokenize with add_special_tokens.",
        _without_spans(PairEncoder.special_at),
    )
    yield Hypothesis(
        "one text",
        "special tokens",
        "It joined query and passage to one text, with no separator between them. Give it pairs of texts.",
        _one_text,
    )
    yield Hypothesis(
        "prompt left out",
        "prompt",
        "It left out the prompt that the checkpoint was trained with, so that it gives the model bare texts. Configure "
        "its template (for vLLM: --chat-template, or a checkpoint of the kind 'seq-cls').",
        _without_prompt,
    )
    for prefixes in PREFIXES:
        yield _prefixed(*prefixes)
    for label in (1, 0):
        yield _headed(f"the logit of label {label} alone", itemgetter((slice(None), label)))
    yield _headed("the difference of both logits", HEADS["margin"])


HYPOTHESES = tuple(_hypotheses())
