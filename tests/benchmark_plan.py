"""How fast one process plans: texts to tokens, to batches, to the ids that the model reads.

    python tests/benchmark_plan.py [PAIRS]

prints the microseconds a pair of each step, in one thread, for texts that were never seen before: once with cold
caches, and then with warm ones for as many other texts. Hugging Face's tokenizer in the place of nanotoken stands
beside it, on the first 2,000 pairs. The texts are mixed from the standard library's documentation, and have 50 to 90
tokens as MS MARCO's passages do.
"""

import random
import sys
import time
from functools import partial

from pyserini_rerank.docstrings import read
from pyserini_rerank.scoring.backend import Pair
from pyserini_rerank.scoring.checkpoints import bundled
from pyserini_rerank.scoring.encoding.pair_encoder import PairEncoder
from pyserini_rerank.scoring.encoding.text_tokenizer import by_reference
from rounds import asked
from tokenizers import Tokenizer

#: Pairs that are planned at once, and tokens of a batch on a GPU.
PIECE, BUDGET = 5_000, 65_536


def main(count: int = 20_000) -> None:
    tokenizer = Tokenizer.from_file(str(bundled.folder() / "tokenizer.json"))
    encoder = PairEncoder(tokenizer, 512)
    print(f"{count:,} pairs, tokens by {encoder.package}")
    for name, seed in (("cold caches", 1), ("warm caches, new texts", 2), ("warm caches, other new texts", 3)):
        measure(name, encoder, new_pairs(count, seed))
    encoder.texts._tokenize = partial(by_reference, tokenizer)
    measure("by Hugging Face's tokenizer", encoder, new_pairs(min(count, 2_000), 4))


def new_pairs(count: int, seed: int) -> list[Pair]:
    """Make pairs of queries and texts, of which no two are the same."""
    chance = random.Random(seed)
    sentences = [sentence for _, text in read() for sentence in text.split(". ") if 40 < len(sentence) < 200]
    queries = asked(140)
    return [
        (chance.choice(queries), f"{'. '.join(chance.choices(sentences, k=3))}. {seed}{number}")
        for number in range(count)
    ]


def measure(name: str, encoder: PairEncoder, pairs: list[Pair]) -> None:
    """Time the steps of planning, and print each one's share."""
    seconds = dict.fromkeys(("tokens", "plan", "layout"), 0.0)
    tokens = 0
    for start in range(0, len(pairs), PIECE):
        piece = pairs[start : start + PIECE]
        began = time.perf_counter()
        plan = encoder.plan(piece, BUDGET)
        planned = time.perf_counter()
        tokens += sum(len(encoder.join(batch.inputs)[0]) for batch in plan.batches)
        laid_out = time.perf_counter()
        encoder.texts([text for _, text in piece if isinstance(text, str)])
        seconds["tokens"] += time.perf_counter() - laid_out
        seconds["plan"] += planned - began
        seconds["layout"] += laid_out - planned
    micros = {step: 1e6 * total / len(pairs) for step, total in seconds.items()}
    total = micros["plan"] + micros["layout"]
    print(
        f"{total:7.1f} µs a pair, {1e6 / total:9,.0f} pairs/s: plan {micros['plan']:.1f} (its tokens, done again with "
        f"warm caches, {micros['tokens']:.1f}), layout {micros['layout']:.1f}; "
        f"{tokens / len(pairs):.0f} tokens a pair; {name}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
