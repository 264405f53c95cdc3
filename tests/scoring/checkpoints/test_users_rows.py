"""Checkpoints that a user describes in a file of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyserini_rerank
import pytest
from experiment import NAME, arguments, run, write_experiment
from pyserini_rerank.scoring.architectures.registry import FAMILIES as OF_REGISTRY
from pyserini_rerank.scoring.checkpoints import catalogue as module
from pyserini_rerank.scoring.checkpoints.catalogue import FAMILIES, catalogue, of_the_card, row_of, users_file
from tiny_checkpoints import build

NBOOST = "nboost/pt-bert-base-uncased-msmarco"
TEXTS = ["Berlin is a city", "the museum of the flea", "a dog"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "checkpoints.yaml"))
    return tmp_path / "checkpoints.yaml"


def scores(folder: Path, **options: Any) -> tuple[list[float], str]:
    with pyserini_rerank.load(folder, device="cpu", **options) as reranker:
        return reranker.score("berlin", TEXTS).tolist(), reranker.fingerprint


def test_a_row_is_read_as_one_of_the_package(file: Path, tmp_path: Path) -> None:
    folder = build(NBOOST, tmp_path / "known")
    mine = folder.rename(tmp_path / "mine")
    file.write_text("other/row:")
    with pytest.raises(ValueError, match="2 labels and nothing says which means relevant"):
        scores(mine)
    wanted = scores(mine, known_as=NBOOST)
    file.write_text("me/reranker: {type: bert, head: margin, lower_case: true, aliases: [me/old]}\n")
    assert scores(mine, known_as="me/reranker") == scores(mine, known_as="me/old") == wanted
    (tmp_path / "me").mkdir()
    assert scores(mine.rename(tmp_path / "me" / "reranker")) == wanted
    assert len(of_the_card()) == 15 and row_of("me/old") is catalogue()["me/reranker"]


def test_a_changed_row_is_noticed(file: Path, tmp_path: Path) -> None:
    folder = build(NBOOST, tmp_path / "known").rename(tmp_path / "mine")
    found = {}
    for facts in ("{type: bert, head: margin, lower_case: true}", "{type: bert, head: margin, lower_case: false}"):
        file.write_text(f"me/reranker: {facts}\n")
        found[facts] = scores(folder, known_as="me/reranker")
    file.write_text(
        "me/reranker: {type: bert, head: margin, lower_case: true, aliases: [a], published: {dl19: 70.5}}\n"
    )
    one, other = found.values()
    assert one[1] != other[1]
    assert scores(folder, known_as="me/reranker") == one, "what changes no score changes no fingerprint"
    assert len(of_the_card()) == 15


def test_a_run_that_was_begun_with_another_row_does_not_go_on(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pyserini_rerank.runs import rescoring

    write_experiment(tmp_path, 4, 6)
    words = arguments(tmp_path, "out.run", "--option", "known_as=me/reranker")
    file.write_text("me/reranker: {lower_case: true}")
    monkeypatch.setattr(rescoring, "SHARD", 6)
    score = rescoring.Scorer.score
    asked = []

    def stop(self: Any, passages: Any) -> Any:
        asked.append(passages)
        if len(asked) == 3:
            raise RuntimeError("stopped")
        return score(self, passages)

    monkeypatch.setattr(rescoring.Scorer, "score", stop)
    assert run(monkeypatch, *words) == 1 and "stopped" in capsys.readouterr().err
    file.write_text("me/reranker: {lower_case: false}")
    assert run(monkeypatch, *words) == 1
    assert "was begun with another checkpoint or dtype" in capsys.readouterr().err
    file.write_text("me/reranker: {lower_case: true, aliases: [me/other]}")
    assert run(monkeypatch, *words) == 0 and (tmp_path / NAME).is_dir()
    assert len((tmp_path / "out.run").read_text().splitlines()) == 24


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert users_file() is None and "me/reranker" not in catalogue()
    path = tmp_path / "pyserini-rerank" / "checkpoints.yaml"
    path.parent.mkdir()
    path.write_text("me/reranker: {}")
    assert users_file() == path and "me/reranker" in catalogue()
    path.write_text("")
    assert "me/reranker" not in catalogue(), "it is read as it is now"
    for named in ("no/such.yaml", str(tmp_path), "~no such user/rows.yaml"):
        monkeypatch.setenv(module.VARIABLE, named)
        with pytest.raises(FileNotFoundError, match=f"^PYSERINI_RERANK_CHECKPOINTS names {named}, which is no file"):
            catalogue()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="takes another user's place")
@pytest.mark.parametrize("home", [None, "closed"])
def test_a_user_without_a_home_of_their_own_has_no_rows(home: str | None, tmp_path: Path) -> None:
    """One of a container's who is in no list of users, and one who has kept the home of another."""
    (tmp_path / "closed").mkdir(mode=0o700)
    script = (
        "import os; from pyserini_rerank.scoring.checkpoints.catalogue import catalogue; catalogue()\n"
        "os.setuid(54321); print(len(catalogue()))"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", module.VARIABLE)}
    environment |= {"HOME": str(tmp_path / home)} if home else {}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert int(done.stdout) == len(catalogue()) - len(module.users_rows()), done.stderr


def test_models_lists_them(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('me/prompted: {family: seq2seq, template: ["{query} {document}"], answers: ["no", "yes"]}')
    assert run(monkeypatch, "models", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["me/prompted"] == {"name": "me/prompted", "family": "seq2seq", "file": str(file)}
    assert [row for row in rows.values() if "file" in row] == [rows["me/prompted"]]
    assert run(monkeypatch, "models") == 0
    shown = capsys.readouterr().out
    assert shown.index(" yours ") < shown.index("me/prompted") < shown.index(f"Yours are of {file}.\n")


def test_brackets_are_no_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("[", "old]", "checkpoints.yaml")
    file.parent.mkdir(parents=True)
    file.write_text('"[bold]/mine": {}')
    monkeypatch.setenv(module.VARIABLE, str(file))
    assert run(monkeypatch, "models") == 0
    shown = capsys.readouterr().out
    assert "[/old]/checkpoints.yaml" in shown and "[bold]/mine" in shown


def test_the_families_are_those_that_are_loaded() -> None:
    assert set(FAMILIES) == set(OF_REGISTRY)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("me/one: {haed: margin}", "the row of me/one has no field 'haed': there are family, head, template"),
        ("me/one: {head: softmax}", "the row of me/one is wrong, its head is 'softmax': there are logit, margin"),
        ("me/one: {head: [margin]}", "its head is ['margin']"),
        ("me/one: {family: encoder}", "its family is 'encoder': there are seq2seq, decoder, late"),
        ("me/one: {family: late}", "it has no body, which says where"),
        ("me/one: {family: late, head: logit}", "classifiers alone have a head"),
        ("me/one: {body: {type: bert, prefix: b}}", "its body is {'type': 'bert', 'prefix': 'b'}: give type, prefix"),
        ("me/one: {body: {type: bert, prefix: b, linear: 3}}", "give type, prefix, linear"),
        ("me/one: {family: decoder, template: ['{query}'], answers: [a, b]}", "its template has not one {query} and"),
        (
            "me/one: {family: decoder, template: ['{query}{document}'], answers: [a, b, c]}",
            "its answers are ['a', 'b', 'c']: give the",
        ),
        ("me/one: {family: decoder, template: ['{query}{document}'], answers: [a, a]}", "its answers are ['a', 'a']"),
        ("me/one: {template: ['{query}{document}']}", "it has a template, answers or an instruction, and no family of"),
        (
            "me/one: {family: decoder, template: ['{query}{document}'], answers: [a, b], instruction: {default: x}}",
            "its instruction is {'default': 'x'}: give default and prompt",
        ),
        (
            "me/one: {family: decoder, template: ['{query}{document}'], answers: [a, b], "
            "instruction: {default: x, prompt: '{instruction}'}}",
            "its template and the prompt of its instruction have not one {instruction} each",
        ),
        (
            "me/one: {family: decoder, template: ['{instruction}{query}{document}'], answers: [a, b]}",
            "its template and the prompt of its instruction have not one {instruction} each",
        ),
        ("me/one: {parameters: many}", "its parameters is 'many'"),
        ("me/one: {longest: 1.5}", "its longest is 1.5"),
        ("me/one: {lower_case: yes}", "its lower_case is 'yes': give true or false"),
        ("me/one: {aliases: me/two}", "its aliases is 'me/two': give a list of texts"),
        ("me/one: {published: {dl19: good}}", "give figures by name"),
        ("me/one: margin", "the row of me/one is 'margin': give fields of family"),
        ("[me/one]", "is no mapping from names to rows"),
        ("me/one: {", "is no YAML: "),
        (f"{NBOOST}: {{}}", f"{NBOOST} is the name or alias of another row already: choose a different one."),
        (
            "me/one: {aliases: [cross-encoder/ms-marco-MiniLM-L6-v2]}",
            "L6-v2 is the name or alias of another row already",
        ),
        ("bundled: {}", "bundled is the name or alias of another row already"),
        ("{me/one: {aliases: [me/two]}, me/two: {}}", "me/two is the name or alias of another row already"),
    ],
)
def test_rows_that_are_none(written: str, message: str, file: Path, tmp_path: Path) -> None:
    file.write_text(written)
    for call in (catalogue, lambda: pyserini_rerank.load(tmp_path, device="cpu", known_as="me/one")):
        with pytest.raises(ValueError) as error:
            call()
        assert message in str(error.value) and str(file) in str(error.value) and "\n" not in str(error.value)
