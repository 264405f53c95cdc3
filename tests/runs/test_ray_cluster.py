"""`rerank --ray` on a real cluster of this machine: the bytes are the plain command's, whoever dies on the way."""

import gzip
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from experiment import NAME, WORDS, arguments, run
from pyserini_rerank import load
from pyserini_rerank.counts import CutWarning, EmptyDocumentWarning, EmptyQueryWarning
from pyserini_rerank.runs.ray_cluster import Cluster, RemoteScorer, _merged
from pyserini_rerank.runs.rescoring import Reader, RerankSettings
from tiny_checkpoints import build

COMMAND = [sys.executable, "-m", "pyserini_rerank"]
OTHER = "cross-encoder/ms-marco-MiniLM-L-2-v2"
SCORING, READING = "ray::RemoteScorer.score", "ray::Reader.read"


def write_experiment(folder: Path, queries: int) -> Path:
    """A collection, topics, a run of a hundred hits a query, and a tiny model; passages are short."""
    numbers = random.Random(1)
    texts = [f"d{i}\t{' '.join(numbers.choices(WORDS, k=numbers.randint(2, 9)))}\n" for i in range(500)]
    (folder / "docs.jsonl").write_text(
        "".join(
            json.dumps(dict(zip(("id", "contents"), line.strip().split("\t"), strict=True))) + "\n" for line in texts
        )
    )
    (folder / "topics.tsv").write_text("".join(f"q{i}\t{WORDS[i % 10]} {i}\n" for i in range(queries)))
    with (folder / "first.run").open("w") as file:
        for query in range(queries):
            found = enumerate(numbers.sample(range(500), 100), 1)
            file.writelines(f"q{query} Q0 d{i} {rank} {100 - rank} first\n" for rank, i in found)
    build(NAME, folder)
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """Three shards: one has 20,000 pairs."""
    return write_experiment(tmp_path_factory.mktemp("large"), 550)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("small"), 4)


@pytest.fixture(scope="module")
def plain(large) -> bytes:
    """What the command writes without Ray."""
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, *arguments(large, "plain.run")) == 0
    return (large / "plain.run").read_bytes()


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine with two cores, whatever it has; commands find it as any other."""
    with pytest.MonkeyPatch.context() as patch:
        # As the command sets it. Ray reads it when it is imported, and else takes SIGSEGV from this process's Java
        # for good, which a later test would die of.
        patch.setenv("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
        from ray.cluster_utils import Cluster

        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        patch.setenv("RAY_ADDRESS", started.address)
        yield started
        started.shutdown()


@pytest.fixture
def one_scorer(monkeypatch):
    """Both cores for one scorer, since each takes a while to start."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    yield
    torch.set_num_threads(before)


@pytest.fixture
def start():
    """Start a command in a group of its own, which Ctrl-C goes to as a terminal sends it."""
    started = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def workers(title: str) -> list[psutil.Process]:
    """The cluster's processes that do this now: Ray writes into their titles what they do."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith(title):
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def wait_for(condition, process: subprocess.Popen[str]):
    """Wait until it holds, and give what it gives; the command must not end before."""
    while not (found := condition()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    return found


def last_line_while_killing(title: str, process: subprocess.Popen[str]) -> str:
    """What the command ends with, in an error, when whoever does this is killed."""
    while process.poll() is None:
        for worker in workers(title):
            worker.kill()
        time.sleep(0.1)
    assert process.returncode == 1
    return process.stderr.read().strip().splitlines()[-1]


def commits(output: Path) -> int:
    state = output.with_name(f"{output.name}.partial") / "state.json"
    return json.loads(state.read_text())["commits"] if state.exists() else 0


@pytest.mark.stress
def test_workers_that_are_killed_are_replaced_and_no_byte_changes(start, large, plain, cluster):
    process = start(*arguments(large, "killed.run", "--ray"))
    wait_for(lambda: workers(READING), process)[0].kill()
    wait_for(lambda: commits(large / "killed.run"), process)
    wait_for(lambda: workers(SCORING), process)[0].kill()
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert (large / "killed.run").read_bytes() == plain
    reports = [json.loads((large / f"{name}.run.json").read_text()) for name in ("plain", "killed")]
    different = {name for name in reports[0] if reports[0][name] != reports[1][name]}
    assert different <= {"device", "finished", "seconds", "pairs_per_second", "known_scores"}
    assert reports[1]["device"] == f"2 x {reports[0]['device']}"


@pytest.mark.stress
def test_a_combination(small, cluster, monkeypatch, one_scorer):
    """What the command line says of it reaches the scorers, and they make of it what the plain command does."""
    stages = yaml.safe_dump([[{"rrf": str(small / NAME)}, 50], [str(build(OTHER, small)), 20]], default_flow_style=True)
    words = arguments(small, "plain.run", "--model", stages)
    assert run(monkeypatch, *words) == 0
    words[words.index(str(small / "plain.run"))] = str(small / "ray.run")
    assert run(monkeypatch, *words, "--ray") == 0
    assert (small / "ray.run").read_bytes() == (small / "plain.run").read_bytes()
    reports = [json.loads((small / f"{name}.run.json").read_text()) for name in ("plain", "ray")]
    assert reports[0]["model"] == reports[1]["model"] and reports[0]["model"].startswith("cascade(ensemble(")
    assert reports[0]["counts"] == reports[1]["counts"] and reports[0]["counts"]["pairs"] == 4 * 70


def official(small: Path, folder: Path) -> list[str]:
    """The run as MS MARCO gives candidates out: packed, with their texts, in no order; one passage is empty."""
    texts = {row["id"]: row["contents"] for row in map(json.loads, (small / "docs.jsonl").open())}
    topics = dict(line.rstrip("\n").split("\t") for line in (small / "topics.tsv").open())
    found = [(line.split()[0], line.split()[2]) for line in (small / "first.run").open()]
    random.Random(1).shuffle(found)
    texts[found[7][1]] = ""
    lines = (f"{qid}\t{docid}\t{topics[qid]}\t{texts[docid]}\n" for qid, docid in found)
    (folder / "top1000.tsv.gz").write_bytes(gzip.compress("".join(lines).encode()))
    return ["rerank", "--run", str(folder / "top1000.tsv.gz"), "--device", "cpu"]


def official_with_a_model(small: Path, folder: Path) -> list[str]:
    return [*official(small, folder), "--model", str(small / NAME)]


def official_with_a_cascade_that_scores_all_and_an_option(small: Path, folder: Path) -> list[str]:
    stages = f"[[{small / NAME}, 100], [{build(OTHER, folder)}, 20]]"
    return [*official(small, folder), "--model", stages, "--option", "max_length=9"]


def a_blank_query_and_windows_of_a_cascade(small: Path, folder: Path) -> list[str]:
    topics = (small / "topics.tsv").read_text().splitlines()
    (folder / "topics.tsv").write_text("\n".join([topics[0], "q1\t ", *topics[2:]]))
    stages = f"[[{small / NAME}, 50], [{build(OTHER, folder)}, 20]]"
    (folder / "windows.yaml").write_text(f"windows:\n  reranker: {stages}\n  size: 4\n  stride: 2\n")
    return arguments(small, "", "--topics", "topics.tsv", "--model", "windows.yaml")


@pytest.mark.stress
@pytest.mark.parametrize(
    ("words_of", "warning"),
    [
        (official_with_a_model, EmptyDocumentWarning),
        (official_with_a_cascade_that_scores_all_and_an_option, CutWarning),
        (a_blank_query_and_windows_of_a_cascade, EmptyQueryWarning),
    ],
)
@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.EmptyDocumentWarning")
def test_rarer_commands(words_of, warning, small, cluster, one_scorer, tmp_path, monkeypatch):
    """In a folder of their own, which the relative paths start from."""
    monkeypatch.chdir(tmp_path)
    words = words_of(small, tmp_path)
    for name, more in (("plain", []), ("ray", ["--ray"])):
        with pytest.warns(warning):
            assert run(monkeypatch, *words, "--output", f"{name}.run", *more) == 0
    assert Path("ray.run").read_bytes() == Path("plain.run").read_bytes()
    reports = [json.loads(Path(f"{name}.run.json").read_text()) for name in ("plain", "ray")]
    different = {name for name in reports[0] if reports[0][name] != reports[1].get(name)}
    assert different <= {"device", "finished", "seconds", "pairs_per_second"}


@pytest.mark.stress
@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine's own GPUs would be among those of the cluster")
def test_a_scorer_for_each_gpu(small, cluster, one_scorer, tmp_path):
    """Ray takes a machine's word for its GPUs; of them torch sees those that Ray names in its environment."""
    model, seen = small / NAME, tmp_path / "seen"

    def made(cache):  # in the scorer's process
        with seen.open("a") as file:
            file.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES', '')}\n")
        return load(model, device="cpu", cache=cache)

    machine = cluster.add_node(num_cpus=2, num_gpus=2)
    try:
        with Cluster(Reader(RerankSettings(), lambda: None), made, tmp_path / "scores") as scorers:
            assert scorers.facts["device"].startswith("2 x ")
    finally:
        cluster.remove_node(machine)
    assert sorted(seen.read_text().splitlines()) == ["0", "1"]


@pytest.mark.stress
def test_ctrl_c_is_clean_and_the_plain_command_goes_on(start, large, plain, cluster, monkeypatch):
    process = start(*arguments(large, "ctrl-c.run", "--ray"))
    wait_for(lambda: commits(large / "ctrl-c.run"), process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == (
        "pyserini-rerank: interrupted; the same command goes on from what was committed."
    )
    assert "Traceback" not in errors
    assert 1 <= commits(large / "ctrl-c.run") < 3
    psutil.wait_procs(workers("ray::RemoteScorer"), timeout=30)
    assert not workers("ray::RemoteScorer")
    assert run(monkeypatch, *arguments(large, "ctrl-c.run")) == 0
    assert (large / "ctrl-c.run").read_bytes() == plain


@pytest.mark.stress
def test_a_driver_that_is_killed_takes_its_own_cluster_along(start, large, plain, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "local")  # not the other tests' cluster, which it would find without an address
    process = start(*arguments(large, "driver.run", "--ray"))
    wait_for(lambda: commits(large / "driver.run"), process)
    started = psutil.Process(process.pid).children(recursive=True)
    started = [one for one in started if "Agent" not in one.name()]  # which look now and then whether they are needed
    assert any("raylet" in " ".join(one.cmdline()) for one in started)
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(started, timeout=60)
    assert not left
    # In a process of its own as well: in one that was in another cluster before, Ray loses its actors.
    again = start(*arguments(large, "driver.run", "--ray"))
    _, errors = again.communicate()
    assert again.returncode == 0, errors
    assert (large / "driver.run").read_bytes() == plain


@pytest.mark.stress
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_machine_that_is_lost(threads, start, large, cluster, monkeypatch):
    """Its scorer finds no other place, so that its shards go to those that are left; with two threads it has none.

    Its reader is started elsewhere, once Ray has noticed.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", threads)  # which a score's last bit depends on
    start(*arguments(large, f"alone{threads}.run")).communicate()
    output = large / f"machine{threads}.run"
    lost = cluster.add_node(num_cpus=1)
    try:
        process = start(*arguments(large, output.name, "--ray"))
        wait_for(lambda: commits(output), process)
    finally:
        cluster.remove_node(lost, allow_graceful=False)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert output.read_bytes() == (large / f"alone{threads}.run").read_bytes()


@pytest.mark.stress
def test_a_shard_that_kills_its_scorers_ends_in_an_error(start, large, cluster, one_scorer):
    assert last_line_while_killing(SCORING, start(*arguments(large, "poison.run", "--ray"))) == (
        "pyserini-rerank: 4 processes have died scoring the same shard: see Ray's logs."
    )


@pytest.mark.stress
def test_a_shard_that_kills_its_readers_ends_in_an_error(start, large, cluster, one_scorer):
    last = last_line_while_killing(READING, start(*arguments(large, "unread.run", "--ray")))
    assert last.startswith("pyserini-rerank: a process of the cluster failed: The actor ")


#: Java is there before Ray; each wrong call is a signal that Java uses itself.
SCRIPT = """
import sys
import pyserini_rerank
from pyserini.search.lucene import LuceneSearcher
from jnius import autoclass, JavaException
from pyserini_rerank.cli.main import main

LuceneSearcher(sys.argv[1]).close()
sys.argv[:] = sys.argv[2:]
try:
    main()
except SystemExit as stopped:
    code = stopped.code
pattern = autoclass("java.util.regex.Pattern")
caught = 0
for _ in range(20_000):
    try:
        pattern.matches("a*", None)
    except JavaException:
        caught += 1
print(caught, code)
"""


@pytest.mark.stress
def test_an_index_and_java_beside_ray(small, documents, lucene_index, cluster, one_scorer, tmp_path, monkeypatch):
    first = tmp_path / "first.run"
    first.write_text("".join(f"q0 Q0 {docid} 1 1.0 x\n" for docid in documents))
    words = ["rerank", "--run", str(first), "--topics", str(small / "topics.tsv"), "--index", lucene_index]
    words += ["--model", str(small / NAME), "--device", "cpu", "--max-length", "30", "--output"]
    with pytest.warns(CutWarning):
        assert run(monkeypatch, *words, str(tmp_path / "plain")) == 0
    command = [sys.executable, "-c", SCRIPT, lucene_index, "pyserini-rerank", *words, str(tmp_path / "ray"), "--ray"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "20000 0", done.stderr
    assert done.stderr.count(" were cut to ") == 1
    assert (tmp_path / "ray").read_bytes() == (tmp_path / "plain").read_bytes()


@pytest.mark.stress
@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.CutWarning")
def test_bm25_on_the_cluster(small, lucene_index, queries, cluster, one_scorer, tmp_path, monkeypatch):
    (tmp_path / "topics.tsv").write_text("".join(f"r{i}\t{query}\n" for i, query in enumerate(queries)))
    words = ["rerank", "--bm25", "0.82", "0.68", "--index", lucene_index, "--topics", str(tmp_path / "topics.tsv")]
    words += ["--depth", "30", "--model", str(small / NAME), "--device", "cpu", "--max-length", "30", "--output"]
    monkeypatch.setattr("pyserini_rerank.runs.bm25_run.SHARD", 60)  # two queries a shard
    assert run(monkeypatch, *words, str(tmp_path / "plain")) == 0
    assert run(monkeypatch, *words, str(tmp_path / "ray"), "--ray") == 0
    assert (tmp_path / "ray").read_bytes() == (tmp_path / "plain").read_bytes()


@pytest.mark.slow
def test_errors_are_the_plain_commands(small, cluster, one_scorer, monkeypatch, capsys):
    first = small / "first.run"
    whole = first.read_text()
    first.write_text(whole + "q3 Q0 zz 101 -1 first\n")
    said = []
    for more in ([], ["--ray"]):
        assert run(monkeypatch, *arguments(small, f"missing{len(more)}.run", *more)) == 1
        said.append(capsys.readouterr().err)
    first.write_text(whole)
    assert said[0] == said[1] and len(said[0].splitlines()) == 1
    assert "document zz of query q3 has no text in" in said[0]


def test_a_cluster_without_enough_cores(small, cluster, monkeypatch, capsys):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert run(monkeypatch, *arguments(small, "cores.run", "--ray")) == 1
    finally:
        torch.set_num_threads(before)
    assert capsys.readouterr().err == (
        "pyserini-rerank: no machine of the cluster has 3 cores: set OMP_NUM_THREADS to fewer.\n"
    )


def test_without_ray_it_says_what_to_install(small, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(monkeypatch, *arguments(small, "without.run", "--ray")) == 1
    assert capsys.readouterr().err == "pyserini-rerank: --ray needs Ray: pip install 'pyserini-rerank[ray]'.\n"


def test_another_machine_has_scores_of_its_own(small, tmp_path):
    """The folder may be one that both see over a network, where SQLite cannot share it."""
    made = partial(load, small / NAME, device="cpu")
    threads = torch.get_num_threads()
    for host, folder in (("elsewhere", f"scores.{platform.node()}"), (platform.node(), "scores")):
        assert not (tmp_path / folder).exists()
        scorer = RemoteScorer(RerankSettings(), made, tmp_path / "scores", host, Path.cwd(), threads)
        assert scorer.facts()["model"] == str(small / NAME)
        assert (tmp_path / folder).is_dir()
        scorer.scorer.reranker.close()


def test_machines_with_different_files_are_refused():
    one = {"model": "m", "fingerprint": "a", "versions": {"torch": "1"}, "device": "cuda: A"}
    assert _merged([one, one, {**one, "device": "cuda: B"}])["device"] == "2 x cuda: A, 1 x cuda: B"
    for other in ({"fingerprint": "b"}, {"versions": {"torch": "2"}}):
        with pytest.raises(
            ValueError, match=f"the machines of the cluster differ in the {next(iter(other))} of m: make"
        ):
            _merged([one, {**one, **other}])
