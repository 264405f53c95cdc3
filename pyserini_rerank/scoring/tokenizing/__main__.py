"""A process that tokenizes. It imports the standard library, NumPy and tokenizers alone, so that it starts at once.

It is sent a tokenizer's file, then lists of texts. It answers each list with the ids of all of them end to end, int32,
and how many each text has. Everything is pickled.
"""

import os
import pickle
import signal
import sys
from contextlib import suppress
from itertools import chain

import numpy as np
from tokenizers import Tokenizer


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other process's, which then ends this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    with suppress(EOFError, OSError):  # the other process is done, or dead
        tokenizer = Tokenizer.from_str(pickle.load(sys.stdin.buffer))
        while True:
            encodings = tokenizer.encode_batch_fast(pickle.load(sys.stdin.buffer), add_special_tokens=False)
            ids = [encoding.ids for encoding in encodings]
            flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32)
            pickle.dump((flat, [len(some) for some in ids]), answers)
            answers.flush()


main()
