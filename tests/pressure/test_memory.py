"""What many searches, and searches of many hits, leave behind and take at most."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_checkpoints import build

TINY = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
MEBI = 2**20

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")


def output(script: str, *arguments: str, **environment: str) -> list[str]:
    """Run a script of this folder, and give the lines that it prints."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.stress
@pytest.mark.parametrize("searches", [200, 10_000])
def test_nothing_grows(searches: int, lucene_index: str, tmp_path: Path) -> None:
    # Java's heap is as large before as after, and resident: how much of it Java keeps would hide what grows.
    heap = {"JAVA_TOOL_OPTIONS": "-Xms256m -Xmx256m -XX:+AlwaysPreTouch"}
    lines = output("growth.py", lucene_index, str(build(TINY, tmp_path)), str(searches), **heap)
    before, after = json.loads(lines[-1])
    print(f"{searches:,} searches:", {name: (before[name], after[name]) for name in before})
    # One that every search kept would be there as often as it was searched.
    for name in ("handles", "ScoredDoc", "Document", "ArrayList"):
        assert after[name] < before[name] + 50, name
    assert after["java"] < before["java"] + 2 * MEBI
    assert after["resident"] < before["resident"] + 64 * MEBI


@pytest.mark.stress
def test_a_hundred_thousand_hits_take_little_more_than_a_thousand() -> None:
    """Batch searches of 1, 20 and four times 100 queries, each 1,000 hits deep.

    Java keeps its garbage while it has room, so it gets little. The first two hundreds fill what malloc keeps for each
    thread; after that 200,000 hits more leave less than their texts would take.
    """
    lines = output("flat.py", "1", "20", "100", "100", "100", "100", JAVA_TOOL_OPTIONS="-Xmx256m")
    assert len(lines) == 6
    for line in lines:
        pairs, peak, seconds = line.split()
        print(f"{int(pairs):,} pairs so far: {int(peak) / MEBI:,.0f} MiB at most, {float(seconds):.1f} s")
    one, _, hundred, settled, _, last = (int(line.split()[1]) for line in lines)
    # A few shards of 20,000 hits, and Java's memory.
    assert hundred < one + 384 * MEBI
    assert settled < hundred + 160 * MEBI
    assert last < settled + 48 * MEBI
