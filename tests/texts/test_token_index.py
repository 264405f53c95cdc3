"""The token index gives the same bits as texts do, goes on where it was killed, and refuses what it cannot trust."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyserini_rerank
import pytest
from collection import HashBackend, listed
from pyserini_rerank.passages import Tokens
from pyserini_rerank.retrieval.hits import Hits
from pyserini_rerank.scoring.backends.cached_backend import _key
from pyserini_rerank.scoring.checkpoints.checkpoint import bundled
from pyserini_rerank.scoring.encoding.vocabulary import vocabulary
from pyserini_rerank.texts import token_index, token_writer
from pyserini_rerank.texts.source import MissingText, clean
from pyserini_rerank.texts.token_index import TokenIndex
from pyserini_rerank.texts.token_writer import write
from tiny_checkpoints import build
from tokenizers import Tokenizer, models, pre_tokenizers

TINY = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
MULTILINGUAL = "amberoad/bert-multilingual-passage-reranking-msmarco"
BERT_CAT = "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco"
ELECTRA = "Capreolus/electra-base-msmarco"

SOME = """berlin people Live flea cycle museum long Straße über город река 柏林 unbelievable ꙮ [SEP] [MASK] 3,520 x²"""
WORDS = SOME.split()
#: Texts that a shortcut would get wrong.
ODD = {
    "cat": "The flea and the CAT",
    "CAT": "the flea and the cat",  # the same tokens
    "again": "The flea and the CAT",  # the same text
    "nothing": "\u200b",  # no tokens at all
    "nothing else": "\u200f\u200b",
    "empty": "",
    "blank": " \n\t ",
    "half": "half \ud83d a pair",
    "edges": "\n flea \r\n",
    "id\0 with\ttab ☃": "a docid that is hard to write",
    "": "no docid",
    "long": " ".join(["flea"] * 700),
}


@dataclass
class Listed:
    """Documents in a list, in chunks of a few."""

    documents: dict
    file: Path
    per_chunk: int = 7
    unit: str = "B"
    given: list = field(default_factory=list)

    def __post_init__(self):
        self.location, self.end = self.file, len(self.documents)

    def read(self, start):
        items = list(self.documents.items())
        for position in range(start, len(items), self.per_chunk):
            chunk = items[position : position + self.per_chunk]
            self.given.append(position)
            yield position + len(chunk), [(docid, None if text is None else clean(text)) for docid, text in chunk]


@pytest.fixture(scope="module")
def texts():
    numbers = random.Random(3)
    lengths = [numbers.choice((3, 20, 60, 200)) for _ in range(60)]
    return ODD | {f"d{i}": " ".join(numbers.choices(WORDS, k=length)) for i, length in enumerate(lengths)}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Folders of tiny checkpoints, by their hub name."""
    parent = tmp_path_factory.mktemp("checkpoints")
    return {name: build(name, parent) for name in (TINY, MULTILINGUAL, BERT_CAT, ELECTRA)}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    file = tmp_path_factory.mktemp("source") / "docs"
    file.write_text("stands for the documents")
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory, texts, source, checkpoints):
    """Token indexes of the texts, by the hub name of their vocabulary."""
    folder = tmp_path_factory.mktemp("made")
    for name in (TINY, MULTILINGUAL):
        write(folder / name, Listed(texts, source), tokenizer_of(checkpoints[name]), name)
    return {name: folder / name for name in (TINY, MULTILINGUAL)}


def tokenizer_of(checkpoint):
    with pyserini_rerank.load(checkpoint, device="cpu") as reranker:
        return reranker.backend.encoder.tokenizer


@pytest.fixture
def bert():
    return Tokenizer.from_file(str(bundled.folder() / "tokenizer.json"))


def hits(docids):
    return [Hit(docid, -float(rank)) for rank, docid in enumerate(docids)]


@dataclass(frozen=True)
class Hit:
    docid: str
    score: float


# -------------------------------------------------------------------------------------------------------- the same bits


@pytest.mark.parametrize("max_length", [512, 40, 7])
@pytest.mark.parametrize(
    ("name", "built"), [(TINY, TINY), (BERT_CAT, TINY), (ELECTRA, TINY), (MULTILINGUAL, MULTILINGUAL)]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scores_have_the_same_bits(texts, checkpoints, made, name, built, max_length):
    """Whatever the length, for all checkpoints with the vocabulary, and with the same counts."""
    found = hits(texts)
    results: list[Hits] = []
    counts = []
    for source in ({"texts": texts}, {"tokens": made[built]}):
        with pyserini_rerank.load(checkpoints[name], device="cpu", max_length=max_length) as reranker:
            results += [reranker.rerank(query, found, **source) for query in ("how long do people live", "CAT")]
            counts.append(reranker.counts)
    assert [listed(some) for some in results[:2]] == [listed(some) for some in results[2:]]
    assert len({score for _, score in listed(results[0])}) > 30
    assert counts[0] == counts[1]
    assert counts[0].empty == 4 and counts[0].scored == 2 * (len(texts) - 3) and counts[0].cut_passages >= 2


def test_what_is_looked_up(texts, made, bert):
    index = TokenIndex(made[TINY])
    assert len(index) == len(texts)
    assert index.get(["empty", "blank", "d", "nope", "D1"]) == ["", "", None, None, None]
    cat, upper, again, nothing = index.get(["cat", "CAT", "again", "nothing"])
    assert cat.ids == upper.ids and cat != upper and cat == again
    assert nothing.ids == b"" and isinstance(nothing, Tokens) and nothing
    assert index.get([]) == []


def test_docids_that_share_a_hash(tmp_path, source, texts, bert, monkeypatch):
    for module in (token_index, token_writer):
        monkeypatch.setattr(module, "hashes_of", lambda keys: np.array([len(key) % 2 for key in keys], np.uint64))
    write(tmp_path / "out", Listed(texts, source), bert, "bundled")
    same = TokenIndex(tmp_path / "out").get([*texts, "nope", "none"])
    monkeypatch.undo()
    write(tmp_path / "other", Listed(texts, source), bert, "bundled")
    assert same == TokenIndex(tmp_path / "other").get([*texts, "nope", "none"])
    assert same[-2:] == [None, None] and None not in same[:-2]


@pytest.mark.parametrize(("size", "dtype"), [(256, "|u1"), (257, "<u2"), (65_536, "<u2"), (65_537, "<u4")])
def test_ids_are_as_narrow_as_the_vocabulary(tmp_path, source, size, dtype):
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(size)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    text = f"w1 w{size - 1} w2"
    assert write(tmp_path / "out", Listed({"d": text}, source), tokenizer, "x")["dtype"] == dtype
    [passage] = TokenIndex(tmp_path / "out").get(["d"])
    assert np.frombuffer(passage.ids, "<i4").tolist() == [1, size - 1, 2]


def test_tokens_in_a_score_cache(texts, checkpoints, made, tmp_path):
    """Their keys are not those of a text, nor those of a text with the same tokens."""
    found = hits(["cat", "CAT", "d1", "d2"])
    with pyserini_rerank.load(checkpoints[TINY], device="cpu", cache=tmp_path) as reranker:
        first = reranker.rerank("flea", found, tokens=made[TINY])
        assert len(reranker.backend.store) == 4
        assert listed(reranker.rerank("flea", found, texts=texts)) == listed(first)
        assert len(reranker.backend.store) == 8
        reranker.backend.backend.run = None  # everything is known
        assert listed(reranker.rerank("flea", found, tokens=made[TINY])) == listed(first)
    passage = Tokens(b"abcd", 0x61626364)
    keys = {_key(b"salt", ("q", some)) for some in (passage, "abcd", "abcdabcd", Tokens(b"abcd", 1), Tokens(b"", 1))}
    assert len(keys) == 5


# -------------------------------------------------------------------------------------------------------------- refused


def test_a_docid_that_is_not_there(checkpoints, made):
    with (
        pyserini_rerank.load(checkpoints[TINY], device="cpu") as reranker,
        pytest.raises(MissingText, match="hit nope has no text in the token index .*: the token index is of other"),
    ):
        reranker.rerank("flea", hits(["d1", "nope"]), tokens=made[TINY])


def test_another_vocabulary(checkpoints, made):
    searcher = SimpleNamespace(search=lambda q, k=10: hits(["d1"]))
    with pyserini_rerank.load(checkpoints[TINY], device="cpu") as reranker:
        with pytest.raises(ValueError, match=f"has the vocabulary of {MULTILINGUAL} .* and {checkpoints[TINY]} has an"):
            pyserini_rerank.RerankingSearcher(searcher, reranker, tokens=made[MULTILINGUAL])
        with pytest.raises(ValueError, match=f"index-tokens --tokenizer {checkpoints[TINY]}`"):
            reranker.rerank("flea", hits(["d1"]), tokens=made[MULTILINGUAL])
        with pytest.raises(TypeError, match="texts= and tokens= both say where"):
            pyserini_rerank.RerankingSearcher(searcher, reranker, tokens=made[TINY], texts={})


def test_a_backend_that_takes_texts_only(made):
    reranker = pyserini_rerank.ModelReranker(HashBackend(), "hashing")
    with pytest.raises(ValueError, match="hashing has a backend that takes texts and no tokens"):
        reranker.rerank("flea", hits(["d1"]), tokens=made[TINY])


def test_the_fingerprint_of_a_vocabulary(bert, checkpoints):
    own = vocabulary(bert)
    bert.enable_truncation(12)
    bert.enable_padding(length=20)
    assert vocabulary(bert) == own
    bert.post_processor = None  # adds special tokens, of which a passage has none
    assert vocabulary(bert) == own
    bert.normalizer = None
    assert vocabulary(bert) != own
    fingerprints = {name: vocabulary(tokenizer_of(folder)) for name, folder in checkpoints.items()}
    assert fingerprints[TINY] == fingerprints[BERT_CAT] == fingerprints[ELECTRA] != fingerprints[MULTILINGUAL]
    assert own not in fingerprints.values()


def test_a_stale_one(tmp_path, texts, bert):
    file = tmp_path / "docs"
    file.write_text("as they were")
    write(tmp_path / "out", Listed(texts, file), bert, "bundled")
    TokenIndex(tmp_path / "out")
    file.write_text("as they are now")
    with pytest.raises(ValueError, match=f"out is stale, since {file} has changed: build it again"):
        TokenIndex(tmp_path / "out")
    file.unlink()
    TokenIndex(tmp_path / "out")  # on a machine that never had the documents


@pytest.fixture
def whole(tmp_path, source, texts, bert):
    write(tmp_path / "out", Listed(texts, source), bert, "bundled")
    return tmp_path / "out"


@pytest.mark.parametrize("file", ["documents.bin", "hashes.bin", "starts.bin"])
@pytest.mark.parametrize("change", ["short", "long", "gone"])
def test_files_of_the_wrong_size(whole, file, change):
    data = (whole / file).read_bytes()
    (whole / file).write_bytes(data[:-1] if change == "short" else data + b"x")
    if change == "gone":
        (whole / file).unlink()
    with pytest.raises(ValueError, match=rf"out is damaged \({file} has [\d,]+ of {len(data):,} bytes\): delete the"):
        TokenIndex(whole)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\xff"])
def test_a_broken_meta(whole, text):
    (whole / "meta.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"out is damaged \(meta.json cannot be read\)"):
        TokenIndex(whole)


def test_another_format(whole):
    meta = json.loads((whole / "meta.json").read_text())
    (whole / "meta.json").write_text(json.dumps(meta | {"format": 1}))
    with pytest.raises(ValueError, match="has format 1, not 3"):
        TokenIndex(whole)


def test_a_flipped_bit_is_never_scored(whole, texts):
    """Wherever it is in a document's record, or in the tables."""
    known = TokenIndex(whole).get(texts)
    found = set()
    for file in ("documents.bin", "starts.bin", "hashes.bin"):
        data = bytearray((whole / file).read_bytes())
        for place in [*range(40), *range(40, len(data), len(data) // 40)]:
            data[place] ^= 4
            (whole / file).write_bytes(data)
            index = TokenIndex(whole)
            for docid, passage in zip(texts, known, strict=True):
                try:
                    [given] = index.get([docid])
                    assert given in (passage, None)
                    found.add((file, "lost" if given is None and passage is not None else "same"))
                except ValueError as error:
                    assert "is damaged (" in str(error)
                    found.add((file, "error"))
            data[place] ^= 4
        (whole / file).write_bytes(data)
    assert {("documents.bin", "error"), ("starts.bin", "error"), ("hashes.bin", "lost")} <= found


def test_none_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere is no token index \(it has no meta.json\): make one"):
        TokenIndex(tmp_path / "nowhere")


# ------------------------------------------------------------------------------------------------------------- building


class Killed(BaseException):
    pass


class Failing(Listed):
    """Documents that end a build after some chunks, as a kill would."""

    chunks = 0

    def read(self, start):
        for number, chunk in enumerate(super().read(start)):
            if number == self.chunks:
                raise Killed
            yield chunk


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def failing(texts, source, chunks):
    documents = Failing(texts, source)
    documents.chunks = chunks
    return documents


def test_it_goes_on_behind_the_last_commit(tmp_path, texts, source, bert, whole):
    for chunks in (0, 2, 1, 3):
        with pytest.raises(Killed):
            write(tmp_path / "again", failing(texts, source, chunks), bert, "bundled")
        with pytest.raises(FileNotFoundError, match="again.partial is not complete: the same command goes on with it"):
            TokenIndex(tmp_path / "again")
        for file in ("documents.bin", "rows.bin"):  # what a kill leaves behind the last commit
            with (tmp_path / "again.partial" / file).open("ab") as open_file:
                open_file.write(b"half a rec")
    documents = Listed(texts, source)
    write(tmp_path / "again", documents, bert, "bundled")
    assert documents.given[0] == 6 * documents.per_chunk
    assert contents(tmp_path / "again") == contents(whole)
    assert not (tmp_path / "again.partial").exists()


@pytest.mark.parametrize("step", ["sort", "meta.json", "rename"])
def test_a_kill_at_the_very_end(tmp_path, texts, source, bert, whole, monkeypatch, step):
    def killed(path, *more):
        if step in ("sort", "rename") or path.name == step:
            raise Killed
        return replace(path, *more)

    replace = token_writer.replace
    with monkeypatch.context() as patched, pytest.raises(Killed):
        place = {"sort": (token_writer, "_sort"), "rename": (Path, "rename")}.get(step, (token_writer, "replace"))
        patched.setattr(*place, killed)
        write(tmp_path / "again", Listed(texts, source), bert, "bundled")
    documents = Listed(texts, source)
    write(tmp_path / "again", documents, bert, "bundled")
    assert documents.given == []
    assert contents(tmp_path / "again") == contents(whole)


def test_what_the_tokenizer_says_of_cutting_and_padding_is_turned_off(tmp_path, texts, source, bert, whole):
    bert.enable_truncation(16)
    bert.enable_padding(length=64)
    write(tmp_path / "again", Listed(texts, source), bert, "bundled")
    assert contents(tmp_path / "again") == contents(whole)


def test_of_a_docid_that_comes_twice_the_first_counts(tmp_path, source, bert):
    documents = Listed({}, source)
    documents.read = lambda start: iter([(900, [(f"d{i % 30}", f"flea {i // 30}") for i in range(900)])])
    write(tmp_path / "again", documents, bert, "bundled")
    [first] = TokenIndex(tmp_path / "again").get(["d7"])
    assert TokenIndex(tmp_path / "again").get([f"d{i}" for i in range(30)]) == [first] * 30
    assert np.frombuffer(first.ids, "<i4").tolist() == bert.encode("flea 0", add_special_tokens=False).ids


def test_an_output_that_exists(tmp_path, texts, source, bert):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="out exists: delete it, or name another output"):
        write(tmp_path / "out", Listed(texts, source), bert, "bundled")


def test_a_build_that_was_begun_otherwise(tmp_path, texts, bert, checkpoints):
    file = tmp_path / "docs"
    file.write_text("as they were")
    with pytest.raises(Killed):
        write(tmp_path / "out", failing(texts, file, 2), bert, "bundled")
    with pytest.raises(ValueError, match="out.partial was begun with another vocabulary: delete it"):
        write(tmp_path / "out", Listed(texts, file), tokenizer_of(checkpoints[TINY]), TINY)
    file.write_text("as they are now")
    with pytest.raises(ValueError, match="out.partial was begun with another source: delete it"):
        write(tmp_path / "out", Listed(texts, file), bert, "bundled")


def test_a_source_is_told_by_its_content(tmp_path, texts, bert):
    """Touched, or copied to its place, it is the same; with another content of the same size and time it is not."""
    file = tmp_path / "docs"
    file.write_text("as they were")
    with pytest.raises(Killed):
        write(tmp_path / "out", failing(texts, file, 2), bert, "bundled")
    os.utime(file, (1e9, 1e9))
    write(tmp_path / "out", Listed(texts, file), bert, "bundled")
    shutil.copy(file, tmp_path / "copy")
    os.replace(tmp_path / "copy", file)
    assert len(TokenIndex(tmp_path / "out")) == len(texts)
    facts = file.stat()
    file.write_text("as they are!")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(ValueError, match="out is stale, since .*docs has changed: build it again"):
        TokenIndex(tmp_path / "out")


def test_documents_that_change_meanwhile(tmp_path, texts, bert):
    file = tmp_path / "docs"
    file.write_text("as they were")
    documents = Listed(texts, file)
    read = documents.read
    documents.read = lambda start: (file.write_text("as they are now") and chunk for chunk in read(start))
    with pytest.raises(ValueError, match="changed while it was read"):
        write(tmp_path / "out", documents, bert, "bundled")
    assert not (tmp_path / "out").exists()


def test_documents_without_text_are_left_out(tmp_path, source, bert):
    meta = write(tmp_path / "out", Listed({"a": "flea", "b": None, "c": ""}, source), bert, "bundled")
    assert (meta["documents"], meta["without_text"]) == (2, 1)
    assert TokenIndex(tmp_path / "out").get(["b", "c"]) == [None, ""]
    with pytest.raises(ValueError, match="none of the 2 documents of .* has a text: name an index"):
        write(tmp_path / "none", Listed({"a": None, "b": None}, source), bert, "bundled")
    assert not (tmp_path / "none.partial").exists()


SCRIPT = """
import sys
from pathlib import Path
from pyserini_rerank.texts import collection as collections
from pyserini_rerank.texts.token_writer import write
from tokenizers import Tokenizer
collections.MOST_DOCUMENTS = 20
vocabulary, source, output = map(Path, sys.argv[1:])
write(output, collections.CollectedDocuments(source), Tokenizer.from_file(str(vocabulary)), "bundled")
"""


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.stress)])
def test_killed_and_started_again_it_writes_the_same_bytes(tmp_path, kills):
    numbers = random.Random(kills)
    docs = tmp_path / "docs.jsonl"
    lines = (json.dumps({"id": f"d{i}", "contents": " ".join(numbers.choices(WORDS, k=100))}) for i in range(4000))
    docs.write_text("".join(f"{line}\n" for line in lines))
    command = [sys.executable, "-c", SCRIPT, str(bundled.folder() / "tokenizer.json"), str(docs)]
    state = tmp_path / "killed.partial" / "state.json"
    killed, position = 0, 0
    while killed < kills:
        process = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        # Until it has gone on, and then at any moment.
        while not (state.exists() and json.loads(state.read_text())["position"] > position):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.005)
        time.sleep(numbers.uniform(0, 1 / kills))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        killed, position = killed + 1, json.loads(state.read_text())["position"]
    assert 0 < position < docs.stat().st_size
    for output in ("killed", "whole"):
        subprocess.run([*command, str(tmp_path / output)], check=True, capture_output=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(TokenIndex(tmp_path / "whole")) == 4000
