"""The three methods that Pyserini's searchers gain, and the import hook that adds them.

Importing this module imports neither Pyserini nor Java. The hook waits until Pyserini's modules are imported: it
starts the JVM right before Pyserini asks for it, and adds the methods once the searchers' classes are there.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from .retrieval import jvm

log = logging.getLogger(__name__)

#: The classes that gain the methods, by module. SlimSearcher, BinaryDenseFaissSearcher and users'
#: own subclasses inherit them.
SEARCHERS = {
    "pyserini.search.lucene": (
        "LuceneSearcher",
        "LuceneImpactSearcher",
        "LuceneFusionSearcher",
        "LuceneHnswDenseSearcher",
        "LuceneFlatDenseSearcher",
    ),
    "pyserini.search.faiss": ("FaissSearcher",),
    "pyserini.search.hybrid": ("HybridSearcher",),
}
#: The modules that start Java when they are imported.
START_JAVA = ("pyserini.pyclass", "pyserini.eval.trec_eval")
CATALOGUE = "pyserini.prebuilt_index_info"


def set_reranker(
    self: Any,
    reranker: Any,
    *,
    depth: int | None = None,
    texts: Any = None,
    missing: str = "error",
    **options: Any,
) -> None:
    """Rerank the hits of this searcher from now on. Other searchers stay as they are.

    A model that is loaded here is freed by `unset_reranker`, or when another reranker is set. A `Reranker` that was
    loaded before stays open.

    Parameters
    ----------
    reranker : str, path, list, dict or Reranker
        A checkpoint's hub name, a local folder, ``"bundled"``, a combination of them as `pyserini_rerank.load`
        takes it, or a reranker that is loaded already.
    depth : int, optional
        How many candidates the first stage is asked for; all of them are rescored. The default is the depth of a
        cascade's first stage, else 100.
    texts : optional
        The source of the documents' text if the hits do not store it: another searcher, the path
        or prebuilt name of an index, a collection file (JSON lines or TSV), a mapping or callable from docid to text,
        or a `Template`.
    missing : str
        What to do about a hit whose document has no text there: ``"error"`` raises, and ``"skip"`` does not score the
        hit, puts it below the reranked hits, and counts it.
    **options
        Passed on to `pyserini_rerank.load` where `reranker` is a name or a folder.

    Raises
    ------
    ValueError, TypeError, OSError
        The depth is below 1, the model cannot be loaded, or the text source does not exist. The searcher stays as it
        was.
    """
    from .retrieval.searcher_adapter import SearcherAdapter
    from .searcher import RerankingSearcher

    before = vars(self).get("_reranking")
    if before and before.first_stage.searcher is not self:  # this is a copy of a searcher, with the original's reranker
        unset_reranker(self)
        before = None
    first_stage = before.first_stage if before else SearcherAdapter(self)
    reranking = RerankingSearcher(first_stage, reranker, depth=depth, texts=texts, missing=missing, **options)
    before = vars(self).get("_reranking")  # another thread may have set another one meanwhile
    vars(self)["_reranking"] = reranking
    for name in first_stage.methods:
        vars(self)[name] = getattr(reranking, name)
    if before:
        before.close()


def unset_reranker(self: Any) -> None:
    """Stop reranking: the searcher gives its own hits again. A model that `set_reranker` has loaded is freed."""
    if is_using_reranker(self):
        reranking = vars(self).pop("_reranking")
        for name in reranking.first_stage.methods:
            del vars(self)[name]
        vars(self).update(reranking.first_stage.patched)
        if reranking.first_stage.searcher is self:
            reranking.close()


def is_using_reranker(self: Any) -> bool:
    """Tell whether the hits of this searcher are reranked."""
    return "_reranking" in vars(self)


def install() -> None:
    """Add the methods to Pyserini's searchers, now or as soon as they are imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name in SEARCHERS:
        if name in sys.modules:
            _register(sys.modules[name])


def _register(module: ModuleType) -> None:
    for name in SEARCHERS[module.__name__]:
        for method in (set_reranker, unset_reranker, is_using_reranker):
            setattr(getattr(module, name), method.__name__, method)


class _Finder(MetaPathFinder):
    """An import hook that acts right before or right after some of Pyserini's modules are imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pyserini" and fullname not in sys.modules:
            log.info("importing Pyserini ...")
        if fullname in START_JAVA:
            log.info("starting Java ...")
            jvm.start()
            return None
        if fullname not in SEARCHERS and fullname != CATALOGUE:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec and spec.loader:
            import_module = _import_catalogue if fullname == CATALOGUE else _import_searchers
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: import_module(execute, module)  # type: ignore[method-assign]
        return spec


def _import_searchers(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    execute(module)
    _register(module)


def _import_catalogue(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Import Pyserini's catalogue of indexes, which Pyserini fetches from GitHub on import since 2.4.0."""
    from http.client import HTTPException

    try:
        execute(module)
    except (OSError, HTTPException, ValueError) as error:  # no network, a network that hangs up, a login page
        raise ImportError(
            "this Pyserini fetches its catalogue of prebuilt indexes at import, and did not get it "
            f"({getattr(error, 'reason', error)}). Without a network, run `pip install pyserini==2.3.0`."
        ) from None
