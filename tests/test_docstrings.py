"""The documents and the questions that every machine has."""

import sys

import pytest
from pyserini_rerank import docstrings

QUESTIONS = docstrings.questions()


@pytest.fixture(scope="module")
def collection() -> list[tuple[str, str]]:
    return list(docstrings.read())


@pytest.fixture(scope="module")
def documents(collection: list[tuple[str, str]]) -> dict[str, str]:
    return dict(collection)


def test_every_document_is_there_once_and_in_order(collection: list[tuple[str, str]]) -> None:
    docids = [docid for docid, _ in collection]
    assert 5_000 < len(docids) < 12_000
    assert docids == sorted(set(docids))


@pytest.mark.slow
def test_reading_again_gives_the_same_and_imports_nothing(
    collection: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ["this", "antigravity", "turtle", "pdb", "sched", "wave"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = set(sys.modules)
    assert list(docstrings.read()) == collection
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("docid", "signature", "says"),
    [
        ("tempfile", "", "Temporary files."),
        ("tempfile.TemporaryDirectory", "(self, suffix=None, prefix=None, dir=None", "removed"),
        ("pathlib.Path.read_text", "(self, encoding=None", "Open the file in text mode, read it, and close the file."),
        ("pathlib.PurePath.with_suffix", "(self, suffix)", "Return a new path with the file suffix changed."),
        ("asyncio.gather", "(*coros_or_futures", "Return a future aggregating results"),
        ("datetime.datetime.strptime", "(cls, date_string, format)", "new datetime parsed from a string"),
        ("collections.abc", "", "Abstract Base Classes"),
        ("decimal.Decimal", "", "Floating"),
        ("io.BytesIO", "(self, initial_bytes=None)", "Buffered I/O implementation"),
        ("os.path.join", "(a, *p)", "Join two or more pathname components"),
        ("os.listdir", "(path=None)", "Return a list containing the names of the files in the directory."),
        ("random.shuffle", "(self, x)", "Shuffle list x in place"),
        ("str.split", "(self, /, sep=None, maxsplit=-1)", "Return a list of the substrings in the string"),
        ("sorted", "(iterable, /, *, key=None", "Return a new list containing all items"),
    ],
)
def test_a_document(documents: dict[str, str], docid: str, signature: str, says: str) -> None:
    assert documents[docid].startswith(docid + signature)
    assert says in documents[docid].partition("\n")[2]


@pytest.mark.parametrize("name", ["test", "idlelib", "lib2to3", "turtledemo", "ensurepip", "pip", "__phello__"])
def test_what_is_not_for_users_is_left_out(documents: dict[str, str], name: str) -> None:
    assert not [docid for docid in documents if docid.split(".")[0] == name]


def test_nothing_is_private(documents: dict[str, str]) -> None:
    assert not [docid for docid in documents if any(part.startswith("_") for part in docid.split("."))]


def test_there_are_enough_questions_and_none_twice() -> None:
    assert len(QUESTIONS) >= 60
    assert len({asked["question"] for asked in QUESTIONS}) == len(QUESTIONS)
    assert sum(len(asked["answers"]) > 1 for asked in QUESTIONS) >= 20


def test_every_answer_is_a_document(documents: dict[str, str]) -> None:
    assert not [answer for asked in QUESTIONS for answer in asked["answers"] if answer not in documents]
