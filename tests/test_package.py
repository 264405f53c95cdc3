"""What is given away: the wheel and the sdist, installed where nothing of this folder is seen."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pyserini_rerank
import pytest

ROOT = Path(__file__).parents[1]
DATA = ("py.typed", "scoring/checkpoints.yaml", "experiments/conditions.yaml", "experiments/report.html")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel, built from the sdist, built from what git knows; the names of the files that git knows."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    try:
        known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git does not list this folder's files: {error}")
    names = [name for name in known.split("\0") if name and (ROOT / name).is_file()]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    script = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=source, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *options, "--wheel-dir", folder, sdist], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *options, "--target", folder / "site", wheel], check=True, capture_output=True)
    return folder, sdist, wheel, names


def test_the_wheel_has_all_of_the_package_and_nothing_else(built):
    _, sdist, wheel, names = built
    package = {name for name in names if name.startswith("pyserini_rerank/")}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == package
    assert package >= {f"pyserini_rerank/{name}" for name in DATA}
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert inside >= package | {"README.md", "LICENSE", "pyproject.toml"}


def test_the_installed_package_works(built):
    folder, *_ = built
    script = (
        "import sys\n"
        "import pyserini_rerank\n"
        "from pyserini_rerank.experiments.conditions import load_conditions\n"
        "from pyserini_rerank.scoring.checkpoints import of_the_card\n"
        "print(pyserini_rerank.__file__, pyserini_rerank.__version__, len(of_the_card()), len(load_conditions()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env={"PYTHONPATH": str(folder / "site")},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    file, version, checkpoints, conditions = done.stdout.split()
    assert Path(file).is_relative_to(folder / "site")
    assert version == pyserini_rerank.__version__ and checkpoints == "15" and int(conditions) > 40
