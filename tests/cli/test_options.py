"""Options of a backend on the command line, and what a command says of those that there are not."""

import pytest
from experiment import NAME, arguments, run, write_experiment
from pyserini_rerank.cli.options import options_of


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return write_experiment(tmp_path_factory.mktemp("options"), queries=2, hits=4)


def test_values_are_yamls():
    given = ["api=tei", "timeout=1e1", "retries=0", "fingerprint=2024-01-01", "model=", "x=true", "y=a: b: [", "z=1=2"]
    assert options_of([*given, "device=[cuda:0, cuda:1]"], {"dtype": "float32", "max_length": None}) == {
        **{"dtype": "float32", "api": "tei", "timeout": 10.0, "retries": 0, "fingerprint": "2024-01-01", "model": None},
        **{"x": True, "y": "a: b: [", "z": "1=2", "device": ["cuda:0", "cuda:1"]},
    }
    assert options_of(None, {"dtype": None}) == {}


@pytest.mark.parametrize("given", ["api", "=tei", "", "api =tei", "a-b=1", "backend=onnx", "cache=x", "dtype=int8"])
def test_what_is_no_option(given):
    with pytest.raises(ValueError, match=r"^--option .*: ") as error:
        options_of([given], {"dtype": "float32"})
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ValueError, match="--option a=2: the a is given twice"):
        options_of(["a=1", "a=2"], {})
    with pytest.raises(ValueError, match=r"^--reranker-option api: give NAME=VALUE"):
        options_of(["api"], {}, "--reranker-option")


HTTP = ["--backend", "http", "--option", "retries=0"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--option", "thread=3"], "the backend 'torch' has no option 'thread': there are "),
        (["--option", "threads=many"], "threads='many': give a number of threads"),
        (["--option", "nothing"], "--option nothing: give NAME=VALUE"),
        (["--backend", "onnx", "--option", "device=cpu"], "the backend 'onnx' has no option 'device'"),
        (HTTP, "the backend 'http' needs the option 'api'"),
        (["--option", "processes=2"], "the backend 'torch' has no option 'processes'"),
        ([*HTTP, "--option", "api=tei", "--cache", "scores"], "pass fingerprint="),
        ([*HTTP, "--option", "api=tei", "--option", "timeout=soon"], "timeout='soon'"),
        ([*HTTP, "--option", "api=tei", "--option", "retries=1.5"], "retries=1.5"),
        ([*HTTP, "--option", "api=[tei]"], "api=['tei']: there are tei, "),
        (
            [*HTTP, "--option", "api=tei", "--option", "key_env=5"],
            "key_env=5: give the name of an environment variable",
        ),
        (["--option", "max_length=long"], "max_length is 'long': give a whole number"),
        (["--option", "head=[margin]"], "head=['margin']: there are logit, margin"),
    ],
)
def test_what_cannot_be_is_one_line(experiment, tmp_path, monkeypatch, capsys, more, said):
    monkeypatch.chdir(tmp_path)
    words = arguments(experiment, "never.run", *more)
    if "onnx" in more or "http" in more:
        del words[words.index("--device") : words.index("--device") + 2]
    if "http" in more:
        words[words.index("--model") + 1] = "http://localhost:9"
    assert run(monkeypatch, *words) == 1
    error = capsys.readouterr().err
    assert error.startswith("pyserini-rerank: ") and said in error and len(error.splitlines()) == 1


@pytest.mark.stress
def test_auto_takes_the_option_that_torch_alone_has(experiment, tmp_path, monkeypatch, capsys):
    from pyserini_rerank import automatic, load

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    few = automatic.questions()
    monkeypatch.setattr(automatic, "questions", lambda: tuple(part[:40] for part in few[:2]) + few[2:])
    with load(experiment / NAME, backend="auto", device=["cpu"], threads=1) as reranker:
        assert len(reranker.score("flea", ["cat", "dog"])) == 2
    said = capsys.readouterr().err
    assert "onnx float32 " in said and "cannot: " not in said
    with pytest.raises(TypeError, match="has no option 'thread'"):
        load(experiment / NAME, backend="auto", thread=1)
