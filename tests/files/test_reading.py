"""Every reader on every way to pack its file: as it is read plain, or an error of one line that names it."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyserini_rerank.benchmarks.workload import read_pairs
from pyserini_rerank.combining.maker import read_combination
from pyserini_rerank.experiments.conditions import load_conditions
from pyserini_rerank.files.cache import cache_folder
from pyserini_rerank.files.reading import at_rest, open_lines
from pyserini_rerank.runs.official_candidates import OfficialCandidates, is_official
from pyserini_rerank.runs.run_file import Skipped, read
from pyserini_rerank.runs.topics import load_qrels, load_topics
from pyserini_rerank.texts.collection import Collection

BOM = b"\xef\xbb\xbf"


def _run(path: Path) -> Any:
    with at_rest(path) as file:
        assert not is_official(file)
        return list(read(file))


def _official(path: Path) -> Any:
    with at_rest(path) as file:
        assert is_official(file)
        candidates = OfficialCandidates(file, path.parent)
        return candidates.queries, [(qid, [(hit.docid, hit.text) for hit in hits]) for qid, hits in candidates]


def _collection(path: Path) -> Any:
    """List the documents whose docids a simple parse finds, and which the collection has."""
    collection = Collection(path)
    lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    if lines[0].lstrip().startswith("{"):
        names = ("id", "_id", "pid", "docid")
        docids = [next(str(row[name]) for name in names if row.get(name) is not None) for row in map(json.loads, lines)]
    else:
        docids = [line.split("\t")[0] for line in lines]
    documents = [(docid, collection.get(docid)) for docid in docids]
    return [(docid, text) for docid, text in documents if text is not None]


#: Each with what it reads, and how.
READERS: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "trec": ("1 Q0 dä 1 2.5 x\n1 Q0 b 2 2 x\n2 Q0 a 1 1 x\n".encode(), _run),
    "msmarco": (b"1\ta\t1\n1\tb\t2\n2\ta\t1\n", _run),
    "colbert": (b"1\t7\t1\t23.5\n1\t8\t2\t-4e-1\n2\t7\t1\t9\n", _run),
    "official": (b"7\td2\thow long?\tA flea's life.\n3\td1\twhat\tText.\n7\td1\thow long?\t\n", _official),
    "topics.tsv": ("1\twhat is a flea?\n2\tzwölf\n".encode(), lambda path: load_topics(str(path))),
    "topics.jsonl": (b'{"qid": 1, "query": "flea"}\n{"_id": "b", "text": "x"}\n', lambda path: load_topics(str(path))),
    "qrels": (b"1 0 a 3\n1 0 b 0\n2 0 a -1\n", lambda path: load_qrels(str(path))),
    "docs.tsv": ("a\tfirst text\nb\tséconde\n".encode(), _collection),
    "docs.jsonl": (b'{"_id": "a", "title": "T", "text": "x"}\n{"id": "b", "contents": ""}\n', _collection),
    "pairs.tsv": (b"a query\ta passage\na query\tother\n", read_pairs),
    "pairs.jsonl": (b'{"query": "q", "passage": "p"}\n{"query": "q", "passage": "r"}\n', read_pairs),
    "conditions.yaml": (
        b"docs:\n  collection: d\n  test_sets: {}\n  first_stages: {}\n",
        lambda path: [(some.collection, some.test_sets) for some in load_conditions(path)],
    ),
    "reranker.yaml": (b"cascade:\n- [a, 3]\n", read_combination),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "byte order mark": lambda data: BOM + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "blank last line": lambda data: data + b"\n",
    "many blank lines": lambda data: b"\n \n" + data.replace(b"\n", b"\n\n", 1) + b"\n\r\n",
    "no last end": lambda data: data.rstrip(b"\n"),
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "two members": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    "all of it": lambda data: bz2.compress(BOM + data.replace(b"\n", b"\r\n") + b"\r\n"),
}
COMPRESSED = ("gzip", "bzip2", "xz", "two members", "all of it")


@contextmanager
def piped(path: Path, data: bytes) -> Iterator[Path]:
    """Make a pipe of that name, into which somebody writes, a little at first."""
    os.mkfifo(path)

    def write() -> None:
        try:
            with path.open("wb", buffering=0) as file:
                for part in (data[:1], data[1:4], data[4:]):
                    file.write(part)
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    yield path
    nobody = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # where it was not opened, the writer still waits for that
    writer.join()
    os.close(nobody)


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, bytes, Callable[[Path], Any], Any]:
    data, read = READERS[request.param]
    (tmp_path / "plain").mkdir()
    file = tmp_path / "plain" / request.param
    file.write_bytes(data)
    return request.param, data, read, read(file)


@pytest.mark.parametrize("way", PACKED)
@pytest.mark.parametrize("named", [False, True], ids=["", "whatever its name"])
def test_however_it_is_packed(reader: Any, way: str, named: bool, tmp_path: Path) -> None:
    name, data, read, expected = reader
    file = tmp_path / (f"data.{name.rpartition('.')[2]}" if "yaml" in name or not named else "data.bin")
    file.write_bytes(PACKED[way](data))
    if name.startswith("docs") and way in COMPRESSED:
        with pytest.raises(ValueError) as error:
            read(file)
        assert str(error.value) == f"{file} is compressed, and a collection is read from the middle: unpack it."
    else:
        assert read(file) == expected


@pytest.mark.parametrize("way", ["as it is", "byte order mark", "gzip", "all of it"])
def test_from_a_pipe(reader: Any, way: str, tmp_path: Path) -> None:
    name, data, read, expected = reader
    with piped(tmp_path / name, data if way == "as it is" else PACKED[way](data)) as pipe:
        if name.startswith("docs"):
            with pytest.raises(ValueError, match="is a pipe or a device, and a collection is .*: write it to a file"):
                read(pipe)
        else:
            assert read(pipe) == expected


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x28\xb5\x2f\xfd rest", "is compressed by zstd"),
        (b"PK\x03\x04 rest", "is a ZIP archive"),
        (b"\x04\x22\x4d\x18 rest", "is compressed by lz4"),
        (b"PAR1 rest", "is a Parquet file"),
        ("1 Q0 a 1 2 x\n".encode("utf-16"), "is in UTF-16"),
        ("1 Q0 a 1 2 x\n".encode("utf-16-be"), "is in UTF-16"),
        ("1 Q0 a 1 2 x\n".encode("utf-32"), "is in UTF-16"),
        (gzip.compress("1\ta\n".encode("utf-16-le"), mtime=0), "is in UTF-16"),
        (gzip.compress(bz2.compress(b"1\ta\n"), mtime=0), "is compressed twice"),
        (gzip.compress(b"1\ta\n" * 99, mtime=0)[:-9], "is damaged"),
        (bz2.compress(b"1\ta\n" * 99)[:-9], "is damaged"),
        (bz2.compress(b"1\ta\n" * 99)[:20] + b"xxxxxxxx", "is damaged"),
        (lzma.compress(b"1\ta\n" * 99)[:-9], "is damaged"),
    ],
)
def test_what_is_no_text_is_refused_by_name(reader: Any, data: bytes, said: str, tmp_path: Path) -> None:
    name, _, read, _ = reader
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(ValueError) as error:
        read(file)
    message = str(error.value)
    assert str(file) in message and len(message.splitlines()) == 1
    # A collection that is compressed is no concern of its damage.
    assert said in message or (name.startswith("docs") and "is compressed" in message)


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_an_archive(mode: str, tmp_path: Path) -> None:
    """MS MARCO's candidates are in one; elsewhere it is refused."""
    data, read = READERS["official"]
    (tmp_path / "plain").write_bytes(data)
    with tarfile.open(tmp_path / "archive", mode) as archive:
        member = tarfile.TarInfo("top1000")
        member.size = len(BOM + data)
        archive.addfile(member, io.BytesIO(BOM + data))
    assert read(tmp_path / "archive") == read(tmp_path / "plain")
    with pytest.raises(ValueError, match="archive is an archive, which is not read here"):
        load_qrels(str(tmp_path / "archive"))


def test_a_device_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="/dev/zero is a device: name a file"), at_rest(Path("/dev/zero")):
        pass
    with pytest.raises(ValueError, match="/dev/zero is in UTF-16 or no text"):
        load_topics("/dev/zero")


def test_a_text_may_begin_like_what_is_compressed(tmp_path: Path) -> None:
    file = tmp_path / "topics"
    file.write_text("BZh9\twhat is it?\nPKX\ta query\n")
    assert load_topics(str(file)) == {"BZh9": "what is it?", "PKX": "a query"}


def test_a_large_file_through_a_pipe_loses_nothing(tmp_path: Path) -> None:
    lines = [b"%d\tquery %d\n" % (number, number) for number in range(100_000)]
    with piped(tmp_path / "pipe", gzip.compress(b"".join(lines), 1)) as pipe, open_lines(pipe) as found:
        assert list(found) == lines


# -------------------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"1\t77\t1\t23.5\n", "run"),
        (b"1\t77\t1\t-3\n", "run"),
        (b"1\t77\t1\t1e-05\n", "run"),
        (b"1\t77\twhat is 1\t23.5\n", "official"),
        (b"1\t77\t1984\tA novel.\n", "official"),
        (b"1\t0\t77\t1\n", None),
        (b"1\tQ0\td77\t1\n", None),
        (b"1 0 77 1\n", None),
        (b"1\t77\n", None),
        (b"a,b,c,d\n", None),
        (b"1\t77\t1\t2\t3\n", None),
    ],
)
def test_what_four_columns_hold(line: bytes, kind: str | None, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(line)
    assert is_official(file) == (kind == "official")
    if kind == "run":
        assert [(qid, [(hit.docid, hit.score) for hit in hits]) for qid, hits in read(file)] == [
            ("1", [("77", float(line.split(b"\t")[3]))])
        ]
    else:
        with pytest.raises(ValueError, match="line 1: is neither TREC's"):
            list(read(file))


def test_one_line_of_numbers_does_not_make_texts_a_run(tmp_path: Path) -> None:
    file = tmp_path / "top"
    file.write_bytes(b"1\td1\t1984\t42\n1\td2\t1984\tA novel.\n")
    assert is_official(file)


@pytest.mark.parametrize("heading", ["", "qid\tpid\trank\tscore\n", "query_id\tdoc\tposition\tvalue\n"], ids=repr)
@pytest.mark.parametrize(
    "columns",
    ["1.0\t23.5", "23.5\t1", "1\t5.", "1\tnan", "1\t-inf", " 1\t 2", "1\t", "\t2", "+1\t1E5"],
)
def test_numbers_are_never_a_query_and_a_passage(heading: str, columns: str, tmp_path: Path) -> None:
    """Ranks of pandas, columns in another order, a tab at the end, a heading: a run, or refused."""
    file = tmp_path / "file"
    file.write_text(heading + f"1\t77\t{columns}\n2\t78\t{columns}\n")
    assert not is_official(file)
    if not heading and columns in ("1\t5.", " 1\t 2", "+1\t1E5"):
        assert [[hit.score for hit in hits] for _, hits in read(file)] == [[float(columns.split("\t")[1])]] * 2
    else:
        with pytest.raises(ValueError, match=r"line \d: (is neither TREC's|has the score .*, which is no number)"):
            list(read(file))


def test_a_bad_first_line_does_not_hide_what_the_others_hold(tmp_path: Path) -> None:
    """Judgements with grades in decimals are no run, either."""
    rest = {"official": "1\td1\twhat\ta text\n" * 2, "trec": "1 Q0 a 1 2 x\n"}
    for name, lines in rest.items():
        (tmp_path / name).write_text("half\ta\tbad\tline\n" * (name == "trec") + "a\tb\n" + lines)
        assert is_official(tmp_path / name) == (name == "official")
    assert [qid for qid, _ in read(tmp_path / "trec", Skipped())] == ["1"]
    (tmp_path / "qrels").write_text("1\t0\t77\t1.0\n1\t0\t78\t0.0\n")
    with pytest.raises(ValueError, match="is neither TREC's"):
        list(read(tmp_path / "qrels"))


def test_what_is_wrong_in_a_pipe_names_the_pipe(tmp_path: Path) -> None:
    with (
        piped(tmp_path / "pipe", b"1 Q0 a 1 2 x\n1 Q0 b\n") as pipe,
        pytest.raises(ValueError) as error,
        at_rest(pipe) as file,
    ):
        list(read(file))
    assert str(error.value).startswith(f"{tmp_path / 'pipe'}, line 2: ")


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u2028", "\u0085", "\u200b", "\x1c"])
def test_white_space_that_is_not_asciis_is_part_of_a_docid(space: str, tmp_path: Path) -> None:
    """As for trec_eval; and in judgements as well."""
    docid = f"a{space}b{space}"
    (tmp_path / "run").write_text(f"1 Q0 {docid} 1 2.5 x\n", encoding="utf-8")
    (tmp_path / "msmarco").write_text(f"1\t{docid}\t1\n", encoding="utf-8")
    (tmp_path / "qrels").write_text(f"1 0 {docid} 1\n", encoding="utf-8")
    (tmp_path / "docs").write_text(f"{docid}\ttext\n", encoding="utf-8")
    for name in ("run", "msmarco"):
        [(_, [hit])] = read(tmp_path / name)
        assert hit.docid == docid
    assert load_qrels(str(tmp_path / "qrels")) == {"1": {docid: 1}}
    assert Collection(tmp_path / "docs").get(docid) == "text"


@pytest.mark.parametrize("line", [b"1\ta b\t1\n", b"1 2\ta\t1\n", b"1\ta\x0bb\t1\n", b"1\ta \t1\t2\n"])
def test_a_docid_that_no_run_can_hold_is_noticed_when_it_is_read(line: bytes, tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_bytes(b"1\tx\t1%b\n" % (b"\t9" if line.count(b"\t") == 3 else b"") + line)
    with pytest.raises(ValueError, match="line 2: has the (docid|qid) .*a TREC run's has no white space"):
        list(read(file))
    skipped = Skipped()
    assert [[hit.docid for hit in hits] for _, hits in read(file, skipped)] == [["x"]]
    assert skipped.reasons == {"correct the line": 1}
    top = tmp_path / "top"
    top.write_bytes(b"1\ta b\tquery\ttext\n")
    with pytest.raises(ValueError, match="line 1: has the docid 'a b'"):
        OfficialCandidates(top, tmp_path)


# ---------------------------------------------------------------------------------------------------------- collections


def test_dprs_passages(tmp_path: Path) -> None:
    """A heading, a title, and the quotes of CSV."""
    file = tmp_path / "psgs_w100.tsv"
    file.write_text(
        'id\ttext\ttitle\n1\t"Aaron ( or ; ""Ahärôn"") is a prophet."\tAaron\n2\tNo quotes.\t"The ""A"""\n',
        encoding="utf-8",
    )
    assert _collection(file) == [("1", 'Aaron Aaron ( or ; "Ahärôn") is a prophet.'), ("2", 'The "A" No quotes.')]


@pytest.mark.parametrize("heading", ["id\ttext", "docid\tcontents", "_id\tpassage", '"id"\t"text"'])
def test_a_heading_is_no_document(heading: str, tmp_path: Path) -> None:
    (tmp_path / "docs.tsv").write_text(f"{heading}\n1\tone\n")
    assert _collection(tmp_path / "docs.tsv") == [("1", "one")]


def test_quotes_that_are_not_csvs_are_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "docs.tsv").write_text('1\t"Whole."\n2\the said "so"\n3\t"half\n')
    assert _collection(tmp_path / "docs.tsv") == [("1", '"Whole."'), ("2", 'he said "so"'), ("3", '"half')]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("d1\thttp://x\ttitle\tbody\n", "it has 4 columns and not 2, and there is no heading"),
        ("d1\ttext\nd2\ta\tb\n", "it has 3 columns and not 2"),
        ("id\ttext\ttitle\nd1\ttext\n", "line 2: it has 2 columns and not 3"),
        ('d1\t"a ""b"""\n' * 1000 + 'd2\t"goes on\nhere"\n', "line 1001: its quotes are not CSV's"),
        ("no tab\n", "it has no docid (there is no tab)"),
    ],
)
def test_columns_that_nobody_names_are_not_merged(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "docs.tsv").write_text(text)
    with pytest.raises(ValueError) as error:
        file = Collection(tmp_path / "docs.tsv")
        file.get("d2")
    assert said in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("document", "docid"),
    [
        ('{"pid": "passage_0", "passage": "x", "docid": "doc_0"}', "passage_0"),
        ('{"docid": "doc_0", "passage": "x", "pid": "passage_0"}', "passage_0"),
        ('{"docid": "doc_0#1", "title": "", "segment": "x"}', "doc_0#1"),
        ('{"id": "a", "docid": "b", "contents": "x"}', "a"),
        (' {"_id": 7, "text": "x"}', "7"),
    ],
)
def test_the_docid_of_a_json_document(document: str, docid: str, tmp_path: Path) -> None:
    (tmp_path / "docs").write_bytes(BOM + document.encode())
    assert _collection(tmp_path / "docs") == [(docid, "x")]


@pytest.mark.parametrize("docid", ["null", "1.0", "1e3", "NaN", "true", "[1]", '{"$oid": "a"}', '""'])
def test_what_nobody_else_writes_so_is_no_docid_and_no_qid(docid: str, tmp_path: Path) -> None:
    """The first of the names whose value is not null counts."""
    (tmp_path / "docs").write_text(f'{{"id": {docid}, "text": "x"}}\n')
    with pytest.raises(ValueError, match="docs, line .*docid.*: correct the line"):
        _collection(tmp_path / "docs")
    (tmp_path / "topics").write_text(f'{{"qid": {docid}, "query": "x"}}\n')
    with pytest.raises(ValueError, match="topics, line 1: is no topic"):
        load_topics(str(tmp_path / "topics"))
    (tmp_path / "topics").write_text('{"qid": null, "id": 3, "query": null, "text": "x"}\n')
    assert load_topics(str(tmp_path / "topics")) == {"3": "x"}
    (tmp_path / "docs").write_text('{"id": null, "pid": 3, "text": "x"}\n')
    assert _collection(tmp_path / "docs") == [("3", "x")]


@pytest.mark.parametrize(
    "topic", ['{"qid": 1, "query": 5}', '{"qid": 1, "query": ["a"]}', '{"qid": 1, "query": "\\ud83d"}', "\ta"]
)
def test_what_is_no_query(topic: str, tmp_path: Path) -> None:
    (tmp_path / "topics").write_text(topic)
    with pytest.raises(ValueError, match="topics, line 1: is no topic"):
        load_topics(str(tmp_path / "topics"))


def test_a_text_that_is_none_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "docs").write_text('{"id": "a", "text": 5}\n')
    with pytest.raises(ValueError, match="docs, docid a: its field 'text' is a int, .*: correct the line."):
        Collection(tmp_path / "docs").get("a")
    (tmp_path / "docs").write_text("\tno docid\n")
    with pytest.raises(ValueError, match="docs, line 1: it has no docid"):
        Collection(tmp_path / "docs")


# ------------------------------------------------------------------------------------------------------------ the cache


@pytest.mark.parametrize("named", ["", "relative/cache", ".", None])
def test_the_cache_is_at_home_unless_an_absolute_path_is_named(
    named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert cache_folder() == tmp_path / ".cache" / "pyserini-rerank"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere" / "pyserini-rerank"
