# make demo   search and rerank the standard library's documentation, with no network
# make test   lint, types and tests, these in two processes of one thread each
# make stress what is too long for every commit
# make versions  the tests of models with the oldest and the newest transformers that pyproject.toml allows

# The first Python 3.12 or 3.13 on PATH or among pyenv's versions.
PYTHON := $(shell for python in python3.12 python3.13 python3 python \
	$$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[23].*/bin/python 2>/dev/null); do \
	"$$python" -c 'import sys, venv; sys.exit(sys.version_info[:2] not in ((3, 12), (3, 13)))' 2>/dev/null \
	&& { command -v "$$python"; break; }; done)
BIN := .venv/bin

.PHONY: demo test stress versions
demo: .venv/installed
	@$(BIN)/pyserini-rerank demo

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not stress" -n 2 --dist loadfile --no-loadscope-reorder

stress: .venv/installed
	$(BIN)/pytest -m stress

versions: .venv/installed
	grep -Ev '^(transformers|tokenizers|huggingface_hub)==' constraints.txt > .venv/others.txt
	for version in 5.9.0 5.24.0; do \
		folder=$(CURDIR)/.venv/transformers-$$version; \
		$(BIN)/python -m pip install --quiet --upgrade --constraint .venv/others.txt --target $$folder \
			transformers==$$version && \
		PYTHONPATH=$$folder OMP_NUM_THREADS=1 $(BIN)/pytest -m "not stress" tests/scoring/architectures \
			tests/scoring/checkpoints tests/scoring/backends/test_torch_backend.py || exit 1; \
	done

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.12 or 3.13 on PATH or among pyenv's versions: install one." >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bundled-model,test]'
	@touch $@
