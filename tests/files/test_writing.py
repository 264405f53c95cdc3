"""Every writer on what is no plain file, and by two processes: one holds it, and a kill lets go of it."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from experiment import NAME, arguments, run, write_experiment
from pyserini_rerank.files.cache import made_once
from pyserini_rerank.files.writing import held, replace
from pyserini_rerank.runs.resumable_output import ResumableOutput
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend

HOLD = """
import sys, time
from pathlib import Path
from pyserini_rerank.files.writing import held
with held(Path(sys.argv[1]), Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("small"), queries=3, hits=6)


@pytest.fixture
def holder() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Have another process hold an output."""
    started = []

    def hold(target: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout and process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def state(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


#: Each writer's words, with a place for its output.
Writer = Callable[[Path, str], list[str]]
WRITERS: dict[str, Writer] = {
    "rerank": lambda small, output: [*arguments(small, "x"), "--output", output],
    "search": lambda small, output: ["search", "lucene", "--index", "x", "--topics", "x", "--output", output],
    "search=": lambda small, output: ["search", "lucene", "--index", "x", "--topics", "x", f"--output={output}"],
}
QRELS = ("--qrels", "qrels.txt")
#: Writers of what is written at once, beside a run.
EXTRA = {"per-query": "q.tsv", "plot": "p.svg"}


# ------------------------------------------------------------------------------------------------ what is no plain file


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", ["device", "pipe", "-", "/dev/stdout", "/dev/fd/1", "link to a device"])
def test_what_cannot_be_replaced_is_refused(
    writer: str, kind: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    output = {"device": "/dev/null", "pipe": str(tmp_path / "pipe"), "link to a device": str(tmp_path / "link")}.get(
        kind, kind
    )
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    before = state(tmp_path)
    for more in ([], ["--overwrite"]):
        assert run(monkeypatch, *WRITERS[writer](small, output), *more) == 1
        assert capsys.readouterr().err == (
            f"pyserini-rerank: {output} is no file, and an output that can be interrupted needs one: name a file.\n"
        )
    assert state(tmp_path) == before and stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert not Path("/dev/null.partial").exists() and not Path("-").exists()


@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
def test_a_link_stays_and_its_target_is_written(
    there: bool, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through two links, into another folder; the report is beside the name that was given."""
    (tmp_path / "far").mkdir()
    target, link, first = tmp_path / "far" / "real.run", tmp_path / "link.run", tmp_path / "first.run"
    link.symlink_to(target)
    first.symlink_to("link.run")
    if there:
        target.write_text("old")
    assert run(monkeypatch, *WRITERS["rerank"](small, str(first)), "--overwrite") == 0
    assert first.is_symlink() and link.is_symlink() and len(target.read_text().splitlines()) == 18
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "first.run", "first.run.json", "link.run"]
    assert [path.name for path in target.parent.iterdir()] == ["real.run"]


@pytest.mark.parametrize("option", EXTRA)
@pytest.mark.parametrize("kind", ["file", "link", "dangling", "device", "pipe", "-"])
def test_what_is_written_at_once(
    option: str, kind: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Links are followed, and devices and pipes get what a file would."""
    monkeypatch.chdir(tmp_path)
    name = EXTRA[option]
    suffix = Path(name).suffix
    path, real = tmp_path / f"out{suffix}", tmp_path / f"real{suffix}"
    if kind in ("file", "link"):
        real.write_text("old, and longer than what is new" * 10_000)
    if kind in ("link", "dangling"):
        path.symlink_to(real.name)
    if kind == "device":
        path.symlink_to("/dev/null")
    got: list[bytes] = []
    if kind == "pipe":
        os.mkfifo(path)
        reader = threading.Thread(target=lambda: got.append(path.read_bytes()), daemon=True)
        reader.start()
    given = "-" if kind == "-" else str(real if kind == "file" else path)
    words = [*WRITERS["rerank"](small, str(tmp_path / "x.run")), "--qrels", str(small / "qrels.txt")]
    code = run(monkeypatch, *words, f"--{option}", given)
    if kind == "-":
        assert code == 1 and len(capsys.readouterr().err.splitlines()) == 1 and not list(tmp_path.iterdir())
        return
    assert code == 0
    assert not list(tmp_path.glob("*.new")) and not list(tmp_path.glob(".*"))
    if kind == "device":
        assert path.is_symlink() and stat.S_ISCHR(path.stat().st_mode)
        return
    if kind == "pipe":
        reader.join(10)
        assert stat.S_ISFIFO(path.stat().st_mode)
    content = got[0] if kind == "pipe" else real.read_bytes()
    assert content.startswith(b"qid\t" if option == "per-query" else b"<?xml") and b"old" not in content
    assert kind not in ("link", "dangling") or path.is_symlink()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Who has it open reads the old one to its end; a name as long as the system allows is no trouble."""
    path = tmp_path / ("x" * 255)
    path.write_text("old")
    with path.open() as before:
        replace(path, "new")
        assert before.read() == "old" and path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        replace(loop, "x")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        ResumableOutput(loop, {})


@pytest.mark.parametrize(
    ("option", "other"),
    [
        ("output", "first.run"),
        ("output", "qrels.txt"),
        ("per-query", "topics.tsv"),
        ("per-query", "link"),
        ("per-query", "x.run"),
        ("per-query", "x.run.json"),
        ("plot", "docs.jsonl"),
        ("plot", "x.run.partial/p.svg"),
        ("cache", "x.run.partial/scores"),
    ],
)
def test_no_output_is_an_input_or_another_output(
    option: str, other: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    shutil.copytree(small, tmp_path, dirs_exist_ok=True)
    (tmp_path / "link").symlink_to("qrels.txt")
    before = state(tmp_path)
    words = [*arguments(tmp_path, "x.run"), "--qrels", str(tmp_path / "qrels.txt"), "--overwrite"]
    if option == "plot":
        monkeypatch.setattr("pyserini_rerank.runs.plots.check", lambda path: None)
    assert run(monkeypatch, *words, f"--{option}", str(tmp_path / other)) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert said.endswith(": name another.") and other in said
    assert state(tmp_path) == before


def test_a_search_does_not_replace_its_topics(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    topics = tmp_path / "topics.tsv"
    topics.write_text("1\tflea\n")
    for words in (["--topics", str(topics), "--output", str(topics)], [f"--topics={topics}", f"--output={topics}"]):
        assert run(monkeypatch, "search", "lucene", "--index", "x", *words, "--overwrite") == 1
        assert "are the same file" in capsys.readouterr().err
    words = ["bench", "--pairs", str(topics), "--model", str(small / NAME), "--json", str(topics)]
    assert run(monkeypatch, *words) == 1
    assert "--json and --pairs are the same file" in capsys.readouterr().err
    assert topics.read_text() == "1\tflea\n"


def test_what_does_not_fit_on_a_device_names_it() -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        replace(Path("/dev/full"), "x")


@pytest.mark.parametrize("name", ["two\nlines.run", "line\u2028separator.run", "-dash.run", os.fsdecode(b"\xff.run")])
def test_any_name(name: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    words = WRITERS["rerank"](small, str(tmp_path / name))
    assert run(monkeypatch, *words) == 0 and (tmp_path / name).is_file()
    assert run(monkeypatch, *words) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_threads_write_into_one_folder(tmp_path: Path) -> None:
    wrong: list[object] = []

    def write(name: str) -> None:
        try:
            for number in range(100):
                replace(tmp_path / name, f"{name} {number}")
                assert (tmp_path / name).read_text() == f"{name} {number}"
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and sorted(path.name for path in tmp_path.iterdir()) == list("abcd")


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff"])
def test_a_state_that_is_damaged_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.partial").mkdir()
    (tmp_path / "x.partial" / "output").touch()
    (tmp_path / "x.partial" / "state.json").write_text(content, errors="surrogateescape")
    with pytest.raises(ValueError, match="state.json is damaged: delete the folder .*x.partial to begin anew"):
        ResumableOutput(tmp_path / "x", {})


# -------------------------------------------------------------------------------------------------------- two processes


@pytest.mark.parametrize("writer", WRITERS)
def test_the_second_says_who_has_it_and_changes_nothing(
    writer: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, holder: Any
) -> None:
    """By whatever name; and when the first is killed, it can be written."""
    (tmp_path / "link").symlink_to("out")
    first = holder(tmp_path / "out")
    before = state(tmp_path)
    for name in ("out", "link", f"../{tmp_path.name}/out"):
        assert run(monkeypatch, *WRITERS[writer](small, str(tmp_path / name))) == 1
        [said] = capsys.readouterr().err.splitlines()
        assert f"{name} is being written by process {first.pid} on {os.uname().nodename} since 20" in said
        assert said.endswith("wait until that is done, or name another output.")
    assert state(tmp_path) == before
    if not writer.startswith("search"):
        assert run(monkeypatch, *WRITERS[writer](small, str(tmp_path / "other"))) == 0, "two outputs in a folder"
    first.send_signal(signal.SIGKILL)
    first.wait()
    if not writer.startswith("search"):
        assert run(monkeypatch, *WRITERS[writer](small, str(tmp_path / "out"))) == 0
        assert (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_one_reproduces_into_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, holder: Any
) -> None:
    (tmp_path / "none.yaml").write_text("docs: {collection: d, test_sets: {t: {}}, first_stages: {f: {run: no.run}}}")
    words = ["reproduce", "--conditions", str(tmp_path / "none.yaml"), "--test-set", "t", "--first-stage", "f"]
    words += ["--model", str(tmp_path / "none"), "--output", str(tmp_path / "runs")]
    (tmp_path / "runs").mkdir()
    first = holder(tmp_path / "runs" / "report.md")
    assert run(monkeypatch, *words) == 1
    assert f"runs is being written by process {first.pid} on " in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("report*"))
    first.kill()
    first.wait()
    assert run(monkeypatch, *words) == 1
    assert "0 of 1 runs are there." in capsys.readouterr().err and list((tmp_path / "runs").glob("report*"))


def test_a_work_lets_go_when_it_ends_however_that_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ResumableOutput(tmp_path / "out", {}) as work:
        work.commit(["one\n"], {})
        with pytest.raises(BlockingIOError, match="out is being written by process"):
            ResumableOutput(tmp_path / "out", {})
        with ResumableOutput(tmp_path / "other", {}) as other:
            other.commit(["x\n"], {})
        raise KeyboardInterrupt
    work = ResumableOutput(tmp_path / "out", {})
    assert work.commits == 1
    del work  # as a notebook forgets it
    with ResumableOutput(tmp_path / "out", {}) as again:
        again.finish({})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.partial", "out", "out.json"]


def test_nothing_is_left_of_what_did_not_begin(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the first line leaves nothing; one after the first commit, or the first score, does."""
    bad = tmp_path / "bad.run"
    bad.write_text("not a run\n")
    words = [*WRITERS["rerank"](small, str(tmp_path / "x.run")), "--run", str(bad)]
    assert run(monkeypatch, *words) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.run"]
    monkeypatch.setattr("pyserini_rerank.runs.rescoring.SHARD", 6)
    words[-1] = str(small / "first.run")
    plain, ran = TorchBackend.run, []

    def failing(self: Any, batch: Any) -> Any:
        ran.append(batch)
        if len(ran) == stop:
            raise RuntimeError("the device is gone")
        return plain(self, batch)

    monkeypatch.setattr(TorchBackend, "run", failing)
    stop = 1
    assert run(monkeypatch, *words) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.run"]
    stop = 3
    assert run(monkeypatch, *words) == 1
    assert json.loads((tmp_path / "x.run.partial" / "state.json").read_text())["commits"] == 1
    assert run(monkeypatch, *words) == 0 and len(ran) == 5, "three batches, of which one failed twice"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.run", "x.run", "x.run.json"]


MAKE = """
import sys, time
from pathlib import Path
from pyserini_rerank.files.cache import made_once
def make(folder):
    print("making", flush=True)
    time.sleep(float(sys.argv[1]))
    (folder / "made").write_text("by another one")
made_once("thing", make)
"""


@pytest.mark.slow
def test_a_cache_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Who comes second waits for the first, and takes over where that is killed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for seconds, kill in ((1, False), (600, True)):
        first = subprocess.Popen([sys.executable, "-c", MAKE, str(seconds)], stdout=subprocess.PIPE, text=True)
        assert first.stdout and first.stdout.readline() == "making\n"
        if kill:
            threading.Timer(0.5, first.kill).start()
        folder = made_once("thing", lambda folder: (folder / "made").write_text("by me") and None)
        assert (folder / "made").read_text() == ("by me" if kill else "by another one")
        assert f"thing is being written by process {first.pid} on" in capsys.readouterr().err
        first.communicate()
        (folder / "made").unlink()
        folder.rmdir()
    assert not list((tmp_path / "pyserini-rerank").glob(".thing*"))


def test_threads_exclude_each_other_as_well(tmp_path: Path) -> None:
    inside, most = 0, 0

    def hold() -> None:
        nonlocal inside, most
        with held(tmp_path / "x", tmp_path / "x", wait=True):
            inside += 1
            most = max(most, inside)
            inside -= 1

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == 1 and not list(tmp_path.iterdir())


@pytest.mark.stress
def test_the_same_command_twice_at_once(tmp_path: Path) -> None:
    """One writes it, the other says so; what is there is whole."""
    folder = write_experiment(tmp_path, queries=200, hits=100)
    command = [sys.executable, "-m", "pyserini_rerank", *arguments(folder, "twice.run")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert sum("twice.run is being written by process" in text or "twice.run exists" in text for text in said) == 1
    lines = (folder / "twice.run").read_text().splitlines()
    assert len(lines) == len({tuple(line.split()[:3]) for line in lines}) == 20_000


@pytest.mark.parametrize("name", ["notes.txt", "a folder", "outline.md"])
def test_files_of_ones_own_in_the_folder_are_not_deleted(small: Path, name: str, monkeypatch: Any, capsys: Any) -> None:
    mine = small / "mine.run.partial" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine") if "." in name else mine.mkdir()
    assert run(monkeypatch, *arguments(small, "mine.run")) == 1
    assert f"mine.run.partial holds {name!r}, and is deleted when the output is complete" in capsys.readouterr().err
    assert mine.exists()
    shutil.rmtree(mine.parent)
