"""Going on, and reporting, with inputs that have changed: what has other content is another input, whatever its name,
size and time; what has the same is the same."""

import gzip
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from experiment import NAME, arguments, run, write_experiment
from pyserini_rerank.files.reading import digest
from pyserini_rerank.runs import input_states
from pyserini_rerank.runs.resumable_output import ResumableOutput
from tiny_checkpoints import build


def stop(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Have a command interrupted once all is committed, and nothing is finished."""
    with monkeypatch.context() as patch:
        patch.setattr(ResumableOutput, "finish", lambda self, report: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(patch, *words) == 130


def same_size_and_time(path: Path, content: str) -> None:
    """Put another content in a file's place as `cp -p`, `rsync -t` and `git checkout` may do it."""
    facts = path.stat()
    assert len(content.encode()) == facts.st_size and content != path.read_text()
    path.write_text(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def swapped(path: Path, one: str, other: str) -> None:
    text = path.read_text()
    assert one in text and other in text and len(one) == len(other)
    same_size_and_time(path, text.replace(one, "\0").replace(other, one).replace("\0", other))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write_experiment(tmp_path, queries=3, hits=6)
    (made / "reranker.yaml").write_text(f"cascade:\n- [{made / NAME}, 5]\n- [{made / NAME}, 2]\n")
    return made


def words_of(folder: Path, *more: str) -> list[str]:
    return arguments(folder, "x.run", "--qrels", str(folder / "qrels.txt"), "--only-judged", *more)


def grow(folder: Path) -> None:
    """Judge one query less."""
    lines = (folder / "qrels.txt").read_text().splitlines(keepends=True)
    (folder / "qrels.txt").write_text("".join(line for line in lines if not line.startswith("q2")))


#: Each change, and what the message calls it.
CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "run": (lambda folder: swapped(folder / "first.run", "q1 ", "q2 "), "run"),
    "topics": (lambda folder: swapped(folder / "topics.tsv", " 1\n", " 2\n"), "topics"),
    "collection": (lambda folder: swapped(folder / "docs.jsonl", "flea", "live"), "texts"),
    "qrels": (grow, "only_judged"),
    "a grade": (lambda folder: swapped(folder / "qrels.txt", " 1\n", " 2\n"), "only_judged"),
    "weights": (lambda folder: another_model(folder), "model"),
    "limit": (lambda folder: change(folder / NAME / "tokenizer_config.json", model_max_length=30), "model"),
}


def another_model(folder: Path) -> None:
    shutil.rmtree(folder / NAME)
    build(NAME, folder, seed=1)


def change(file: Path, **more: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


@pytest.mark.parametrize(
    ("what", "model"),
    [
        *((what, "a folder") for what in CHANGES),
        *((what, model) for what in ("weights", "limit") for model in ("in a file", "in a string", "in another file")),
    ],
)
def test_another_content_is_another_input(
    folder: Path, what: str, model: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = folder / "reranker.yaml"
    words = words_of(folder)
    words[words.index("--model") + 1] = {
        "a folder": str(folder / NAME),
        "in a file": str(path),
        "in a string": f"{{segments: {folder / NAME}}}",
        "in another file": f"{{segments: {path}}}",
    }[model]
    stop(monkeypatch, *words)
    make, named = CHANGES[what]
    make(folder)
    capsys.readouterr()
    assert run(monkeypatch, *words) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert f"x.run.partial was begun with another {named}: delete its file `output`" in said
    assert not (folder / "x.run").exists()


def test_another_combination_in_the_same_file(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    words = words_of(folder, "--model", str(folder / "reranker.yaml"))
    stop(monkeypatch, *words)
    swapped(folder / "reranker.yaml", "5", "2")
    same = (folder / "reranker.yaml").read_text()
    assert run(monkeypatch, *words) == 1
    assert "begun with another model" in capsys.readouterr().err
    # Written otherwise, with the same meaning.
    swapped(folder / "reranker.yaml", "5", "2")
    assert (folder / "reranker.yaml").read_text() != same
    (folder / "reranker.yaml").write_text(f"# mine\n{{cascade: [[{folder / NAME}, 5], ['{folder / NAME}', 2]]}}\n")
    assert run(monkeypatch, *words) == 0


def test_a_combination_that_holds_itself(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    path = folder / "reranker.yaml"
    path.write_text(f"rrf: {path}")
    for model in (str(path), "{rrf: &a {rrf: *a}}"):
        assert run(monkeypatch, *words_of(folder, "--model", model)) == 1
        [said] = capsys.readouterr().err.splitlines()
        assert "the combination" in said and "holds itself" in said


def test_what_has_the_same_content_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Touched, copied to its place, moved, packed, or read from a pipe: nothing is scored again, or refused."""
    words = words_of(folder)
    stop(monkeypatch, *words)
    for path in [*folder.glob("*.*"), *(folder / NAME).iterdir()]:
        if path.is_file():
            shutil.copy(path, f"{path}.copy")
            os.replace(f"{path}.copy", path)
            os.utime(path, (1e9, 1e9))
    (folder / "moved").mkdir()
    for option, name in (("--topics", "topics.tsv"), ("--qrels", "qrels.txt"), ("--collection", "docs.jsonl")):
        place = folder / "moved" / name
        os.replace(folder / name, place)
        if option != "--collection":
            place.write_bytes(gzip.compress(place.read_bytes()))
        words[words.index(option) + 1] = str(place)
    content = (folder / "first.run").read_bytes()
    os.unlink(folder / "first.run")
    os.mkfifo(folder / "first.run")
    threading.Thread(target=lambda: (folder / "first.run").write_bytes(content), daemon=True).start()
    monkeypatch.setattr("pyserini_rerank.scoring.backends.torch_backend.TorchBackend.run", None)
    assert run(monkeypatch, *words) == 0
    report = json.loads((folder / "x.run.json").read_text())
    assert report["counts"]["pairs"] == 18 and report["run"] == str(folder / "first.run")


def test_a_run_from_a_pipe_is_what_it_is_from_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--run <(cat run)` gives a path of this process's own; the run is read for its format, its hits, its figures."""
    words = words_of(folder)
    assert run(monkeypatch, *words) == 0
    expected = (folder / "x.run").read_bytes(), json.loads((folder / "x.run.json").read_text())["evaluation"]
    ends = []
    for option, name in (("--run", "first.run"), ("--topics", "topics.tsv"), ("--qrels", "qrels.txt")):
        read, write = os.pipe()
        ends.append(read)
        words[words.index(option) + 1] = f"/dev/fd/{read}"
        with os.fdopen(write, "wb") as file:  # it holds 64 KiB
            file.write((folder / name).read_bytes())
    assert run(monkeypatch, *words, "--overwrite") == 0
    found = json.loads((folder / "x.run.json").read_text())["evaluation"]
    assert ((folder / "x.run").read_bytes(), found | {"qrels": expected[1]["qrels"]}) == expected
    for end in ends:
        os.close(end)


def test_what_a_search_names(tmp_path: Path) -> None:
    """After a space or a sign, and whatever kind of folder: a Faiss index, an encoder."""
    for name in ("faiss/index", "faiss/docid", "encoder/model.safetensors", "topics", "out"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    words = [f"--index={tmp_path}/faiss", "--encoder", f"{tmp_path}/encoder", f"--topics={tmp_path}/topics"]
    words += ["--k1=0.9", "--bm25", f"--output={tmp_path}/out", "--output", f"{tmp_path}/out"]
    before = input_states.of_words(words)
    assert set(before) == {f"{tmp_path}/{name}" for name in ("faiss", "encoder", "topics")}
    for name, named in (("faiss/docid", "faiss"), ("encoder/model.safetensors", "encoder"), ("topics", "topics")):
        same_size_and_time(tmp_path / name, (tmp_path / name).read_text()[::-1])
        after = input_states.of_words(words)
        assert [place for place in after if after[place] != before[place]] == [f"{tmp_path}/{named}"]
        before = after


def test_an_option_that_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    stop(monkeypatch, *words_of(folder), "--option", "batch_tokens=100")
    assert run(monkeypatch, *words_of(folder)) == 1
    assert "was begun with another batch_tokens: " in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- a Lucene index


@pytest.fixture
def index(tmp_path: Path) -> Callable[..., str]:
    """Write documents to an index, or add them."""

    def write(documents: dict[str, str], **options: Any) -> str:
        from pyserini.index.lucene import LuceneIndexer

        indexer = LuceneIndexer(args=["-index", str(tmp_path / "index"), "-storeRaw"], **options)
        indexer.add_batch_raw([json.dumps({"id": docid, "contents": text}) for docid, text in documents.items()])
        indexer.close()
        return str(tmp_path / "index")

    return write


@pytest.mark.parametrize("way", ["texts", "bm25"])
def test_an_index_that_has_changed(
    way: str, folder: Path, index: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    documents = {row["id"]: row["contents"] for row in map(json.loads, (folder / "docs.jsonl").open())}
    place = index(documents)
    words = words_of(folder)
    where = words.index("--collection")
    if way == "texts":
        words[where : where + 2] = ["--index", place]
    else:
        where = words.index("--run")
        words[where : where + 2] = ["--bm25", "0.9", "0.4", "--depth", "4", "--index", place]
    stop(monkeypatch, *words)
    # Copied, it is the same one.
    shutil.copytree(place, folder / "copy")
    copied = [str(folder / "copy") if word == place else word for word in words]
    if way == "texts":
        with monkeypatch.context() as patch:
            patch.setattr("pyserini_rerank.scoring.backends.torch_backend.TorchBackend.run", None)
            stop(patch, *copied)
    capsys.readouterr()
    index({"new": "flea berlin"}, append=True)
    assert run(monkeypatch, *words) == 1
    assert f"was begun with another {'texts' if way == 'texts' else 'index'}: " in capsys.readouterr().err


def test_the_newest_commit_is_the_one_that_lucene_opens(index: Any, tmp_path: Path) -> None:
    """Lucene counts its commits in base 36: segments_10 comes after segments_z."""
    folder = index({"a": "text"})
    from jnius import autoclass

    java = {name: autoclass(f"org.apache.lucene.{name}") for name in (
        "store.FSDirectory", "index.IndexWriter", "index.IndexWriterConfig", "document.Document"
    )}  # fmt: skip
    store = java["store.FSDirectory"].open(autoclass("java.io.File")(folder).toPath())
    writer = java["index.IndexWriter"](store, java["index.IndexWriterConfig"]())
    while not Path(folder, "segments_10").exists():
        writer.addDocument(java["document.Document"]())
        writer.commit()
    writer.close()
    Path(folder, "segments_z").write_bytes(b"an old one that could not be deleted")
    assert input_states.of_index(folder) == digest(Path(folder, "segments_10"))
    with pytest.raises(FileNotFoundError, match="is no Lucene index .it has no segments file.: name another one"):
        input_states.of_index(tmp_path)


def test_a_docid_with_white_space_is_noticed_before_anything_is_scored(
    folder: Path, index: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """What is white space in Unicode only is part of a docid; the run that was written is read again."""
    place = index({"a\u00a0b": "flea market one", "\u3000c": "flea market two", "d\u2028": "flea market three"})
    (folder / "topics.tsv").write_text("q\u00a01\tflea market\n")
    words = ["rerank", "--bm25", "0.9", "0.4", "--index", place, "--topics", str(folder / "topics.tsv")]
    words += ["--model", str(folder / NAME), "--device", "cpu", "--output", str(folder / "x.run")]
    assert run(monkeypatch, *words) == 0
    found = [line.split(" ") for line in (folder / "x.run").read_text(encoding="utf-8").split("\n") if line]
    assert {(line[0], line[2]) for line in found} == {
        ("q\u00a01", docid) for docid in ("a\u00a0b", "\u3000c", "d\u2028")
    }
    monkeypatch.setattr("pyserini_rerank.scoring.backends.torch_backend.TorchBackend.run", None)
    (folder / "topics.tsv").write_text("a qid\tflea market\n")
    assert run(monkeypatch, *words, "--overwrite") == 1
    assert "the qid 'a qid' has white space in it, and no TREC run can hold that" in capsys.readouterr().err
    (folder / "topics.tsv").write_text("q1\tflea market\n")
    index({"e f": "flea market four"}, append=True)
    assert run(monkeypatch, *words, "--overwrite") == 1
    assert "the docid 'e f' has white space in it" in capsys.readouterr().err
    assert not list(folder.glob("*.partial"))


# ----------------------------------------------------------------------------------------- hits without text, and texts


@pytest.mark.parametrize("depth", ["3", "4", "100"])
def test_hits_without_text_are_as_if_they_were_not_in_the_run(
    depth: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those behind them move up, and are rescored in their place."""
    lines = (folder / "first.run").read_text().splitlines(keepends=True)
    whole = folder / "whole.run"
    whole.write_text("".join(lines))
    extra = {0: "q0 Q0 none0 0 999 first\n", 7: "q1 Q0 none1 2 98.7 first\n", 9: "q1 Q0 none2 3 96.7 first\n"}
    (folder / "first.run").write_text("".join(extra.get(i, "") + line for i, line in enumerate(lines)))
    words = arguments(folder, "x.run", "--depth", depth)
    assert run(monkeypatch, *words, "--skip-bad") == 0
    report = json.loads((folder / "x.run.json").read_text())
    assert report["skipped"] == {"document without text": 3} or depth == "3"
    words[2] = str(whole)
    words[words.index("--output") + 1] = str(folder / "y.run")
    assert run(monkeypatch, *words) == 0
    mine, theirs = (dict_of(folder / name) for name in ("x.run", "y.run"))
    below = {docid for own in mine.values() for docid in own if docid.startswith("none")}
    assert {qid: [docid for docid in own if docid not in below] for qid, own in mine.items()} == theirs
    assert not below or depth == "3"


def dict_of(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.open():
        qid, _, docid, *_ = line.split()
        found.setdefault(qid, []).append(docid)
    return found


def test_each_query_has_its_own_text_of_a_docid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two queries' candidates in one shard, with the same docids and other texts."""
    scores = {}
    for name, qids in (("both", ("1", "2")), ("one", ("1",)), ("two", ("2",))):
        texts = {"1": "flea in berlin", "2": "museum of temporary people"}
        lines = [f"{qid}\td{n}\tlive flea\t{texts[qid]} {n}\n" for n in range(3) for qid in qids]
        (folder / name).write_text("".join(lines))
        words = ["rerank", "--run", str(folder / name), "--model", str(folder / NAME), "--device", "cpu"]
        assert run(monkeypatch, *words, "--output", str(folder / f"{name}.run")) == 0
        for line in (folder / f"{name}.run").open():
            qid, _, docid, _, score, _ = line.split()
            scores[name, qid, docid] = float(score)
    for qid, alone in (("1", "one"), ("2", "two")):
        for n in range(3):
            assert scores["both", qid, f"d{n}"] == pytest.approx(scores[alone, qid, f"d{n}"], abs=1e-5)
    assert scores["both", "1", "d0"] != scores["both", "2", "d0"]
