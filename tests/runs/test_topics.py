"""Topics and qrels: every kind of file, and ir_datasets' names; Pyserini's are in test_prebuilt.py."""

import gzip
import sys

import pytest
from pyserini_rerank.runs.topics import load_qrels, load_topics

TOPICS = {"301": "international organized crime", "302": "poliomyelitis"}
TREC = """<top>
<num> Number: 301
<title> international organized crime
<desc> Description:
What organizations take part?
<narr> Narrative:
Any is relevant.
</top>

<top>
<num> Number: 302
<title> poliomyelitis
<desc> Description:
Is it under control?
<narr> Narrative:
Relevant is what says so.
</top>
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("topics.tsv", "301\tinternational organized crime\n302\tpoliomyelitis\n"),
        ("topics.txt", "301\tinternational organized crime\n302\tpoliomyelitis"),
        (
            "topics.jsonl",
            '{"qid": 301, "title": "international organized crime"}\n{"_id": "302", "text": "poliomyelitis"}',
        ),
        ("topics.trec", TREC),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_files(tmp_path, name, text, zipped):
    path = tmp_path / (f"{name}.gz" if zipped else name)
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert load_topics(str(path)) == TOPICS


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.tsv", "301\tcrime\nno tab\n", "a.tsv, line 2: is no topic"),
        ("a.tsv", "301\tcrime\n301\tagain\n", "a.tsv, line 2: the qid '301' comes twice"),
        ("a.jsonl", '{"qid": 1}\n', "a.jsonl, line 1: is no topic"),
    ],
)
def test_a_bad_topic_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        load_topics(str(tmp_path / name))


def test_qrels_of_a_file(tmp_path):
    (tmp_path / "qrels").write_text("1 0 a 3\n1 0 b 0\n2 0 a -1\n")
    assert load_qrels(str(tmp_path / "qrels")) == {"1": {"a": 3, "b": 0}, "2": {"a": -1}}
    for text, said in (
        ("", "are empty"),
        ("1 0 a\n", "bad, line 1: is no judgement"),
        ("1 0 a 1\n1 0 b high\n", "bad, line 2: is no judgement"),
        ("1 0 a 1\n1 0 a 2\n", "bad, line 2: a has another grade in an earlier line"),
    ):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(ValueError, match=said) as error:
            load_qrels(str(tmp_path / "bad"))
        assert len(str(error.value).splitlines()) == 1


def test_a_name_that_nobody_knows():
    for load in (load_topics, load_qrels):
        with pytest.raises(FileNotFoundError, match="'no-such-thing'.* is neither a file, nor a name that Pyserini"):
            load("no-such-thing")


def test_without_a_network_a_known_name_says_so(tmp_path):
    """Where there is a network, they are simply there."""
    try:
        assert len(load_topics("core18")) == 50
    except ConnectionError as error:
        assert "the topics core18 cannot be fetched (" in str(error) and len(str(error).splitlines()) == 1


@pytest.fixture
def ir_datasets_home(tmp_path, monkeypatch):
    """ir_datasets, imported anew with another home."""
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "ir_datasets"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def test_a_name_of_ir_datasets(ir_datasets_home):
    """TREC DL 2019 by its name and code there, with the files where it would have fetched them to."""
    folder = ir_datasets_home / "msmarco-passage" / "trec-dl-2019"
    folder.mkdir(parents=True)
    (folder / "queries.tsv").write_text("156493\tdo goldfish grow\n19335\tanthropological definition of environment\n")
    (folder / "qrels").write_text("156493 Q0 1038342 3\n156493 Q0 1099636 0\n")
    name = "msmarco-passage/trec-dl-2019"
    assert load_topics(name) == {"156493": "do goldfish grow", "19335": "anthropological definition of environment"}
    assert load_qrels(name) == {"156493": {"1038342": 3, "1099636": 0}}
    assert load_topics(f"{name}/judged").keys() == {"156493"}


@pytest.mark.parametrize("heading", ["qid\tquery", "query_id\ttext", "QID\tQuery"])
def test_a_heading_is_no_topic(tmp_path, heading):
    (tmp_path / "topics.tsv").write_text(f"{heading}\n1\twhat is a flea?\n")
    with pytest.raises(ValueError, match="line 1: is no topic"):
        load_topics(str(tmp_path / "topics.tsv"))
