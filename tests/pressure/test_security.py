"""Files and answers of others: none of their code is run, nothing of theirs is written elsewhere, no key is shown."""

import ast
import gzip
import io
import json
import os
import shutil
import subprocess
import sysconfig
import tarfile
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
import torch
from package_index import skip_or_fail
from pyserini_rerank.experiments.conditions import load_conditions
from pyserini_rerank.runs.official_candidates import OfficialCandidates
from pyserini_rerank.runs.provenance import provenance
from tiny_checkpoints import build, read_weights, weights_file
from transformers import AutoConfig

TINY = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
NBOOST = "nboost/pt-tinybert-msmarco"
BACKENDS = ["torch", "sentence-transformers"]


# Code in a checkpoint


class Run:
    """Unpickled, it makes a folder through the shell."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> Any:
        return os.system, (f"mkdir {self.sign}",)


def evil(file: Path, sign: Path, weights: Any = None) -> None:
    """Write a .bin that makes a sign where it is unpickled, and make sure that it does."""
    torch.save({**(weights or {}), "extra": Run(sign)}, file)
    torch.load(file, weights_only=False)
    assert sign.is_dir()
    sign.rmdir()


@pytest.mark.parametrize("backend", BACKENDS)
def test_code_in_a_bin_is_refused_and_not_run(backend: str, tmp_path: Path) -> None:
    folder, sign = build(NBOOST, tmp_path), tmp_path / "sign"
    evil(weights_file(folder), sign, read_weights(weights_file(folder)))
    with pytest.raises(ValueError) as error:
        pyserini_rerank.load(folder, backend=backend, device="cpu").score("flea", ["cat"])
    assert str(folder) in str(error.value) and len(str(error.value).splitlines()) == 1
    assert not sign.exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_safetensors_come_first(backend: str, tmp_path: Path) -> None:
    """And what lies beside them is not unpickled, whatever it is called."""
    folder, sign = build(TINY, tmp_path), tmp_path / "sign"
    with pyserini_rerank.load(folder, backend=backend, device="cpu") as reranker:
        right = reranker.score("flea", ["the cat", "a dog"])
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "model.pkl"):
        evil(folder / name, sign)
    with pyserini_rerank.load(folder, backend=backend, device="cpu") as reranker:
        assert np.array_equal(reranker.score("flea", ["the cat", "a dog"]), right)
        assert reranker.backend and reranker.backend.fingerprint  # which reads them all
    assert not sign.exists()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model_type", ["bert", "of-its-own"])
def test_a_repositorys_own_code_is_not_imported(
    backend: str, model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is anybody asked whether it may be."""
    folder, sign = build(TINY, tmp_path), tmp_path / "sign"
    (folder / "own.py").write_text(
        f"import os\nfrom transformers import BertConfig\nos.mkdir({str(sign)!r})\nclass Config(BertConfig): pass\n"
    )
    own = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    for name, more in (
        ("config.json", {"model_type": model_type, "auto_map": own}),
        ("tokenizer_config.json", {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}),
    ):
        facts = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**facts, **more}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody is asked"))
    try:
        with pyserini_rerank.load(folder, backend=backend, device="cpu") as reranker:
            reranker.score("flea", ["cat"])
    except (ValueError, OSError) as error:
        assert str(folder) in str(error)
    assert not sign.exists()
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    AutoConfig.from_pretrained(folder, trust_remote_code=True)  # the trap is real
    assert sign.exists()


def test_yaml_is_data(tmp_path: Path) -> None:
    file, sign = tmp_path / "conditions.yaml", tmp_path / "sign"
    file.write_text(f"mine: !!python/object/apply:os.mkdir ['{sign}']\n")
    with pytest.raises(ValueError, match="does not read as conditions"):
        load_conditions(file)
    assert not sign.exists()


#: Calls that run what they read, or write where it says.
NEVER = {
    "eval", "exec", "pickle.load", "pickle.loads", "os.system", "yaml.load", "yaml.unsafe_load", "np.load", "extract",
    "extractall", "unpack_archive",
}  # fmt: skip
SAFE = {
    "torch.load": ("weights_only", True),
    "from_pretrained": ("trust_remote_code", False),
    "CrossEncoder": ("trust_remote_code", False),
}


def test_the_source_has_no_call_that_trusts_a_file() -> None:
    root = Path(pyserini_rerank.__file__).parent
    seen = []
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            given = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            # A model's own eval() turns its dropout off.
            names = {name, name.rpartition(".")[2]} - {"eval" if "." in name else ""}
            assert not names & NEVER, f"{path}:{node.lineno}: {name}"
            assert not given.get("shell") and not given.get("trust_remote_code"), f"{path}:{node.lineno}"
            for safe in names & SAFE.keys():
                option, value = SAFE[safe]
                assert given.get(option) is value, f"{path}:{node.lineno}: {name} without {option}={value}"
                seen.append(safe)
    assert {*seen} == {*SAFE}


# Paths in archives


def below(folder: Path) -> dict[str, Any]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


@pytest.mark.parametrize("kind", ["above", "absolute", "link", "hard link", "device", "folder"])
def test_an_archive_cannot_write_elsewhere(kind: str, tmp_path: Path) -> None:
    """Its names mean nothing: the first file that it has is read as it streams by."""
    work, victim = tmp_path / "work", tmp_path / "victim"
    work.mkdir()
    victim.write_text("mine")
    line = b"q1\td1\twhat is a flea?\tan insect\n"
    member = tarfile.TarInfo({"above": "../victim", "absolute": str(victim), "folder": "../new"}.get(kind, "x"))
    types = {
        "link": tarfile.SYMTYPE,
        "hard link": tarfile.LNKTYPE,
        "device": tarfile.FIFOTYPE,
        "folder": tarfile.DIRTYPE,
    }
    member.type, member.linkname = types.get(kind, tarfile.REGTYPE), str(victim)
    with tarfile.open(work / "top.tar.gz", "w:gz") as tar:
        if kind in ("above", "absolute"):
            member.size = len(line)
            tar.addfile(member, io.BytesIO(line))
        else:
            tar.addfile(member)
            through = tarfile.TarInfo("x/victim" if kind == "link" else "y")
            through.size = len(line)
            tar.addfile(through, io.BytesIO(line))
    before = below(tmp_path)
    [(qid, [hit])] = OfficialCandidates(work / "top.tar.gz", work)
    assert (qid, hit.docid, hit.text) == ("q1", "d1", "an insect")
    after = below(tmp_path)
    assert {path: after[path] for path in before} == before
    assert after.keys() - before.keys() == {str(work / "candidates.tsv")}


def test_an_archive_without_a_file(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "top.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("folder")
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
    with pytest.raises(ValueError, match=r"top.tar.gz is an archive without a file: fetch it again"):
        OfficialCandidates(tmp_path / "top.tar.gz", tmp_path)


def test_an_archive_whose_checksum_is_wrong(tmp_path: Path) -> None:
    """tarfile alone does not look at it."""
    line = b"q1\td1\twhat is a flea?\tan insect\n"
    unzipped = io.BytesIO()
    with tarfile.open(fileobj=unzipped, mode="w:") as tar:
        member = tarfile.TarInfo("top.tsv")
        member.size = len(line)
        tar.addfile(member, io.BytesIO(line))
    data = bytearray(gzip.compress(unzipped.getvalue()))
    data[-6] ^= 1
    (tmp_path / "top.tar.gz").write_bytes(data)
    with pytest.raises(ValueError, match="top.tar.gz is damaged .CRC check failed"):
        OfficialCandidates(tmp_path / "top.tar.gz", tmp_path)


# Keys


@pytest.mark.parametrize("filler", [0, 150, 190, 195, 330, 360, 380, 390])
@pytest.mark.parametrize("field", ["index", "score", "error"])
def test_no_part_of_a_key_is_shown(filler: int, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is, and wherever an error is cut."""
    key = "".join(f"{number:03x}-" for number in range(0x100, 0x140))
    monkeypatch.setenv("MY_KEY", key)
    said = "x" * filler + key
    answer = {"error": said} if field == "error" else [{"index": 0, "score": 1.0, field: said}]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            data = json.dumps(answer).encode()
            self.send_response(401 if field == "error" else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=[0.005], daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        reranker = pyserini_rerank.load(url, backend="http", api="tei", key_env="MY_KEY", retries=0)
        with pytest.raises(ValueError) as error:
            reranker.score("flea", ["cat"])
    finally:
        server.shutdown()
        server.server_close()
    shown = "".join(traceback.format_exception(error.value)) + json.dumps(provenance(reranker)) + repr(vars(reranker))
    assert "xxx" in shown or not filler
    assert not [number for number in range(0, len(key) - 8, 4) if key[number : number + 8] in shown]
    assert len(str(error.value)) < 500


# Known vulnerabilities


@pytest.mark.stress
@pytest.mark.network
@pytest.mark.skipif(not shutil.which("pip-audit"), reason="pip-audit is not on PATH: `pipx install pip-audit`")
def test_no_dependency_has_a_known_vulnerability() -> None:
    """Of those that are installed here. Asks PyPI itself: an index that mirrors it may know of none."""
    command = ["pip-audit", "--path", sysconfig.get_path("purelib"), "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        skip_or_fail("what pip-audit asks it", done)
    found = json.loads(done.stdout)["dependencies"]
    asked = [one for one in found if "vulns" in one]
    if not asked:
        pytest.skip(f"pip-audit found out nothing of {len(found)} packages: {found[0]['skip_reason']:.200}")
    print(f"{len(asked)} of {len(found)} packages audited")
    assert not {one["name"]: [known["id"] for known in one["vulns"]] for one in asked if one["vulns"]}
