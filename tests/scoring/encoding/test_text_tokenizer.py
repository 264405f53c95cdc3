"""Texts to tokens: nanotoken against Hugging Face's tokenizer, which takes its place where the two differ."""

import json
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
from collection import Bge
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyserini_rerank.scoring.checkpoints.checkpoint import bundled
from pyserini_rerank.scoring.encoding import text_tokenizer
from pyserini_rerank.scoring.encoding.battery import battery
from pyserini_rerank.scoring.encoding.text_tokenizer import TextTokenizer, TokenLists, by_reference
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from tokenizers.normalizers import BertNormalizer

WORDS = [
    "flea", "FLEA", "Cat's", "don't", "U.S.A.", "x" * 101, "a\tb", "a\nb", "\x00", "\x1c", "\x7f", "[SEP]", "[sep]",
    "[MASK", "[", "]", "##ing", "naïve", "café", "東京", "İ", "ß", "\u200b", "\u0301", " ", "  ", "\r\n", "3,000.5",
    "<b>", "Foo", "foo",
]  # fmt: skip
TEXTS = st.lists(
    st.sampled_from(WORDS)
    | st.text(st.characters(min_codepoint=0, max_codepoint=127), max_size=8)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    max_size=8,
).flatmap(lambda words: st.sampled_from([" ", ""]).map(lambda between: between.join(words)))


def tokenizer(**normalizer: bool) -> Tokenizer:
    """BERT's own, with a token of a user's and a normalizer's other settings."""
    parts = json.loads((bundled.folder() / "tokenizer.json").read_text())
    parts["normalizer"] |= normalizer
    made = Tokenizer.from_str(json.dumps(parts | {"truncation": None, "padding": None}))
    made.add_tokens(["Foo"])
    return made


def multilingual() -> Tokenizer:
    """A cased vocabulary of many scripts, as mBERT's is, trained on the battery's own texts."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=8000, special_tokens=special, show_progress=False)
    made.train_from_iterator(battery(tokenizer()), trainer)
    return made


VARIANTS = {
    "uncased": tokenizer(),
    "cased": tokenizer(lowercase=False),
    "accents": tokenizer(strip_accents=False),
    "as it is": tokenizer(clean_text=False, handle_chinese_chars=False),
    "multilingual": multilingual(),
}
TOKENIZERS = {name: TextTokenizer(plain) for name, plain in VARIANTS.items()}


def listed(tokens: TokenLists) -> list[list[int]]:
    return [tokens.ids[start:stop].tolist() for start, stop in pairwise(tokens.offsets.tolist())]


def check(texts: list[str]) -> None:
    for name, plain in VARIANTS.items():
        found = TOKENIZERS[name](texts)
        expected = [plain.encode(text, add_special_tokens=False).ids for text in texts]
        assert listed(found) == expected, name
        assert found.ids.dtype == np.int32 and found.offsets.dtype == np.int64


@given(st.lists(TEXTS, max_size=5))
@example(WORDS)
@example([f"a {word} b" for word in WORDS])
@settings(max_examples=500, deadline=None)
def test_the_tokens_are_those_of_the_tokenizer(texts: list[str]) -> None:
    check(texts)


#: What a user may add to a vocabulary: white space, what normalizing changes or removes, and plain words.
ADDED = [
    "\n", "\t", "\r", "\r\n", "\n\n", " ", "  ", "a\nb", "new\tyork", "new york",
    " flea", "flea ", "\x00", "\x1c", "\x7f",
    "\xa0", "\u200b", "\u2028", "\u3000", "café", "CAFÉ", "\u0301", "İ", "ß", "Foo", "[SEP]", "東", "##ing", "a",
]  # fmt: skip
AROUND = [
    "a\nb",
    "a\n\nb\r\nc",
    "a b  c",
    "a\tb\rc",
    "new york",
    "new\nyork",
    "new\tyork",
    "a flea lives",
    "cafe CAFE i ss foo",
]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer's file with a few words, so that reading it takes no time."""
    folder = tmp_path_factory.mktemp("vocabulary")
    tiny_checkpoints._write_tokenizer_json(folder, tiny_checkpoints.UNCASED, padding=False)
    return folder / "tokenizer.json"


def kinds() -> Iterator[object]:
    """Each added token as one of the four kinds, in turn; as the other three in `make stress`."""
    for number, content in enumerate(ADDED):
        for kind in range(4):
            marks = [] if kind == number % 4 else [pytest.mark.stress]
            yield pytest.param(content, kind % 2 == 1, kind // 2 == 1, marks=marks)


@pytest.mark.parametrize(("content", "special", "lowercase"), kinds())
def test_added_tokens(vocabulary: Path, content: str, special: bool, lowercase: bool) -> None:
    """By each way that they may be looked for: before the text is normalized, or after; as a word, or with blanks."""
    for options in (
        {"normalized": False},
        {"normalized": True},
        {"single_word": True},
        {"lstrip": True, "rstrip": True},
    ):
        plain = Tokenizer.from_file(str(vocabulary))
        plain.normalizer = BertNormalizer(lowercase=lowercase)
        plain.add_tokens([AddedToken(content, special=special, **options)])
        found = listed(TextTokenizer(plain)(AROUND))
        assert found == [plain.encode(text, add_special_tokens=False).ids for text in AROUND], options


def test_a_line_break_is_a_token_in_every_text() -> None:
    plain = tokenizer()
    plain.add_special_tokens(["\n"])
    for ids in listed(TextTokenizer(plain)(["flea\ncat", "café\ncat"])):
        assert plain.token_to_id("\n") in ids


# ------------------------------------------------------------------------------------------------------------- trust

FAST, REFERENCE = f"nanotoken {version('nanotoken')}", f"tokenizers {version('tokenizers')}"


def test_wordpiece_is_tokenized_by_nanotoken() -> None:
    assert {made.package for made in TOKENIZERS.values()} == {FAST}


def wrong_in(character: str) -> Any:
    """Make nanotoken's tokenizer give another id for each text that has a character."""
    make = text_tokenizer.by_nanotoken

    def made(reference: Tokenizer) -> Any:
        right = make(reference)

        def tokenize(texts: list[str]) -> TokenLists:
            found = right(texts)
            ids = found.ids.copy()
            for text, start, stop in zip(texts, found.offsets[:-1], found.offsets[1:], strict=True):
                if character in text and stop > start:
                    ids[start] += 1
            return TokenLists(ids, found.offsets)

        return tokenize

    return made


@pytest.mark.parametrize(
    "character", ["\x85", "\u0301", "ß", "\u2028", "\ufeff", "\u1100", "柏", "\U0001f469", "é", "Ω"]
)
def test_one_id_that_differs_anywhere_gives_the_reference(
    character: str, vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(text_tokenizer, "by_nanotoken", wrong_in(character))
    plain = Tokenizer.from_file(str(vocabulary))
    made = TextTokenizer(plain)
    assert made.package == REFERENCE
    assert listed(made([f"flea{character}"])) == [plain.encode(f"flea{character}", add_special_tokens=False).ids]


def test_the_comparison_is_made_once(vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a vocabulary: another one is compared anew. What cannot be remembered is compared each time."""
    compared = []
    monkeypatch.setattr(text_tokenizer, "battery", lambda reference: compared.append(reference) or battery(reference))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(3):
        assert TextTokenizer(Tokenizer.from_file(str(vocabulary))).package == FAST
    assert len(compared) == 1
    other = Tokenizer.from_file(str(vocabulary))
    other.add_tokens(["fleas"])
    assert TextTokenizer(other).package == FAST and len(compared) == 2
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert TextTokenizer(Tokenizer.from_file(str(vocabulary))).package == FAST
    assert len(compared) == 4
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for verdict in (tmp_path / "cache").rglob(text_tokenizer.VERDICT):
        verdict.write_text("{")
    assert TextTokenizer(Tokenizer.from_file(str(vocabulary))).package == FAST, "a damaged file is no verdict"


def test_other_kinds_are_left_to_the_reference(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"flea": 0, "<unk>": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    letters = Tokenizer(models.BPE(alphabet, []))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for plain in (words, letters):
        made = TextTokenizer(plain)
        assert made.package == REFERENCE
        assert listed(made(["flea é", "", "x"])) == [
            plain.encode(text, add_special_tokens=False).ids for text in ("flea é", "", "x")
        ]


def test_a_vocabulary_without_an_unknown_token(vocabulary: Path, tmp_path: Path) -> None:
    """Hugging Face's raises for a word that it lacks, and so does ours; words that it has are tokenized."""
    parts = json.loads(vocabulary.read_text())
    del parts["model"]["vocab"][parts["model"]["unk_token"]]
    parts["added_tokens"] = [token for token in parts["added_tokens"] if token["content"] != "[UNK]"]
    plain = Tokenizer.from_str(json.dumps(parts))
    made = TextTokenizer(plain)
    assert made.package == REFERENCE and listed(made(["flea"])) == [plain.encode("flea", add_special_tokens=False).ids]
    with pytest.raises(Exception, match="UNK"):
        made(["ꙮ"])


def test_without_nanotoken(vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanotoken", None)
    plain = Tokenizer.from_file(str(vocabulary))
    made = TextTokenizer(plain)
    assert made.package == REFERENCE and listed(made(["flea é"])) == [
        plain.encode("flea é", add_special_tokens=False).ids
    ]


def test_special_tokens_in_a_text(documents: dict[str, str]) -> None:
    """They become what Hugging Face's tokenizer makes of them: the special token itself."""
    plain = VARIANTS["uncased"]
    [ids] = listed(TOKENIZERS["uncased"](["a [SEP] b[MASK]c [sep]"]))
    assert plain.token_to_id("[SEP]") in ids and plain.token_to_id("[MASK]") in ids
    assert ids == plain.encode("a [SEP] b[MASK]c [sep]", add_special_tokens=False).ids


# ------------------------------------------------------------------------------------------------------ large and many


@pytest.mark.slow
def test_huge_inputs() -> None:
    made, plain = TOKENIZERS["uncased"], VARIANTS["uncased"]
    for text in ("flea " * 200_000, "x" * 1_000_000, "\u0301" * 1_000_000, "柏" * 300_000):
        assert listed(made([text])) == listed(by_reference(plain, [text]))
    empty = made([""] * 100_000)
    assert len(empty.ids) == 0 and empty.offsets.tolist() == [0] * 100_001
    nothing = made([])
    assert len(nothing.ids) == 0 and nothing.offsets.tolist() == [0]


def test_half_of_a_surrogate_pair_is_an_error() -> None:
    """No text that comes from an index has one: it is replaced when the text is read."""
    with pytest.raises((TypeError, UnicodeEncodeError)):
        TOKENIZERS["uncased"](["a\ud800b"])
    with pytest.raises((TypeError, UnicodeEncodeError)):
        by_reference(VARIANTS["uncased"], ["a\ud800b"])


@pytest.mark.slow
def test_threads_forks_and_spawned_processes(documents: dict[str, str]) -> None:
    texts = list(documents.values())
    made = TOKENIZERS["uncased"]
    expected = listed(made(texts))
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(lambda _: listed(made(texts)), range(16)))
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            os._exit(0 if listed(made(texts)) == expected else 1)
        assert os.waitpid(child, 0)[1] == 0
    with multiprocessing.get_context("spawn").Pool(1) as processes:
        assert processes.apply_async(_in_another_process, (texts,)).get(120) == expected


def _in_another_process(texts: list[str]) -> list[list[int]]:
    return listed(TextTokenizer(tokenizer())(texts))


@pytest.mark.stress
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_the_memory_of_words_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    """Texts of eight words that no text had before: 1,000,000 take no more than 100,000 did."""
    chance, made = random.Random(3), TOKENIZERS["uncased"]
    resident = []
    for number in range(1001):
        made([" ".join(f"{chance.getrandbits(40):x}" for _ in range(8)) for _ in range(1000)])
        if number % 100 == 0:
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
    with capsys.disabled():
        print("MiB beyond the first 1,000 texts, each 100,000:", [round(size - resident[0]) for size in resident[1:]])
    assert max(resident) - resident[0] < 40
    assert max(resident[2:]) - resident[1] < 8


# -------------------------------------------------------------------------------------------------------------- fuzzing

POOL = [*WORDS, *text_tokenizer.battery(tokenizer())]


def random_text(chance: random.Random) -> str:
    """Draw a text of any characters, words and special tokens, with any blanks between them."""
    parts = []
    for _ in range(chance.randrange(1, 12)):
        kind = chance.random()
        if kind < 0.4:
            number = chance.choice([0x80, 0x250, 0x3000, 0x10000, 0x20000, 0x110000])
            parts.append(
                "".join(chr(n) for n in (chance.randrange(number) for _ in range(8)) if not 0xD800 <= n < 0xE000)
            )
        elif kind < 0.8:
            text = chance.choice(POOL)
            start = chance.randrange(len(text) + 1)
            parts.append(text[start : start + chance.randrange(1, 30)])
        else:
            parts.append(
                chance.choice(["[SEP]", "[CLS]", "[MASK]", "##", " ", "\t", "\u3000", "x" * 99, "É" * 51, "\u0301"])
            )
    return chance.choice(["", " ", "\n"]).join(parts)


def fuzz(plain: Tokenizer, count: int, seed: int) -> None:
    made, chance = TextTokenizer(plain), random.Random(seed)
    assert made.package == FAST
    for _ in range(0, count, 1000):
        texts = [random_text(chance) for _ in range(1000)]
        found, expected = made(texts), by_reference(plain, texts)
        if not np.array_equal(found.ids, expected.ids) or not np.array_equal(found.offsets, expected.offsets):
            [first, *_] = [
                text for text, one, other in zip(texts, listed(found), listed(expected), strict=True) if one != other
            ]
            pytest.fail(f"seed {seed}: {first!a} has other ids")


@pytest.mark.parametrize("name", VARIANTS)
def test_random_texts(name: str) -> None:
    fuzz(VARIANTS[name], 2000, seed=7)


@pytest.mark.stress
@pytest.mark.parametrize("name", [*VARIANTS, "bge-small"])
def test_a_hundred_thousand_random_texts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each vocabulary that can be had without a network; the seed is a new one each time."""
    seed = random.SystemRandom().randrange(2**32)
    plain = VARIANTS.get(name) or Bge().tokenizer
    plain.no_truncation()
    plain.no_padding()
    with capsys.disabled():
        print(f"{name}: seed {seed}, {plain.get_vocab_size():,} entries")
    fuzz(plain, 100_000, seed)
