"""What breaks while something runs: no result is lost, and none is wrong.

Kills at random moments are in ``runs/test_rerank_command.py``, as is a full disk under a run; a server that fails is
in ``scoring/backends/test_http_backend.py``.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import datetime
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
import torch
from collection import build_lucene_index, listed
from experiment import arguments, run, write_experiment
from pyserini_rerank import MissingText, Reranker
from pyserini_rerank.runs import resumable_output
from pyserini_rerank.runs.resumable_output import ResumableOutput
from pyserini_rerank.scoring.backend import OutOfMemoryWarning
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from pyserini_rerank.scoring.score_store import DATA, ScoreStore
from tiny_checkpoints import build, weights_file

TINY = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
NBOOST = "nboost/pt-tinybert-msmarco"
BERT_CAT = "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco"


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


# A model's file cut short


@pytest.mark.parametrize("lengths", [12, pytest.param(300, marks=pytest.mark.stress)])
@pytest.mark.parametrize("name", [TINY, NBOOST, BERT_CAT])
def test_weights_cut_short(name: str, lengths: int, tmp_path: Path) -> None:
    """At any length: safetensors, and torch's own format through transformers and without them."""
    folder = build(name, tmp_path)
    file = weights_file(folder)
    data = file.read_bytes()
    chance = Random(3)
    ends = [0, 1, 8, 100, len(data) // 2, len(data) - 1, len(data) - 30]
    for end in ends + [chance.randrange(len(data)) for _ in range(lengths - len(ends))]:
        file.write_bytes(data[:end])
        with pytest.raises(ValueError) as error:
            pyserini_rerank.load(folder, device="cpu")
        assert f"the weights in {folder} cannot be read" in one_line(error), end
    file.write_bytes(data)
    pyserini_rerank.load(folder, device="cpu").close()


# An index deleted, or cut short, under an open searcher


SEARCHES = """
import json, os, shutil, sys
import pyserini_rerank
from pathlib import Path
from collection import HashBackend
from pyserini.search.lucene import LuceneSearcher
index = sys.argv[1]
PAGE = os.sysconf("SC_PAGE_SIZE")
searcher = LuceneSearcher(index)
searcher.set_reranker(pyserini_rerank.ModelReranker(HashBackend(), "hashing"), depth=5)
queries = ["make a temporary directory", "middle value of a list"]
def asked():
    hits = [searcher.search(query, 7) for query in queries]
    hits += searcher.batch_search(queries, ["1", "2"], 7).values()
    return [[(hit.docid, hit.score) for hit in some] for some in hits]
before = asked()
for path in Path(index).iterdir():
    os.truncate(path, path.stat().st_size // 3 // PAGE * PAGE)
for attempt in range(3):
    try:
        print("same" if asked() == before else "WRONG")
    except Exception as error:
        print(f"ERROR {type(error).__name__}: {error}")
"""


def test_an_index_that_is_deleted_under_an_open_searcher(
    documents: dict[str, str], queries: list[str], hashing: Reranker, tmp_path: Path
) -> None:
    """Its files are there for as long as they are open."""
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(build_lucene_index(tmp_path / "index", documents))
    searcher.set_reranker(hashing, depth=5)

    def asked() -> Any:
        found = searcher.batch_search(queries, list("abcdef"), 7)
        return [listed(searcher.search(query, 7)) for query in queries], {q: listed(hits) for q, hits in found.items()}

    before = asked()
    shutil.rmtree(tmp_path / "index")
    assert asked() == before
    searcher.close()


@pytest.mark.stress
def test_an_index_that_is_cut_short_under_an_open_searcher(documents: dict[str, str], tmp_path: Path) -> None:
    """In a process of its own, which has to live: Lucene maps its files into memory.

    It is cut at pages. Within a page the system gives zeros beyond the end, which Lucene takes for its own: that its
    hits are then wrong is nothing that can be seen from here.
    """
    index = build_lucene_index(tmp_path / "index", documents)
    done = subprocess.run(
        [sys.executable, "-c", SEARCHES, index], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    said = [line for line in done.stdout.splitlines() if line.startswith(("same", "WRONG", "ERROR"))]
    print(said)
    assert done.returncode == 0 and len(said) == 3, done.stdout[-1000:] + done.stderr[-1000:]
    assert all(line == "same" or line.startswith("ERROR RuntimeError: LuceneSearcher failed on ") for line in said)


def test_a_score_cache_that_goes_away(tmp_path: Path) -> None:
    """SQLite may go on in the files that it has open, or notice that they have no name: which, is its version's
    affair. Either is right, and no score is wrong."""
    folder = build(TINY, tmp_path)
    texts = [f"the flea and the cat {number}" for number in range(40)]
    with pyserini_rerank.load(folder, device="cpu") as plain:
        right = plain.score("flea", texts)
    with pyserini_rerank.load(folder, device="cpu", cache=tmp_path / "cache") as reranker:
        assert np.array_equal(reranker.score("flea", texts[:20]), plain_part(folder, texts[:20]))
        shutil.rmtree(tmp_path / "cache")
        for _ in range(2):
            try:
                assert np.array_equal(reranker.score("flea", texts), right)
            except OSError as error:
                assert f"the score cache {tmp_path / 'cache'} cannot be used" in str(error)


def plain_part(folder: Path, texts: list[str]) -> Any:
    with pyserini_rerank.load(folder, device="cpu") as plain:
        return plain.score("flea", texts)


# The disk


@pytest.fixture
def small_disk() -> Iterator[Any]:
    """A limit on the size of files: the system refuses to write, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_under_a_score_cache(tmp_path: Path, small_disk: Any) -> None:
    store = ScoreStore(tmp_path)
    keys = [number.to_bytes(16) for number in range(4000)]
    store.put(dict.fromkeys(keys[:10], 1.5))
    small_disk((tmp_path / f"{DATA}-wal").stat().st_size + 5000)
    with pytest.raises(OSError) as error:
        store.put(dict.fromkeys(keys[10:], 2.5))
    assert f"the score cache {tmp_path} cannot be used" in one_line(error) and "is the disk full?" in str(error.value)
    small_disk(resource.RLIM_INFINITY)
    found = store.get(keys)
    assert (found[:10] == 1.5).all() and np.isnan(found[10:]).all(), "all of a batch, or none"
    store.put(dict.fromkeys(keys, 3.5))
    store.verify()
    assert store.get(keys).tolist() == [1.5] * 10 + [3.5] * 3990


# Clocks


@pytest.mark.slow
@pytest.mark.parametrize("year", [-20, 60], ids=["long ago", "in the future"])
def test_files_of_another_time(year: int, tmp_path: Path, experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was interrupted goes on to the same bytes, whenever its files say that they were written."""
    assert run(monkeypatch, *arguments(experiment, "whole.run")) == 0
    finish = ResumableOutput.finish
    monkeypatch.setattr(ResumableOutput, "finish", lambda self, report: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(monkeypatch, *arguments(experiment, "other.run")) == 130
    monkeypatch.setattr(ResumableOutput, "finish", finish)
    partial = tmp_path / "other.run.partial"
    when = time.time() + year * 365 * 86_400
    for path in (partial, *partial.rglob("*")):
        os.utime(path, (when, when))
    assert run(monkeypatch, *arguments(experiment, "other.run")) == 0
    assert (tmp_path / "other.run").read_bytes() == (tmp_path / "whole.run").read_bytes()


@pytest.mark.slow
def test_a_clock_that_jumps(tmp_path: Path, experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By twenty years, forth and back, whenever it is read: the report says what it said, and nothing else depends
    on it."""
    assert run(monkeypatch, *arguments(experiment, "whole.run")) == 0
    now, years = time.time, cycle((20, -20))

    def jumping() -> float:
        return now() + next(years) * 365 * 86_400

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.fromtimestamp(jumping(), tz)

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", jumping)
        patch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
        patch.setattr(resumable_output, "datetime", Jumping)
        assert run(patch, *arguments(experiment, "jumped.run")) == 0
    assert (tmp_path / "jumped.run").read_bytes() == (tmp_path / "whole.run").read_bytes()
    finished = datetime.fromisoformat(json.loads((tmp_path / "jumped.run.json").read_text())["finished"])
    assert abs(finished.timestamp() - now()) > 19 * 365 * 86_400


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A run of forty queries, and what goes with it."""
    return write_experiment(tmp_path, queries=40, hits=50)


# One row of a batch


def test_a_nan_in_one_row_of_a_batch(tmp_path: Path) -> None:
    """The pair is named, nothing of it is cached, and everything else goes on."""
    folder = build(TINY, tmp_path)
    texts = [f"the flea and the cat {number}" for number in range(30)]
    bad = [*texts[:10], "a museum", *texts[10:]]
    with pyserini_rerank.load(folder, device="cpu") as plain:
        right = plain.score("berlin", texts)
        whole = plain.score("berlin", bad)
    with pyserini_rerank.load(folder, device="cpu", cache=tmp_path / "cache") as reranker:
        backend: Any = reranker.backend
        [place] = backend.backend.encoder.tokenizer.encode("museum", add_special_tokens=False).ids
        rows = backend.backend.family.model.bert.embeddings.word_embeddings.weight.data
        before = rows[place].clone()
        rows[place] = float("nan")
        with pytest.raises(FloatingPointError, match="scored nan for 1 pairs, first for .*'berlin' .*'a museum'"):
            reranker.score("berlin", bad)
        assert len(backend.store) == len(texts), "the others have their scores"
        assert reranker.score("berlin", texts) == pytest.approx(right, abs=1e-5)
        rows[place] = before
        known = backend.known_scores
        assert np.array_equal(reranker.score("berlin", bad), whole), "from the cache and the model, as from the model"
        assert backend.known_scores == known + len(texts)
    with pyserini_rerank.load(folder, device="cpu", cache=tmp_path / "cache") as again:
        assert np.array_equal(again.score("berlin", bad), whole)


def test_a_missing_text_leaves_the_searcher_usable(searcher: Any, hashing: Reranker, queries: list[str]) -> None:
    texts = {hit.docid: f"text of {hit.docid}" for query in queries for hit in searcher.search(query, 5)}
    lost = searcher.search(queries[3], 1)[0].docid
    whole = dict(texts)
    searcher.set_reranker(hashing, depth=5, texts=texts)
    right = {qid: listed(hits) for qid, hits in searcher.batch_search(queries, list("abcdef"), 5).items()}
    del texts[lost]
    with pytest.raises(MissingText, match=f"hit {lost} has no text"):
        searcher.batch_search(queries, list("abcdef"), 5)
    texts.update(whole)
    assert {qid: listed(hits) for qid, hits in searcher.batch_search(queries, list("abcdef"), 5).items()} == right


# The device's memory


def test_a_device_without_enough_memory_under_a_batch_of_searches(
    tmp_path: Path, searcher: Any, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same hits; and the same bits as soon as the batches are cut as they will be."""
    folder = build(TINY, tmp_path)

    def asked(reranker: Reranker) -> dict[str, list[tuple[str, float]]]:
        searcher.set_reranker(reranker, depth=20)
        return {qid: listed(hits) for qid, hits in searcher.batch_search(queries, list("abcdef"), 30).items()}

    with pyserini_rerank.load(folder, device="cpu", batch_tokens=8000) as reranker:
        right = asked(reranker)
    plain = TorchBackend._forward

    def forward(self: TorchBackend, pairs: Any) -> Any:
        if len(pairs) * pairs.lengths.max() > 1500:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(self, pairs)

    monkeypatch.setattr(TorchBackend, "_forward", forward)
    with pyserini_rerank.load(folder, device="cpu", batch_tokens=8000) as reranker:
        with pytest.warns(OutOfMemoryWarning, match="cpu had no memory for 8,000 tokens"):
            found = asked(reranker)
        with warnings.catch_warnings():
            warnings.simplefilter("error", OutOfMemoryWarning)
            assert asked(reranker) == found
    for qid, hits in right.items():
        assert [docid for docid, _ in found[qid]] == [docid for docid, _ in hits]
        assert [score for _, score in found[qid]] == pytest.approx([score for _, score in hits], abs=1e-5)
