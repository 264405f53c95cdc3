# make demo   search and rerank the standard library's documentation, with no network
# make test   lint, types and tests, these in two processes of one thread each
# make stress what is too long for every commit

# The first Python 3.12 or 3.13 on PATH or among pyenv's versions.
PYTHON := $(shell for python in python3.12 python3.13 python3 python \
	$$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[23].*/bin/python 2>/dev/null); do \
	"$$python" -c 'import sys, venv; sys.exit(sys.version_info[:2] not in ((3, 12), (3, 13)))' 2>/dev/null \
	&& { command -v "$$python"; break; }; done)
BIN := .venv/bin

.PHONY: demo test stress
demo: .venv/installed
	@$(BIN)/pyserini-rerank demo

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not stress" -n 2 --dist loadfile --no-loadscope-reorder

stress: .venv/installed
	$(BIN)/pytest -m stress

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.12 or 3.13 on PATH or among pyenv's versions: install one." >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bundled-model,test]'
	@touch $@
