"""How fast a rerank server answers, and what clients cost each other: real HTTP on loopback, clients in this process.

    python tests/benchmark_serving.py throughput    64 clients with 20 documents each, and `predict` of the same pairs
    python tests/benchmark_serving.py fairness      10 documents, alone and beside a client that keeps sending 1,000
    python tests/benchmark_serving.py peer URL      64 clients with 20 documents each, and another server in turn
    python tests/benchmark_serving.py soak [COUNT]  requests of random sizes to a small model, while others disconnect
    python tests/benchmark_serving.py awaited       1, 8 and 64 clients within one process, with and without sharing

The texts are mixed from the standard library's documentation, and have 50 to 90 tokens as MS MARCO's passages do. All
but `soak` use MiniLM-L-12. The server has a process of its own; both compute with all cores.
"""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import pyserini_rerank
import urllib3
from benchmark_plan import new_pairs
from pyserini_rerank import AsyncReranker

Question = tuple[str, list[str]]
POOL = urllib3.PoolManager(maxsize=100, retries=False)
CLIENTS, DOCUMENTS = 64, 20


def questions(count: int, documents: int, seed: int) -> list[Question]:
    """Make questions of so many documents each; no two documents are the same."""
    pairs = new_pairs(count * documents, seed)
    parts = [pairs[start : start + documents] for start in range(0, len(pairs), documents)]
    return [(part[0][0], [str(text) for _, text in part]) for part in parts]


@contextmanager
def serving(model: str = "bundled", *options: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run the server, and give its address and its process."""
    command = [sys.executable, "-m", "pyserini_rerank", "serve", "--model", model, "--device", "cpu", "--port", "0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield process.stderr.readline().split()[-1], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def ask(url: str, question: Question) -> tuple[np.ndarray, float]:
    """Ask in Infinity's form, which the peer has as well: the logits by document, and the seconds."""
    body = {"query": question[0], "documents": question[1], "raw_scores": True, "return_documents": False}
    start = time.perf_counter()
    answer = POOL.request("POST", f"{url}/rerank", body=json.dumps(body), headers={"Content-Type": "application/json"})
    seconds = time.perf_counter() - start
    assert answer.status == 200, answer.data
    scores = np.empty(len(question[1]))
    for result in json.loads(answer.data)["results"]:
        scores[result["index"]] = result["relevance_score"]
    return scores, seconds


def at_once(url: str, asked: Sequence[Question], clients: int = CLIENTS) -> tuple[list[np.ndarray], list[float], float]:
    """Ask questions by so many clients: scores, seconds of each, and seconds of all."""
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda question: ask(url, question), asked))
    return [scores for scores, _ in answers], [seconds for _, seconds in answers], time.perf_counter() - start


def p95(seconds: Sequence[float]) -> float:
    return float(np.percentile(seconds, 95))


def throughput(rounds: int = 5) -> None:
    ratios = []
    with serving() as (url, _), pyserini_rerank.load("bundled", device="cpu") as reranker:
        at_once(url, questions(8, DOCUMENTS, 100))
        for number in range(rounds):
            asked = questions(CLIENTS, DOCUMENTS, number)
            pairs = [(query, text) for query, texts in asked for text in texts]
            start = time.perf_counter()
            expected = reranker.predict(pairs)
            alone = time.perf_counter() - start
            scores, seconds, served = at_once(url, asked)
            np.testing.assert_allclose(np.concatenate(scores), expected, rtol=0, atol=1e-4)
            ratios.append(alone / served)
            print(
                f"predict {len(pairs) / alone:.1f} pairs/s, server {len(pairs) / served:.1f} pairs/s, "
                f"ratio {alone / served:.3f}, p95 {p95(seconds):.2f} s",
                flush=True,
            )
    print(f"median ratio {median(ratios):.3f}")


def fairness(count: int = 40) -> None:
    with serving() as (url, _):
        few = questions(2 * count, 10, 1)
        many = questions(8, 1000, 2)
        at_once(url, few[:4])
        alone = [ask(url, question)[1] for question in few[:count]]
        is_over = threading.Event()

        def keep_sending() -> int:
            sent = 0
            while not is_over.is_set():
                ask(url, many[sent % len(many)])
                sent += 1
            return sent

        with ThreadPoolExecutor(1) as pool:
            sender = pool.submit(keep_sending)
            time.sleep(2)
            beside = [ask(url, question)[1] for question in few[count:]]
            is_over.set()
            sent = sender.result()
        batch = 2048 / 75 / (10 / median(alone))
        print(
            f"p95 of 10 documents: alone {p95(alone):.3f} s, beside {sent} requests of 1,000 {p95(beside):.3f} s "
            f"({p95(beside) / p95(alone):.2f} times; a batch takes about {batch:.2f} s)"
        )


def peer(other: str, rounds: int = 5) -> None:
    with serving() as (url, _):
        for number in range(-1, rounds):
            asked = questions(CLIENTS, DOCUMENTS, number + 10)
            ours, our_seconds, of_ours = at_once(url, asked)
            theirs, their_seconds, of_theirs = at_once(other, asked)
            difference = max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))
            if number >= 0:
                print(
                    f"ours {len(asked) / of_ours:.2f} requests/s, p95 {p95(our_seconds):.2f} s; theirs "
                    f"{len(asked) / of_theirs:.2f} requests/s, p95 {p95(their_seconds):.2f} s; ratio "
                    f"{of_theirs / of_ours:.2f}; largest difference {difference:.1e}",
                    flush=True,
                )


def soak(count: int = 100_000) -> None:
    from pathlib import Path

    from tiny_checkpoints import build

    chance = random.Random(1)
    with TemporaryDirectory() as folder:
        model = build("cross-encoder/ms-marco-TinyBERT-L-2-v2", Path(folder))
        with (
            serving(str(model), "--max-length", "64") as (url, process),
            pyserini_rerank.load(model, device="cpu", max_length=64) as reranker,
        ):
            known = questions(200, 20, 1)
            expected = [reranker.score(*question) for question in known]
            is_over = threading.Event()
            host, port = url.removeprefix("http://").split(":")

            def leave() -> int:
                left = 0
                while not is_over.is_set():
                    body = json.dumps({"query": known[left % 200][0], "texts": known[left % 200][1]}).encode()
                    with socket.create_connection((host, int(port))) as connection:
                        head = b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
                        connection.sendall(head + body[: len(body) // (1 + left % 2)])
                        time.sleep(0.04)
                    left += 1
                return left

            def one(number: int) -> float:
                place, size = number % 200, chance.randint(1, 20)
                scores, _ = ask(url, (known[place][0], known[place][1][:size]))
                return float(np.abs(scores - expected[place][:size]).max())

            start, worst = time.perf_counter(), 0.0
            with ThreadPoolExecutor(17) as pool:
                leaver = pool.submit(leave)
                for tenth in range(10):
                    numbers = range(tenth * count // 10, (tenth + 1) * count // 10)
                    worst = max(worst, *pool.map(one, numbers))
                    print(
                        f"{numbers.stop:,} requests, {numbers.stop / (time.perf_counter() - start):.0f}/s, "
                        f"{process.memory_info().rss / 2**20:.0f} MiB, largest error {worst:.1e}",
                        flush=True,
                    )
                is_over.set()
                print(f"{leaver.result():,} clients have left")


def awaited(each: int = 4) -> None:
    base = pyserini_rerank.load("bundled", device="cpu")

    async def measure(score: Callable[[str, list[str]], Any], clients: int, asked: list[Question]) -> float:
        todo = iter(asked)

        async def client() -> None:
            for question in todo:
                await score(*question)

        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return len(asked) / (time.perf_counter() - start)

    async def main() -> None:
        async with AsyncReranker(base) as shared:
            for documents in (1, 10):
                for clients in (1, 8, 64):
                    rates = []
                    for seed in range(3):
                        asked = questions(max(clients, 16) * each // (1 + documents // 5), documents, seed)
                        sharing = await measure(shared.score, clients, asked)
                        rates.append(
                            (sharing, await measure(lambda *a: asyncio.to_thread(base.score, *a), clients, asked))
                        )
                    ratio = median(a / b for a, b in rates)
                    sharing, threads = (median(column) for column in zip(*rates, strict=True))
                    print(
                        f"{documents} documents, {clients} clients: {sharing:.1f} requests/s sharing batches, "
                        f"{threads:.1f} in threads, ratio {ratio:.2f}",
                        flush=True,
                    )

    asyncio.run(main())
    base.close()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    ways: dict[str, Callable[..., None]] = {
        "throughput": throughput, "fairness": fairness, "peer": peer, "soak": soak, "awaited": awaited,
    }  # fmt: skip
    way, *arguments = sys.argv[1:]
    ways[way](*(int(argument) if argument.isdigit() else argument for argument in arguments))
