"""The server of `pyserini-rerank serve`, asked by clients that somebody else wrote.

Each client is in an environment of its own, which is made on the first run, in the user's cache, with the versions of
`clients/*.txt`. `clients/rerank_with.py` runs in it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import pytest
from package_index import skip_or_fail

CLIENTS = Path(__file__).parent / "clients"
#: What a request is refused for, and what the server says about it.
REFUSED = {
    "query": (" ", "the query is empty: there is nothing to rerank with"),
    "model": ("another", "there is no model 'another' here: there is minilm, rerank-v3.5"),
    "key": ("sk-wrong", "the key is missing or wrong"),
}
#: What two classes say instead. They look at no status, and read every answer as one with scores.
INSTEAD = {
    "langchain_infinity": {"query": "KeyError: 0"},
    "llama_index_tei": {"query": "AssertionError: ", "key": "AssertionError: "},
}
QUESTION = {
    "query": "How many people live in Berlin?",
    "documents": [
        "Paris is in France.",
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
        "Berlin is well known for its museums.",
        "Berlin is well known for its museums.",
        "Im Jahr 2015 hatte Berlin\n3,5 Millionen „Einwohner“ 🐻.",
    ],
    "top_n": 4,
    "model": "minilm",
    "key": "sk-of-the-tests",
}

pytestmark = pytest.mark.stress


@pytest.fixture(scope="module")
def python(request):
    """The interpreter of an environment with the packages of a file."""
    packages = CLIENTS / f"{request.param}.txt"
    digest = blake2b(packages.read_bytes(), digest_size=4).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pyserini-rerank"
    target = cache / f"{request.param}-{digest}-python{sys.version_info[0]}.{sys.version_info[1]}"
    program = target / "bin" / "python"
    if not (target / "installed").is_file():
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
        pip = [program, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--no-deps", "--requirement"]
        done = subprocess.run([*pip, packages], capture_output=True, text=True)
        if done.returncode:
            skip_or_fail(f"the packages of {packages.name}", done)
        (target / "installed").touch()
    return program


@pytest.fixture(scope="module")
def url():
    """A running server's URL."""
    names = ["--name", QUESTION["model"], "--name", "rerank-v3.5"]
    command = [sys.executable, "-m", "pyserini_rerank", "serve", "--model", "bundled", "--device", "cpu", "--port", "0"]
    with subprocess.Popen(
        [*command, *names, "--key-env", "SERVER_KEY"], env={**os.environ, "SERVER_KEY": QUESTION["key"]}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        said = ""
        while not (found := re.search(r" at (http://\S+)\n", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        yield found[1]
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("python", "client"),
    [
        ("cohere", "cohere_v2"),
        ("cohere", "cohere_v1"),
        ("langchain", "cohere_v2"),  # an older version
        ("langchain", "langchain_cohere"),
        ("langchain", "langchain_jina"),
        ("langchain", "langchain_infinity"),
        ("llama_index", "llama_index_cohere"),
        ("llama_index", "llama_index_jina"),
        ("llama_index", "llama_index_tei"),
    ],
    indirect=["python"],
)
def test_scores_and_refusals(python, client, url, reranker):
    refused = {kind: refusal for kind, refusal in REFUSED.items() if (client, kind) != ("llama_index_tei", "model")}
    questions = [QUESTION, *({**QUESTION, kind: wrong} for kind, (wrong, _) in refused.items())]
    done = subprocess.run(
        [python, "-W", "ignore", CLIENTS / "rerank_with.py", client, url],
        input=json.dumps(questions), env={**os.environ, "NO_PROXY": "127.0.0.1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer, *errors = map(json.loads, done.stdout.splitlines())

    query, documents = QUESTION["query"], QUESTION["documents"]
    ranked = [text.index for text in reranker.rank(query, documents, QUESTION["top_n"])]
    probabilities = reranker.score(query, documents, probability=True)
    assert [index for index, _ in answer] == ranked
    assert [score for _, score in answer] == pytest.approx(probabilities[ranked].tolist(), abs=1e-4)
    for (kind, (_, says)), error in zip(refused.items(), errors, strict=True):
        assert INSTEAD.get(client, {}).get(kind, says) in error
