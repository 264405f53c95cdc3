"""The score cache: what is known is not computed again, and what is damaged is not believed."""

import json
import multiprocessing
import shutil
import struct
import sys

import numpy as np
import pyserini_rerank
import pytest
from collection import HashBackend
from pyserini_rerank.cli.main import main
from pyserini_rerank.scoring.backends.cached_backend import CachedBackend
from pyserini_rerank.scoring.score_store import DATA, ScoreStore
from tiny_checkpoints import build

PAIRS = [(f"query {number % 7}", f"passage {number}") for number in range(100)]
NAME = "cross-encoder/ms-marco-MiniLM-L-2-v2"


def hashing(fingerprint: str = "hash") -> HashBackend:
    backend = HashBackend()
    backend.fingerprint = fingerprint
    return backend


def score(backend, pairs=PAIRS):
    return pyserini_rerank.ModelReranker(backend, "hashing").predict(pairs)


def refuse(batch):
    raise AssertionError("a known batch was run")


def test_a_known_pair_is_not_scored_again(tmp_path):
    first = CachedBackend(hashing(), tmp_path)
    scores = score(first)
    first.close()
    second = hashing()
    second.run = refuse
    assert np.array_equal(score(CachedBackend(second, tmp_path)), scores)
    with pytest.raises(AssertionError, match="a known batch was run"):
        score(CachedBackend(second, tmp_path / "empty"))


def test_another_fingerprint_query_or_text_misses(tmp_path):
    cached = CachedBackend(hashing(), tmp_path)
    score(cached, [("ab", "c")])
    cached.close()
    for fingerprint, pair in (("other", ("ab", "c")), ("hash", ("a", "bc")), ("hash", ("ab", "d"))):
        backend = hashing(fingerprint)
        backend.run = refuse
        cached = CachedBackend(backend, tmp_path)
        with pytest.raises(AssertionError):
            score(cached, [pair])
        cached.store.close()


def test_a_known_score_is_kept_though_its_batch_is_run_again(tmp_path):
    """So that a run that was interrupted goes on to the same bits."""
    cached = CachedBackend(hashing(), tmp_path)
    score(cached, PAIRS[:50])
    cached.close()
    shifted = hashing()
    shifted.score = lambda query, text: 1.0
    scores = score(CachedBackend(shifted, tmp_path))
    assert np.array_equal(scores[:50], score(hashing())[:50])
    assert (scores[50:] == 1).all()


def test_scores_that_are_no_numbers_are_not_kept(tmp_path):
    backend = hashing()
    backend.score = lambda query, text: np.nan
    cached = CachedBackend(backend, tmp_path)
    with pytest.raises(FloatingPointError):
        score(cached)
    assert len(cached.store) == 0


def test_a_backend_without_a_fingerprint_cannot_be_cached(tmp_path):
    with pytest.raises(ValueError, match="HashBackend has no fingerprint"):
        CachedBackend(hashing(""), tmp_path)


def test_a_damaged_score_is_found(tmp_path):
    store = ScoreStore(tmp_path)
    store.put({b"k" * 16: 1.5})
    store.close()
    replaced(tmp_path, struct.pack("<f", 1.5), struct.pack("<f", 1.75))
    store = ScoreStore(tmp_path)
    with pytest.raises(ValueError, match="is damaged .*: delete the folder") as error:
        store.get([b"k" * 16])
    assert str(tmp_path) in str(error.value)


def replaced(folder, before, after):
    data = (folder / DATA).read_bytes()
    assert data.count(before) == 1
    (folder / DATA).write_bytes(data.replace(before, after))


def test_a_file_that_is_no_cache_is_found(tmp_path):
    (tmp_path / DATA).write_bytes(b"not a cache" * 1000)
    with pytest.raises(ValueError, match="is damaged"):
        ScoreStore(tmp_path)


def command(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["pyserini-rerank", "cache", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    return stopped.value.code or 0, said.out, said.err


def test_the_command_tells_and_clears(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "scores"
    cached = CachedBackend(hashing(), folder)
    score(cached)
    cached.close()
    code, shown, _ = command(capsys, monkeypatch, "info", folder, "--json")
    assert code == 0 and json.loads(shown)["scores"] == 100
    assert "100 scores" in command(capsys, monkeypatch, "info", folder)[1]
    replaced(folder, struct.pack("<f", score(hashing())[7]), b"zero")
    code, _, error = command(capsys, monkeypatch, "info", folder)
    assert code == 1 and f"the score cache {folder} is damaged" in error
    assert command(capsys, monkeypatch, "clear", folder)[0] == 0
    assert not folder.exists()


@pytest.mark.parametrize("word", ["info", "clear"])
def test_another_folder_is_left_alone(tmp_path, capsys, monkeypatch, word):
    (tmp_path / "mine.txt").write_text("mine")
    code, _, error = command(capsys, monkeypatch, word, tmp_path)
    assert code == 1 and f"{tmp_path} is no score cache" in error
    assert (tmp_path / "mine.txt").read_text() == "mine"


def _put(folder, start):
    store = ScoreStore(folder)
    for number in range(start, start + 200):
        store.put({f"{number:016}".encode(): float(number)})
    store.close()


@pytest.mark.slow
def test_several_processes_share_a_cache(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_put, args=(tmp_path, start)) for start in (0, 100, 200)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store = ScoreStore(tmp_path)
    assert len(store) == 400
    assert store.get([f"{number:016}".encode() for number in range(400)]).tolist() == list(range(400))


def test_whatever_changes_scores_changes_the_fingerprint(tmp_path):
    folder = build(NAME, tmp_path)

    def fingerprint(folder=folder, **options):
        with pyserini_rerank.load(folder, device="cpu", **options) as reranker:
            return reranker.backend.fingerprint

    other_weights = build(NAME, tmp_path / "other", seed=1)
    other_config = shutil.copytree(folder, tmp_path / "config" / NAME)
    config = other_config / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    prints = [
        fingerprint(),
        fingerprint(max_length=100),
        fingerprint(dtype="bfloat16"),
        fingerprint(other_weights),
        fingerprint(other_config),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint() == fingerprint(batch_tokens=100) == prints[0]


def test_how_a_folder_is_read_changes_the_fingerprint(tmp_path):
    name = "amberoad/bert-multilingual-passage-reranking-msmarco"
    folder = build(name, tmp_path).rename(tmp_path / "mine")
    ways = ({"head": "margin"}, {"known_as": name}, {"known_as": name, "head": "margin"})
    prints = []
    for options in ways:
        with pyserini_rerank.load(folder, device="cpu", **options) as reranker:
            prints.append(reranker.backend.fingerprint)
    assert prints[0] != prints[1] == prints[2]


def test_load_with_a_cache(tmp_path):
    folder = build(NAME, tmp_path)
    with pyserini_rerank.load(folder, device="cpu") as plain:
        expected = plain.predict(PAIRS)
    for _ in range(2):
        with pyserini_rerank.load(folder, device="cpu", cache=tmp_path / "cache") as reranker:
            assert np.array_equal(reranker.predict(PAIRS), expected)
