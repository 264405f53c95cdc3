"""`verify` on engines that are right, what it says of order and scale, its command, and bad input."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
import tiny_checkpoints
import tiny_families
from pyserini_rerank import AsyncReranker, verify
from pyserini_rerank.cli.main import app
from pyserini_rerank.scoring.checkpoints.bundled import folder as bundled_folder
from pyserini_rerank.scoring.rerank_apis import APIS
from pyserini_rerank.serving.rerank_server import rerank_app
from pyserini_rerank.verification.agreement import agreement
from pyserini_rerank.verification.corpus import corpus
from running import running
from test_wrong_servers import Engine, serving, sigmoid, swapped
from typer.testing import CliRunner, Result

NAME = "cross-encoder/ms-marco-MiniLM-L-2-v2"
#: A server of this package warns of long texts, and of those in scripts that the vocabulary lacks.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that is empty at first, for the graphs that are exported."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        shutil.copytree(bundled_folder(), folder / "pyserini-rerank" / bundled_folder().name)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.build(NAME, tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def engine(tiny: Path) -> Engine:
    return Engine(tiny)


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", ["torch", pytest.param("onnx", marks=pytest.mark.stress), "openvino", "sentence-transformers"]
)
def test_a_right_engine(backend: str, tiny: Path) -> None:
    result = verify(tiny, backend=backend, device="cpu")
    assert result.findings == [] and result.is_close and result.order.swaps == result.order.ties == 0, result
    assert result.largest < 1e-4 and result.order.tau > 0.999 and result.right[0] == "cuts"


@pytest.mark.parametrize(("backend", "dtype"), [("torch", "bfloat16"), ("openvino", "int8")])
def test_a_dtype_that_rounds_is_no_fault(backend: str, dtype: str, tiny: Path) -> None:
    """The random weights' scores lie so near to each other that int8 swaps some."""
    result = verify(tiny, backend=backend, dtype=dtype, device="cpu")
    assert result.findings == [] and result.order.tau > 0.9, result
    assert 1e-4 < result.mean < result.largest < 0.5


@pytest.mark.stress
@pytest.mark.parametrize(
    ("backend", "dtype", "most"),
    [
        ("onnx", "float32", 1e-4),
        ("openvino", "float32", 1e-4),
        ("sentence-transformers", "float32", 1e-4),
        ("torch", "float16", 0.1),
        ("torch", "bfloat16", 0.2),
        ("openvino", "bfloat16", 0.4),
        ("openvino", "int8", 0.5),
        ("onnx", "int8", 0.5),
    ],
)
def test_the_real_checkpoint_in_every_dtype(backend: str, dtype: str, most: float) -> None:
    result = verify("bundled", backend=backend, dtype=dtype, device="cpu")
    assert result.findings == [] and result.is_close and result.largest < most, result


@pytest.mark.stress
def test_the_real_checkpoint_that_is_cut_and_gives_probabilities() -> None:
    cut = AsyncReranker("bundled", max_length=128, device="cpu")
    with running(rerank_app(cut)) as url:
        result = verify("bundled", url, backend="http", api="cohere", device="cpu")
    cut.close()
    assert [finding.name for finding in result.findings] == ["cut at 128"] and not result.is_close, result


QUICK_KINDS = (tiny_families.MONOT5, tiny_families.GTE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.stress] * (name not in QUICK_KINDS)) for name in tiny_families.NAMES],
)
def test_every_kind_of_checkpoint(name: str, tmp_path: Path) -> None:
    """The faults are tried on each, since bfloat16 is not exact, and none is found."""
    result = verify(tiny_families.build(name, tmp_path), dtype="bfloat16", device="cpu")
    assert result.findings == [] and result.mean > 0, result


@pytest.mark.slow
def test_an_export_beside_its_checkpoint_and_another(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An .onnx file is right for the checkpoint that it was made from, and wrong for one with other weights."""
    pyserini_rerank.load(tiny, backend="onnx").close()
    assert not [record for record in caplog.records if record.levelname == "WARNING"], "the export says nothing"
    [graph] = Path(os.environ["XDG_CACHE_HOME"]).rglob("onnx-*/model.onnx")
    export = shutil.copytree(tiny, tmp_path / "export", ignore=shutil.ignore_patterns("*.safetensors"))
    for part in graph.parent.glob("model.onnx*"):
        shutil.copy(part, export)
    file = export / "model.onnx"
    assert verify(tiny, file, backend="onnx").findings == []
    other = verify(tiny_checkpoints.build(NAME, tmp_path, seed=1), file, backend="onnx")
    assert [finding.name for finding in other.findings] == ["unexplained"] and not other.is_close and not other.right


@pytest.mark.slow
@pytest.mark.parametrize("api", APIS)
def test_the_packages_own_server_in_each_api(api: str, tiny: Path) -> None:
    serving_tiny = AsyncReranker(tiny, device="cpu")
    with running(rerank_app(serving_tiny)) as url:
        result = verify(tiny, url, backend="http", api=api)
    serving_tiny.close()
    assert result.findings == [] and result.is_close and result.largest < 1e-4, result
    is_probability = result.expected.min() >= 0 and result.expected.max() <= 1
    assert is_probability == (api in ("jina", "cohere"))


@pytest.mark.parametrize(
    ("change", "names"), [(lambda scores: scores, {"no sigmoid"}), (lambda s: sigmoid(sigmoid(s)), {"two sigmoids"})]
)
def test_where_scores_from_0_to_1_are_expected(change: Any, names: set[str], tiny: Path, engine: Engine) -> None:
    with serving(lambda query, texts: change(engine(query, texts))) as url:
        result = verify(tiny, url, backend="http", api="jina")
    assert {finding.name for finding in result.findings} == names and result.is_close, result


@pytest.mark.slow
@pytest.mark.parametrize("change", [lambda scores: scores, sigmoid])
def test_scores_that_belong_to_other_documents(change: Any, tiny: Path, engine: Engine) -> None:
    with serving(lambda query, texts: change(engine(query, texts)), mixes=True) as url:
        result = verify(tiny, url, backend="http", api="tei")
    assert [finding.name for finding in result.findings][:1] == ["documents mixed up"] and not result.is_close, result


@pytest.mark.slow
def test_max_length_is_the_references_as_well(tiny: Path, engine: Engine) -> None:
    with serving(engine.with_(length=128)) as url:
        assert verify(tiny, url, backend="http", api="tei", max_length=128).findings == []
        [finding] = verify(tiny, url, backend="http", api="tei", max_length=256).findings
    assert finding.name == "cut at 128" and "not to 256" in finding.says


# ------------------------------------------------------------------------------------------------------------ the order


def test_order_by_hand() -> None:
    expected = np.array([3.0, 2.0, 1.0, 1.0, 5.0, 4.0])
    groups = [np.array([0, 1, 2, 3]), np.array([4, 5])]
    same = agreement(expected, expected, groups)
    assert (same.tau, same.compared, same.swaps, same.ties, same.is_close) == (1, 6, 0, 0, True)
    # 2 and 1 are swapped, 2 and the other 1 tie; the second query is turned round.
    other = agreement(expected, np.array([9.0, 0.0, 0.5, 0.0, 1.0, 2.0]), groups)
    assert (other.compared, other.swaps, other.ties, other.is_close) == (6, 2, 1, False)
    assert agreement(expected, np.zeros(6), groups).tau == 0
    assert agreement(np.arange(12.0), np.array([*range(11), 9.5]), [np.arange(12)]).is_close


def test_the_corpus_has_all_kinds() -> None:
    cases = corpus()
    kinds = Counter(case.kind for case in cases)
    assert kinds.keys() == {"short", "long", "case", "accents", "script", "special", "odd", "query", "repeated"}
    assert 60 <= len(cases) <= 100 and len({case.query for case in cases}) >= 10
    assert all(case.query.strip() and case.passage.strip() for case in cases)
    assert len({case.passage for case in cases}) < len(cases), "some texts come twice"
    assert any(len(case.query) > 1000 for case in cases) and any(len(case.passage) > 4000 for case in cases)


# ---------------------------------------------------------------------------------------------------------- the command


def test_the_command_on_a_right_engine(tiny: Path) -> None:
    done = run("--model", tiny, "--backend", "onnx")
    assert done.exit_code == 0
    first, difference, order, right, last = done.output.splitlines()
    assert first.startswith(f"{tiny}: onnx, float32") and first.endswith(
        "beside torch in float32, 89 pairs of 16 queries"
    )
    assert difference.startswith("difference ")
    assert order == "order        Kendall's tau 1.0000; of 215 pairs of passages 0 are swapped, 0 tied"
    assert right == "right        cuts, texts, documents, token types, special tokens, case, prompt, head, scale"
    assert last == "The order is the reference's."


@pytest.mark.slow
def test_the_command_on_a_wrong_server(tiny: Path, engine: Engine) -> None:
    with serving(swapped(engine)) as url:
        done = run("--model", tiny, "--backend", "http", "--url", url, "--option", "api=tei")
    assert done.exit_code == 1
    assert "fault        swapped: It put the passage where the query belongs" in done.output
    assert done.output.endswith("The order is NOT the reference's.\n")


def test_the_help_names_the_tolerance() -> None:
    assert "more than 2 in 100 pairs of passages" in " ".join(run("--help").output.replace("│", " ").split())


# ------------------------------------------------------------------------------------------------------------ bad input


BAD: dict[str, tuple[list[str], type[Exception], str]] = {
    "no such backend": (["--backend", "tei"], ValueError, "there is no backend 'tei': there are"),
    "no URL": (["--backend", "http", "--option", "api=tei"], ValueError, "--url is lacking, the URL of the server"),
    "no API": (["--backend", "http", "--url", "http://127.0.0.1:9"], TypeError, "needs the option 'api'"),
    "no server": (
        ["--backend", "http", "--url", "http://127.0.0.1:9", "--option", "api=tei", "--option", "retries=0"],
        ConnectionError,
        "http://127.0.0.1:9/rerank cannot be reached",
    ),
    "no option": (["--option", "speed=9"], TypeError, "has no option 'speed'"),
    "no file": (["--backend", "onnx", "--file", "nothing.onnx"], FileNotFoundError, "nothing.onnx is not there"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_of_one_line(case: str, tiny: Path) -> None:
    arguments, kind, says = BAD[case]
    with pytest.raises(kind, match=says) as error:
        run("--model", tiny, *arguments)
    assert "\n" not in str(error.value)


def test_a_reference_that_cannot_load(tiny: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    (broken / "model.safetensors").unlink()
    (broken / "config.json").write_text("{")
    engine = Engine(tiny)
    with serving(engine) as url, pytest.raises((OSError, ValueError), match="broken") as error:
        verify(broken, url, backend="http", api="tei")
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="is not there"):
        verify("/no/such/model")


def test_a_combination_is_no_checkpoint(tiny: Path) -> None:
    with pytest.raises(TypeError, match="verify each checkpoint on its own"):
        verify({"windows": str(tiny)})


def test_a_score_that_is_no_number(tiny: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(tiny, tmp_path / "nan"))
    tiny_checkpoints.change_weights(broken, lambda weights: weights["classifier.bias"].fill_(float("nan")))
    with pytest.raises(FloatingPointError, match="scored nan for 89 of 89 pairs, first for the query"):
        verify(tiny, broken)
