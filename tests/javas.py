"""What Java there is on this machine, found without the code under test."""

import re
from pathlib import Path


def java_with_vectors() -> Path | None:
    """Find a Java that Pyserini can start by itself: 21 or newer, with jdk.incubator.vector."""
    for release in sorted(Path("/usr/lib/jvm").glob("*/release")):
        text = release.read_text()
        version = re.search(r'JAVA_VERSION="(\d+)', text)
        if version and int(version[1]) >= 21 and "jdk.incubator.vector" in text:
            return release.parent
    return None
