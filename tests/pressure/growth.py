"""Searches many times, and tells what the process and Java hold before and after: ``growth.py INDEX CHECKPOINT TIMES``.

In a process of its own, so that nothing else comes and goes. The figures are JSON, on the last line.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyserini_rerank
from collection import QUERIES


def main(index: str, checkpoint: str, times: int) -> None:
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(index)
    searcher.set_reranker(pyserini_rerank.load(checkpoint, device="cpu", max_length=64), depth=5)
    qids = [str(number) for number in range(len(QUERIES))]

    def search(times: int) -> None:
        for number in range(times):
            if number % 10:
                searcher.search(QUERIES[number % len(QUERIES)], 8)
            else:
                searcher.batch_search(QUERIES, qids, 8, threads=2)

    # Java makes room and compiles for a while.
    search(max(50, times // 10))
    before = measured()
    search(times)
    print(json.dumps([before, measured()]))


def measured() -> dict[str, int]:
    """Count what there is after a full collection: bytes, JNI handles, and Java's objects of some kinds."""
    command = _diagnostics()
    histogram = command("gcClassHistogram")  # which collects first

    def count(kind: str) -> int:
        found = re.search(rf"^ *\d+: +(\d+) +\d+ +{re.escape(kind)}(?: |$)", histogram, re.MULTILINE)
        return int(found[1]) if found else 0

    [java] = re.findall(r"^Total +\d+ +(\d+)", histogram, re.MULTILINE)
    [handles] = re.findall(r"JNI global refs: (\d+)", command("threadPrint"))
    return {
        "resident": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "java": int(java),
        "handles": int(handles),
        "ScoredDoc": count("io.anserini.search.ScoredDoc"),
        "Document": count("org.apache.lucene.document.Document"),
        "ArrayList": count("java.util.ArrayList"),
    }


def _diagnostics() -> Callable[[str], str]:
    """Make a caller of the JVM's own diagnostic commands, those of jcmd."""
    from jnius import autoclass

    server: Any = autoclass("java.lang.management.ManagementFactory").getPlatformMBeanServer()
    name = autoclass("javax.management.ObjectName")("com.sun.management:type=DiagnosticCommand")
    return lambda which: str(server.invoke(name, which, [None], ["[Ljava.lang.String;"]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
