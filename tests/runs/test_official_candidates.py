"""MS MARCO's top-1000 files, as they are given out: plain, gzipped and in an archive."""

import gzip
import io
import math
import tarfile

import pytest
from pyserini_rerank.runs.official_candidates import OfficialCandidates, is_official
from pyserini_rerank.runs.run_file import RunHit, Skipped

# In no order, and a query's lines apart, as in top1000.dev.tsv; one passage is empty.
LINES = [
    "7\td2\thow long does a flea live?\tA flea's life.",
    "3\td1\twhat is bm25\tA \u201cranking\u201d function.",
    "7\td1\thow long does a flea live?\tA \u201cranking\u201d function.",
    "3\td9\twhat is bm25\t",
]


def plain(folder, lines):
    (folder / "top.tsv").write_text("".join(f"{line}\n" for line in lines))
    return folder / "top.tsv"


def zipped(folder, lines):
    (folder / "top.tsv.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return folder / "top.tsv.gz"


def archived(folder, lines):
    content = "".join(f"{line}\n" for line in lines).encode()
    with tarfile.open(folder / "top.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("top1000.dev")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return folder / "top.tar.gz"


@pytest.mark.parametrize("write", [plain, zipped, archived])
def test_queries_are_put_together(tmp_path, write):
    path = write(tmp_path, LINES)
    assert is_official(path)
    candidates = OfficialCandidates(path, tmp_path)
    assert candidates.queries == {"7": "how long does a flea live?", "3": "what is bm25"}
    expected = [
        ("7", [RunHit("d1", math.nan, "A \u201cranking\u201d function."), RunHit("d2", math.nan, "A flea's life.")]),
        ("3", [RunHit("d1", math.nan, "A \u201cranking\u201d function."), RunHit("d9", math.nan, "")]),
    ]
    assert list(candidates) == expected
    assert list(candidates) == expected, "they can be read again"


@pytest.mark.parametrize("text", ["1 Q0 a 1 3.5 bm25\n", "1\ta\t1\n", "", "1\tQ0\ta\t1\t3.5\tbm25\n"])
def test_a_run_is_none(tmp_path, text):
    (tmp_path / "run").write_text(text)
    assert not is_official(tmp_path / "run")


@pytest.mark.parametrize(
    ("bad", "said", "left"),
    [
        ("7\td3\tonly three", "line 3: has 3 columns, not qid, docid, query and passage", "correct the line"),
        ("\td3\tno qid\ttext", "line 3: has 4 columns, not qid", "correct the line"),
        ("7\td3\thow long does a cat live?\tA cat's life.", "line 3: has another query 7 than", "keep one of the two"),
        ("7\td2\thow long does a flea live?\tAgain.", "repeats document d2 of query 7", "keep one of the two"),
    ],
)
def test_a_bad_line_is_an_error_or_is_counted(tmp_path, bad, said, left):
    path = zipped(tmp_path, [*LINES[:2], bad, *LINES[2:]])
    with pytest.raises(ValueError) as error:
        list(OfficialCandidates(path, tmp_path))
    assert str(path) in str(error.value) and said in str(error.value) and "skip_bad=True" in str(error.value)
    skipped = Skipped()
    assert list(OfficialCandidates(path, tmp_path, skipped)) == list(
        OfficialCandidates(plain(tmp_path, LINES), tmp_path)
    )
    assert skipped.reasons == {left: 1}


def test_what_is_no_utf8_is_found(tmp_path):
    (tmp_path / "top.tsv").write_bytes(b"1\ta\tquery\ttext\n1\tb\tquery\t\xff\xfe\n")
    with pytest.raises(ValueError, match="line 2: is no UTF-8"):
        OfficialCandidates(tmp_path / "top.tsv", tmp_path)


def test_a_heading_is_no_candidate(tmp_path):
    path = plain(tmp_path, ["qid\tpid\tquery\tpassage", *LINES])
    with pytest.raises(ValueError, match="line 1: is a heading: delete the line"):
        OfficialCandidates(path, tmp_path)
    skipped = Skipped()
    assert "qid" not in OfficialCandidates(path, tmp_path, skipped).queries and skipped.reasons == {
        "delete the line": 1
    }
