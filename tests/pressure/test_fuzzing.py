"""The readers of files, documents and answers that somebody or something has damaged.

Whatever the damage, a reader gives a result that the damaged input really says, by a strict parser of this test's
own, or that is provably the undamaged one; or it refuses in one line that names the thing. It does not hang, and
neither Java nor the process dies.
"""

import faulthandler
import gzip
import io
import json
import math
import re
import shutil
import signal
import socket
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import orjson
import pyserini_rerank
import pytest
from collection import HashBackend
from pyserini_rerank.runs.official_candidates import OfficialCandidates
from pyserini_rerank.runs.run_file import read
from pyserini_rerank.runs.topics import load_qrels, load_topics
from pyserini_rerank.scoring.backend import BackendFault
from pyserini_rerank.scoring.backends import http_backend
from pyserini_rerank.scoring.score_store import DATA, ScoreStore
from pyserini_rerank.texts.collection import Collection
from pyserini_rerank.texts.source import MissingText
from tiny_checkpoints import build

SEED = 5
SECONDS = 20
"""How long a reader may take over one input."""
NAMED = (
    ValueError, BackendFault, OSError, FileNotFoundError, ConnectionError, TimeoutError, MissingText,
    FloatingPointError,
)  # fmt: skip
"""What a damaged input may raise: these and no other subclasses, such as UnicodeDecodeError, which name nothing."""
TINY = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
CAPREOLUS = "Capreolus/electra-base-msmarco"

# --------------------------------------------------------------------------------------------------------------- damage


def _flip(data: bytearray, chance: Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(data: bytearray, chance: Random) -> None:
    del data[chance.randrange(len(data)) :]


def _lose(data: bytearray, chance: Random) -> None:
    del data[_part(data, chance)]


def _repeat(data: bytearray, chance: Random) -> None:
    part = _part(data, chance)
    data[part.stop : part.stop] = data[part]


def _swap(data: bytearray, chance: Random) -> None:
    one, other = _part(data, chance), _part(data, chance)
    data[one], data[other] = data[other], data[one]


def _zero(data: bytearray, chance: Random) -> None:
    part = _part(data, chance)
    data[part] = bytes(part.stop - part.start)


def _insert(data: bytearray, chance: Random) -> None:
    place = chance.randrange(len(data) + 1)
    data[place:place] = chance.choice(
        (
            b"\0",
            b"\xff",
            b"\xc3",
            b"\xed\xa0\x80",
            b"\n",
            b"\r",
            b"\t",
            b'"',
            b"\\ud83d",
            b"<",
            b"</",
            chance.randbytes(8),
        )
    )


def _nest(data: bytearray, chance: Random) -> None:
    place = chance.randrange(len(data) + 1)
    data[place:place] = chance.choice((b"[", b'{"a":', b"<a ")) * 20_000


def _number(data: bytearray, chance: Random) -> None:
    numbers = list(re.finditer(rb"\d+", data))
    if numbers:
        start, stop = chance.choice(numbers).span()
        data[start:stop] = chance.choice(
            (b"-1", b"0", b"9" * 9, b"9" * 30, b"9" * 5000, b"1e999", b"NaN", b"1_0", b"null")
        )


def _part(data: bytearray, chance: Random) -> slice:
    start = chance.randrange(len(data))
    return slice(start, min(len(data), start + chance.choice((1, 2, 8, 64, 512))))


DAMAGES = (_flip, _flip, _cut, _lose, _repeat, _swap, _zero, _insert, _number, _nest)


def damaged(data: bytes, chance: Random) -> bytes:
    """Damage a copy of something in one to four ways."""
    copy = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if copy:
            chance.choice(DAMAGES)(copy, chance)
    return bytes(copy)


# -------------------------------------------------------------------------------------------------------------- readers


@dataclass
class Reader:
    """Something that reads, and what it may make of what it is given."""

    whole: dict[str, bytes]
    """Undamaged inputs by name."""
    read: Callable[[str, bytes], Any]
    may_be: Callable[[str, bytes, Any], bool]
    """May the result come of this input? Said without the code under test."""
    named: Callable[[str], str] = str
    """What an error has to name, for the input of that name."""


class Refused(Exception):
    """A strict parser does not take it."""


def files(
    folder: Path, whole: dict[str, bytes], read: Callable[[Path], Any], strict: Callable[[str, bytes], Any]
) -> Reader:
    """Make a reader of files, which gives what a strict parser gives or refuses what that refuses."""

    def from_file(name: str, data: bytes) -> Any:
        (folder / name).write_bytes(data)
        return read(folder / name)

    def may_be(name: str, data: bytes, result: Any) -> bool:
        try:
            return bool(result == strict(name, data))
        except Refused:
            return name.endswith("jsonl") and python_json(data.decode(errors="replace"))

    return Reader(whole, from_file, may_be)


def refuse(wrong: Any) -> None:
    if wrong:
        raise Refused


def plain(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except Exception:
        raise Refused from None


def is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def text_lines(data: bytes, errors: str = "strict") -> list[str]:
    """Take a file of lines apart; the last one may lack its end, and blank ones are none."""
    try:
        text = data.decode(errors=errors)
    except UnicodeDecodeError:
        raise Refused from None
    return [line.rstrip("\r") for line in text.split("\n") if line.strip(" \t\n\r\x0b\x0c")]


def columns_of(line: str) -> list[str]:
    """Split a line at ASCII white space, as trec_eval does."""
    return [column.decode() for column in line.encode().split()]


NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def finite(text: str) -> float:
    refuse(not NUMBER.fullmatch(text) or math.isinf(float(text)))
    return float(text)


# Runs


def runs(folder: Path, request: pytest.FixtureRequest) -> Reader:
    chance = Random(1)
    rows = [(f"q{query}", f"d{chance.randrange(10**6)}é", rank) for query in range(3) for rank in range(1, 8)]
    trec = "".join(f"{qid} Q0 {docid} {rank} {50.5 - rank} bm25\n" for qid, docid, rank in rows).encode()
    msmarco = "".join(f"{qid}\t{docid}\t{rank}\n" for qid, docid, rank in rows).encode()
    whole = {"trec": trec, "msmarco": msmarco, "trec.gz": gzip.compress(trec, mtime=0)}

    def strict(name: str, data: bytes) -> Any:
        found = text_lines(plain(data))
        refuse(not found)
        if len(columns_of(found[0])) == 6:
            columns = [columns_of(line) for line in found]
            refuse(any(len(some) != 6 for some in columns) or len({some[5] for some in columns}) != 1)
            hits = [(qid, docid, finite(score)) for qid, _, docid, _, score, _ in columns]
        else:
            columns = [line.split("\t") for line in found]
            refuse(any(len(some) != 3 or not all(some) for some in columns))
            hits = [(qid, docid, -finite(rank.strip())) for qid, docid, rank in columns]
        refuse(len({hit[:2] for hit in hits}) < len(hits))
        by_query = [(qid, [hit[1:] for hit in some]) for qid, some in groupby(hits, key=lambda hit: hit[0])]
        refuse(len(dict(by_query)) < len(by_query))
        refuse(
            any(above < below for _, some in by_query for (_, above), (_, below) in zip(some, some[1:], strict=False))
        )
        return by_query

    def ours(path: Path) -> Any:
        return [(qid, [(hit.docid, hit.score) for hit in hits]) for qid, hits in read(path)]

    return files(folder, whole, ours, strict)


def official(folder: Path, request: pytest.FixtureRequest) -> Reader:
    tsv = "".join(f"q{n % 3}\td{n}\twhat is {n % 3}?\tpassage ü {n}\n" for n in range(12)).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("top1000.tsv")
        member.size = len(tsv)
        tar.addfile(member, io.BytesIO(tsv))
    whole = {"top.tsv": tsv, "top.tsv.gz": gzip.compress(tsv, mtime=0), "top.tar.gz": archive.getvalue()}

    def strict(name: str, data: bytes) -> Any:
        content = plain(data)
        if content is not data:
            try:
                with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
                    content = tar.extractfile(next(member for member in tar if member.isfile())).read()  # type: ignore[union-attr]
            except tarfile.TarError:
                pass  # lines that are gzipped, and no archive
            except StopIteration:
                raise Refused from None
        rows = [line.split("\t") for line in text_lines(content)]
        refuse(not rows or any(len(row) != 4 or not all(part.strip() for part in row[:3]) for row in rows))
        refuse(len({(qid, docid) for qid, docid, _, _ in rows}) < len(rows))
        queries: dict[str, str] = {}
        hits: dict[str, list[Any]] = {}
        for qid, docid, query, passage in rows:
            queries.setdefault(qid, query)
            hits.setdefault(qid, []).append((docid, passage))
        return queries, {qid: sorted(of_query) for qid, of_query in hits.items()}

    def ours(path: Path) -> Any:
        candidates = OfficialCandidates(path, folder)
        return candidates.queries, {qid: [(hit.docid, hit.text) for hit in hits] for qid, hits in candidates}

    return files(folder, whole, ours, strict)


# Topics, judgements, collections


def an_object(line: str | bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Refused from None
    refuse(not isinstance(values, dict))
    return values  # type: ignore[no-any-return]


def topics(folder: Path, request: pytest.FixtureRequest) -> Reader:
    queries = {"1": "what is a flea?", "2": "zwölf Boxkämpfer", "q3": "third"}
    whole = {
        "topics.tsv": "".join(f"{qid}\t{query}\n" for qid, query in queries.items()).encode(),
        "topics.jsonl": "".join(json.dumps({"qid": q, "query": t}) + "\n" for q, t in queries.items()).encode(),
        "topics.tsv.gz": gzip.compress("".join(f"{q}\t{t}\n" for q, t in queries.items()).encode(), mtime=0),
    }

    def strict(name: str, data: bytes) -> Any:
        found = text_lines(plain(data))
        refuse(not found or data.lstrip().startswith(b"<"))  # TREC's own, of which there is none here
        if ".json" in name:
            objects = [an_object(line) for line in found]
            pairs = [(first(values, "qid", "_id", "id"), first(values, "query", "text", "title")) for values in objects]
            refuse(any(not isinstance(qid, str | int) or not isinstance(query, str) for qid, query in pairs))
        else:
            refuse(any("\t" not in line for line in found))
            pairs = [(line.split("\t", 1)[0].strip(), line.split("\t", 1)[1].strip()) for line in found]
        read = {str(qid): query for qid, query in pairs}
        refuse(len(read) < len(pairs))
        return read

    return files(folder, whole, lambda path: load_topics(str(path)), strict)


def first(values: dict[str, Any], *names: str) -> Any:
    refuse(not any(name in values for name in names))
    return next(values[name] for name in names if name in values)


def qrels(folder: Path, request: pytest.FixtureRequest) -> Reader:
    whole = {"qrels.txt": "".join(f"q{n // 4} 0 d{n}ü {n % 3}\n" for n in range(12)).encode()}

    def strict(name: str, data: bytes) -> Any:
        read: dict[str, dict[str, int]] = {}
        for line in text_lines(data):
            columns = columns_of(line)
            refuse(len(columns) != 4 or not re.fullmatch(r"[+-]?\d{1,9}", columns[3], re.ASCII))
            refuse(read.setdefault(columns[0], {}).setdefault(columns[2], int(columns[3])) != int(columns[3]))
        refuse(not read)
        return read

    return files(folder, whole, lambda path: load_qrels(str(path)), strict)


def collections(folder: Path, request: pytest.FixtureRequest) -> Reader:
    texts = {f"d{n}": f"text {n} on cafés" for n in range(8)}
    whole = {
        "docs.tsv": "".join(f"{docid}\t{text}\n" for docid, text in texts.items()).encode(),
        "docs.jsonl": "".join(json.dumps({"id": docid, "contents": t}) + "\n" for docid, t in texts.items()).encode(),
    }

    def strict(name: str, data: bytes) -> Any:
        if name.endswith("jsonl"):
            objects = [an_object(line) for line in text_lines(data)]
            pairs = [
                (str(first(values, "id", "_id", "pid", "docid")), text_of(json.dumps(values))) for values in objects
            ]
        else:
            # Of each line the docid is read, and the text where it is asked for: not that of a docid's second line.
            rows = text_lines(data.decode(errors="surrogateescape").encode(errors="surrogatepass"), "surrogatepass")
            refuse(any("\t" not in line for line in rows))
            pairs = [(line.split("\t", 1)[0], line.split("\t", 1)[1].strip()) for line in rows]
            refuse(any(not is_text(docid) for docid, _ in pairs))
        # Of a docid that comes twice the first counts, whichever asks.
        read = dict(reversed(pairs))
        refuse(any(text is not None and not is_text(text) for text in read.values()))
        return read

    def ours(path: Path) -> Any:
        collection = Collection(path)
        rows = [row for row in path.read_bytes().split(b"\n") if row.strip()]
        if rows and rows[0].lstrip().startswith(b"{"):
            names = ("id", "_id", "pid", "docid")
            objects = [json.loads(row) for row in rows]
            docids = [next(str(one[name]) for name in names if one.get(name) is not None) for one in objects]
        else:
            docids = [row.partition(b"\t")[0].decode() for row in rows]
        return {docid: collection.get(docid) for docid in docids}

    return files(folder, whole, ours, strict)


# Stored documents, through Java


def text_of(raw: str) -> str | None:
    """Give the text of a stored document that is no markup."""
    start = raw.lstrip()
    if start.startswith("{") and (start[1:].lstrip().startswith('"') or start[1:].strip() == "}"):
        values = an_object(raw)
        for name in ("contents", "text", "passage", "segment", "body"):
            text = string(values.get(name))
            if text is not None:
                title = None if name == "contents" else string(values.get("title"))
                return f"{title or ''} {text}".strip()
        return None
    return raw.strip()


def python_json(text: str) -> bool:
    """Has a text what Python writes into JSON and reads again, though a strict parser does not take it?"""
    return bool(re.search(r"NaN|Infinity|e999|\d{300}|\\ud[89a-f]", text, re.IGNORECASE))


def string(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " ".join(value)
    refuse(value is not None and not isinstance(value, str))
    return value  # type: ignore[no-any-return]


def stored(folder: Path, request: pytest.FixtureRequest) -> Reader:
    """Documents as an index stores them, in real Lucene documents of real hits."""
    from pyserini.pyclass import autoclass

    field, document = (
        autoclass("org.apache.lucene.document.StoredField"),
        autoclass("org.apache.lucene.document.Document"),
    )
    scored = autoclass("io.anserini.search.ScoredDoc")
    backend = HashBackend()
    reranker = pyserini_rerank.ModelReranker(backend, "hashing")
    title, body = "Über Flöhe 😺", 'The flea\'s life has four stages:\n egg, larva, pupa \\ "adult".'
    whole = {
        "contents": json.dumps({"id": "d1", "contents": f"{title}\n{body}", "vector": [0.5, 12]}).encode(),
        "title and text": json.dumps({"_id": "d1", "title": title, "text": body}, ensure_ascii=False).encode(),
        "sgml": f"<DOC>\n<DOCNO> d1 </DOCNO>\n<TEXT>\n{body} &amp; more &#252; <p>\n</TEXT>\n</DOC>\n".encode(),
        "html": f"<!DOCTYPE html><script>var a = 1 < 2;</script><b title='x>y'>{title}</b><!-- no -->{body}".encode(),
        "plain": f"  {title}. {body}  ".encode(),
    }  # fmt: skip

    def rerank(name: str, data: bytes) -> str:
        backend.planned.clear()
        java = document()
        java.add(field("raw", data.decode(errors="replace")))
        [hit] = reranker.rerank("what is a flea?", [scored("d1", 0, 1.0, java)])
        assert hit.docid == "d1"
        return backend.pairs[0][1] if backend.pairs else ""

    def may_be(name: str, data: bytes, text: str) -> bool:
        raw = data.decode(errors="replace")
        if re.match(r"\s*<[A-Za-z!?/]", raw):
            # Nothing is made up: what is left without the tags is there, in its order.
            rest = iter(unescape(re.sub(r"&#\d{4301,}", "", raw)))  # more than Python makes a number of
            return all(letter in rest for letter in text if not letter.isspace())
        try:
            return text_of(raw) == text
        except Refused:
            return python_json(raw)

    return Reader(whole, rerank, may_be, lambda name: "d1")


# What was written by this package itself: score caches


def cache(folder: Path, request: pytest.FixtureRequest) -> Reader:
    chance = Random(2)
    keys = [chance.randbytes(16) for _ in range(900)]
    store = ScoreStore(folder / "scores")
    for start in range(0, 900, 100):
        store.put({key: number / 8 for number, key in enumerate(keys[start : start + 100], start)})
    store.close()
    whole = {DATA: (folder / "scores" / DATA).read_bytes()}
    known = np.arange(900, dtype=np.float32) / 8

    def read(name: str, data: bytes) -> Any:
        shutil.rmtree(folder / "scores")
        (folder / "scores").mkdir()
        (folder / "scores" / name).write_bytes(data)
        store = ScoreStore(folder / "scores")
        try:
            before = store.get(keys)
            store.put({b"a new one, of 16": 0.5})
            return before, store.get([*keys, b"a new one, of 16"])
        finally:
            store.close()

    def may_be(name: str, data: bytes, got: Any) -> bool:
        before, after = got
        right = [np.array_equal(some[~np.isnan(some)], known[~np.isnan(some)]) for some in (before, after[:-1])]
        return all(right) and after[-1] == 0.5

    return Reader(whole, read, may_be, lambda name: str(folder / "scores"))


# Checkpoints' configurations and vocabularies


#: Of a configuration, what has to be in the model that was made of it.
SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "hidden_act")


def checkpoints(folder: Path, request: pytest.FixtureRequest) -> Reader:
    made = {name: build(name, folder) for name in (TINY, CAPREOLUS)}
    whole = {
        f"{name}/{file}": (path / file).read_bytes()
        for name, path in made.items()
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json")
        if (path / file).exists()
    }

    def read(name: str, data: bytes) -> Any:
        (folder / name).write_bytes(data)
        try:
            with pyserini_rerank.load((folder / name).parent, device="cpu") as reranker:
                scores = reranker.score("how long does a flea live", ["the flea", "a cat"])
                model = reranker.backend.family.model
                return scores, model
        finally:
            (folder / name).write_bytes(whole[name])

    def may_be(name: str, data: bytes, got: Any) -> bool:
        scores, model = got
        try:
            values = an_object(data)
        except Refused:
            return python_json(data.decode(errors="replace"))
        config = getattr(model, "body", model).config
        sizes = {size: values[size] for size in SIZES if size in values and name.endswith("/config.json")}
        return {size: getattr(config, size) for size in sizes} == sizes and bool(np.isfinite(scores).all())

    return Reader(whole, read, may_be, lambda name: str((folder / name).parent))


# A server's answers


def answers(folder: Path, request: pytest.FixtureRequest) -> Reader:
    body = json.dumps([{"index": i, "score": score} for i, score in ((2, 4.5), (0, -1.25), (1, -3.0))]).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    answer: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(answer[0])

    threading.Thread(target=serve, daemon=True).start()
    request.addfinalizer(server.close)
    request.addfinalizer(lambda: server.shutdown(socket.SHUT_RDWR))
    url = f"http://127.0.0.1:{server.getsockname()[1]}"
    reranker = pyserini_rerank.load(url, backend="http", api="tei", timeout=5, retries=0)
    request.addfinalizer(reranker.close)

    def read(name: str, data: bytes) -> list[float]:
        answer[:] = [head % len(data) + data if name == "body" else data]
        return reranker.score("flea", ["one", "two", "three"]).tolist()  # type: ignore[no-any-return]

    def may_be(name: str, data: bytes, scores: list[float]) -> bool:
        if name == "body":
            return scores == strict(data)
        top, *bodies = re.split(rb"\n\r?\n", data, maxsplit=1)
        rest = b"".join(bodies)
        length = re.search(rb"(?i)content-length:\s*(\d+)", top)
        return scores in (strict(rest), strict(rest[: int(length[1][:9])] if length else b""))

    def strict(data: bytes) -> Any:
        try:
            results = orjson.loads(data)
            by_index = {result["index"]: result["score"] for result in results}
            assert len(results) == 3 and set(by_index) == {0, 1, 2}
            assert all(type(score) in (int, float) for score in by_index.values())
            return np.array([by_index[i] for i in range(3)], dtype=np.float32).tolist()
        except (orjson.JSONDecodeError, AssertionError, KeyError, TypeError):
            return None

    return Reader({"body": body, "answer": head % len(body) + body}, read, may_be, lambda name: url)


#: How many inputs each gets of every 1,000.
READERS: dict[Callable[[Path, pytest.FixtureRequest], Reader], int] = {
    runs: 200, official: 80, topics: 100, qrels: 60, collections: 160, stored: 270, cache: 50, answers: 70,
    checkpoints: 10,
}  # fmt: skip


class Hung(BaseException):
    pass


@pytest.fixture
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with (tmp_path_factory.mktemp("hung") / "log").open("w") as file:
        yield file


@contextmanager
def limit(seconds: float, log: Any) -> Iterator[None]:
    """Raise `Hung` after so long. Native code does not hear of that: after twice as long the process ends.

    Where it hung is then in the log, and not on stderr: what pytest captures is lost with the process.
    """

    def ring(*_: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(2 * seconds, exit=True, file=log)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("thousands", [2, pytest.param(100, marks=pytest.mark.stress)])
@pytest.mark.parametrize("make", READERS, ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore")
def test_damaged_input(
    make: Any, thousands: int, tmp_path: Path, log: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_backend, "BACKOFF", 0)
    reader = make(tmp_path, request)
    for name, data in reader.whole.items():
        assert reader.may_be(name, data, reader.read(name, data)), "undamaged"
    outcomes: Counter[str] = Counter()
    for number in range(thousands * READERS[make]):
        chance = Random(f"{SEED} {make.__name__} {number}")
        name = chance.choice(list(reader.whole))
        data = damaged(reader.whole[name], chance)
        what = f"{number}, {name}: {data[:300]!r}"
        try:
            with limit(SECONDS, log):
                result = reader.read(name, data)
        except Hung:
            pytest.fail(f"hung: {what}")
        except Exception as error:
            message = str(error)
            assert type(error) in NAMED, f"{type(error).__name__}: {message[:300]} of {what}"
            assert len(message.splitlines()) == 1 and len(message) < 1000, f"{message!r:.1500} of {what}"
            assert reader.named(name) in message, f"{message} of {what}"
            outcomes["refused"] += 1
        else:
            assert reader.may_be(name, data, result), f"{result!r:.300} of {what}"
            outcomes["read"] += 1
    print(f"{make.__name__}: {dict(outcomes)}")
    assert outcomes["refused"] and outcomes["read"]
