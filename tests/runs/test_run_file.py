"""Reading runs: each format, and each way in which a line can be bad."""

import gzip
import re

import pytest
from pyserini_rerank.runs.run_file import RunHit, Skipped, lines, read

TREC = "1 Q0 a 1 3.5 bm25\n1 Q0 b 2 3.5 bm25\n2 Q0 a 1 1 bm25\n"
MSMARCO = "1\ta\t1\n1\tb\t2\n2\ta\t1\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        path = tmp_path / "run.txt"
        path.write_text(text)
        return path

    return write


def test_trec(write):
    assert list(read(write(TREC))) == [("1", [RunHit("a", 3.5), RunHit("b", 3.5)]), ("2", [RunHit("a", 1.0)])]


def test_msmarco(write):
    assert list(read(write(MSMARCO))) == [("1", [RunHit("a", -1.0), RunHit("b", -2.0)]), ("2", [RunHit("a", -1.0)])]


@pytest.mark.parametrize("text", [TREC, MSMARCO])
def test_gzipped_whatever_its_name(write, tmp_path, text):
    zipped = tmp_path / "run"
    zipped.write_bytes(gzip.compress(text.encode()))
    assert list(read(zipped)) == list(read(write(text)))


def test_what_is_written_is_read_again(write):
    hits = [RunHit("a", 2.25), RunHit("b", -1.5)]
    assert list(read(write("".join(lines("7", hits, "tag"))))) == [("7", hits)]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("1 Q0 c 3 2.0\n", "has 5 columns, not 6"),
        ("1 Q0 c\xa03 2.0 bm25\n", "has 5 columns, not 6"),
        ("1 Q0 c 3 many bm25\n", "has the score 'many', which is no number"),
        ("1 Q0 c 3 nan bm25\n", "has the score 'nan', which is no number"),
        ("1 Q0 c 3 9.0 bm25\n", "has a better score or rank than the line before"),
        ("1 Q0 b 3 2.0 bm25\n", "repeats document b of query 1"),
        ("1 Q0 c 3 2.0 other\n", "has the tag 'other' after 'bm25'"),
    ],
)
def test_a_bad_line_is_an_error_or_is_counted(write, bad, said):
    first, second, third = TREC.splitlines(keepends=True)
    path = write(first + second + bad + third)
    with pytest.raises(ValueError) as error:
        list(read(path, can_skip=True))
    message = str(error.value)
    assert message.startswith(f"{path}, line 3: ") and said in message and "skip_bad=True" in message
    with pytest.raises(ValueError, match=re.escape(message.replace(", or pass skip_bad=True", "")) + "$"):
        list(read(path))
    assert len(message.splitlines()) == 1
    skipped = Skipped()
    assert list(read(path, skipped)) == list(read(write(TREC)))
    assert sum(skipped.reasons.values()) == 1


def test_a_query_that_comes_back(write):
    path = write(TREC + "1 Q0 z 3 1 bm25\n")
    with pytest.raises(ValueError, match="line 4: goes back to query 1: sort the run by query"):
        list(read(path))
    assert list(read(path, Skipped())) == list(read(write(TREC)))


def test_a_rank_that_does_not_rise(write):
    with pytest.raises(ValueError, match="line 3: has a better score or rank"):
        list(read(write("1\ta\t1\n1\tb\t3\n1\tc\t2\n")))


@pytest.mark.parametrize("text", ["", "two words\n", "qid,docid,rank\n"])
def test_what_is_no_run(write, text):
    with pytest.raises(ValueError, match="no line of a run|is neither TREC's"):
        list(read(write(text)))
