"""Texts to tokens, against the Rust tokenizer itself: by the shorter way, and in other processes."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pyserini_rerank
import pytest
import tiny_checkpoints
import tiny_families
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyserini_rerank.scoring.checkpoints.checkpoint import bundled
from pyserini_rerank.scoring.encoding.encoder import WORTH_SENDING
from pyserini_rerank.scoring.encoding.text_tokenizer import TextTokenizer
from pyserini_rerank.scoring.encoding.tokenizing_processes import TokenizingProcesses
from tokenizers import AddedToken, Tokenizer
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
    made = Tokenizer.from_str(json.dumps(parts))
    made.add_tokens(["Foo"])
    return made


VARIANTS = {
    "uncased": tokenizer(),
    "cased": tokenizer(lowercase=False),
    "accents": tokenizer(strip_accents=False),
    "as it is": tokenizer(clean_text=False, handle_chinese_chars=False),
}
TOKENIZERS = {name: TextTokenizer(plain) for name, plain in VARIANTS.items()}


def check(texts: list[str]) -> None:
    for name, plain in VARIANTS.items():
        found = TOKENIZERS[name](texts)
        expected = [plain.encode(text, add_special_tokens=False).ids for text in texts]
        assert [ids.tolist() for ids in found] == expected, name
        assert all(ids.dtype == np.int32 for ids in found)


@given(st.lists(TEXTS, max_size=5))
@example(WORDS)
@example([f"a {word} b" for word in WORDS])
@settings(max_examples=2000, deadline=None)
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


@pytest.mark.parametrize("content", ADDED)
def test_added_tokens(vocabulary: Path, content: str) -> None:
    """By each way that they may be looked for: before the text is normalized, or after; as a word, or with blanks."""
    for options in (
        {"normalized": False},
        {"normalized": True},
        {"single_word": True},
        {"lstrip": True, "rstrip": True},
    ):
        for special in (False, True):
            for lowercase in (False, True):
                plain = Tokenizer.from_file(str(vocabulary))
                plain.normalizer = BertNormalizer(lowercase=lowercase)
                plain.add_tokens([AddedToken(content, special=special, **options)])
                found = [ids.tolist() for ids in TextTokenizer(plain)(AROUND)]
                assert found == [plain.encode(text, add_special_tokens=False).ids for text in AROUND], (
                    options,
                    special,
                )


def test_a_line_break_is_a_token_in_every_text() -> None:
    plain = tokenizer()
    plain.add_special_tokens(["\n"])
    ascii, other = TextTokenizer(plain)(["flea\ncat", "café\ncat"])
    assert plain.token_to_id("\n") in ascii.tolist() and plain.token_to_id("\n") in other.tolist()


@pytest.mark.stress
@given(st.lists(TEXTS, max_size=5))
@settings(max_examples=100_000, deadline=None)
def test_many_more_texts(texts: list[str]) -> None:
    check(texts)


def test_which_texts_take_the_shorter_way(documents: dict[str, str]) -> None:
    uncased, cased = TOKENIZERS["uncased"], TOKENIZERS["cased"]
    assert uncased._normalized("A Flea\nlives") == "a flea lives" and cased._normalized("A Flea") == "A Flea"
    assert sum(uncased._normalized(text) is not None for text in documents.values()) > 0.9 * len(documents)
    for text in ("a [SEP] b", "[sep]", "foo", "café", "a\tb", "\x7f"):
        assert uncased._normalized(text) is None


# ----------------------------------------------------------------------------------------------------------- processes


@pytest.fixture(scope="module")
def many(documents: dict[str, str]) -> list[str]:
    return [f"{number} {text}" for number in range(4) for text in documents.values()]


@pytest.mark.filterwarnings("ignore::pyserini_rerank.CutWarning")
def test_other_processes_give_the_same(many: list[str]) -> None:
    """The scores' bits as well."""
    pairs = [("flea", " ".join(text.split()[:8])) for text in many]
    assert len(set(pairs)) > WORTH_SENDING
    with pyserini_rerank.load("bundled", device="cpu", max_length=8) as reranker:
        expected = reranker.predict(pairs)
    with pyserini_rerank.load("bundled", device="cpu", max_length=8, processes=3) as reranker:
        processes, own = reranker.backend.encoder.processes, reranker.backend.encoder.texts
        assert reranker.predict(pairs).tobytes() == expected.tobytes()
        started = processes._processes
        for some in (many, many[:1], [], ["", "café"]):
            assert [ids.tolist() for ids in processes(some)] == [ids.tolist() for ids in own(some)]
        assert processes._processes is started and all(process.poll() is None for process in started)
    assert all(process.poll() is not None for process in started)


def test_a_process_that_is_killed(many: list[str]) -> None:
    processes = TokenizingProcesses(VARIANTS["uncased"], 2)
    expected = [ids.tolist() for ids in processes(many)]
    first = processes._processes
    os.kill(first[1].pid, signal.SIGKILL)
    first[1].wait()
    with pytest.raises(RuntimeError, match="^a process that tokenizes has ended: was it killed, or .*[?]$"):
        processes(many)
    assert [ids.tolist() for ids in processes(many)] == expected
    # Without this process, which holds the other end of their pipes, they end.
    for process in processes._processes:
        process.stdin.close()
        assert process.wait(60) == 0
    assert all(process.poll() is not None for process in first)


@pytest.mark.parametrize(
    ("name", "processes", "says"),
    [("bundled", 0, "processes=0: give a number"), ("bundled", -1, "processes=-1: give"), (None, 2, "reads prompts")],
)
def test_processes_that_cannot_be(name, processes, says, tmp_path):
    folder = name or tiny_families.build(tiny_families.MONOT5, tmp_path)
    with pytest.raises(ValueError, match=says) as error:
        pyserini_rerank.load(folder, device="cpu", processes=processes)
    assert len(str(error.value).splitlines()) == 1
