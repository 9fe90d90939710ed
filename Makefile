# unrolled: everything a developer runs. On a fresh machine with Python >= 3.11, `make demo` or
# `make test` alone is enough: each sets up .venv first, and only what changed since the last time.
#
#   make demo       the main job: train, resume and sample a character model (three minutes)
#   make test       the test suite            make test ARGS="tests/cells -x"
#   make check      ruff, mypy, import-linter
#   make docs       docs/_build/html/index.html; a warning is an error
#   make bench      benchmarks/*.py: speed, the tables of docs/performance.md
#   make results    the commands of docs/results.md, in benchmarks/claims (two hours)
#                   make results CLAIMS=temporal_xor   runs one of them
#
# PYTHON       the interpreter that creates .venv (default python3)
# TORCH_INDEX  another package index for torch, for example
#              https://download.pytorch.org/whl/cpu (no CUDA) or .../whl/cu130
# UNROLLED_DATA  a folder with the data sets of the tests and claims; without it they skip, saying so

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
CLAIMS ?= $(shell sed -n 's|.*`python benchmarks/claims/\([a-z_0-9]*\)\.py.*|\1|p' docs/results.md | awk '!seen[$$0]++')

BIN := .venv/bin
# Pins every package; otherwise pip takes the newest torch.
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/python -m pip install --quiet

.PHONY: install demo test check docs bench results clean
.DELETE_ON_ERROR:

install: .venv/.installed

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "unrolled needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@

# The package is built without isolation, by the build backend pinned in constraints.txt.
.venv/.installed: .venv/.created pyproject.toml constraints.txt
	$(PIP) --upgrade pip
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) scikit-build-core
	$(PIP) --no-build-isolation --editable .
	touch $@

.venv/.dev: .venv/.installed
	$(PIP) --group dev
	touch $@

.venv/.docs: .venv/.dev
	$(PIP) --group docs
	touch $@

demo: .venv/.installed
	$(BIN)/unrolled demo

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 $(ARGS)

check: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: .venv/.dev
	@set -e; for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file $(ARGS); done

results: .venv/.dev
	@set -e; for claim in $(CLAIMS); do echo "== $$claim"; \
	  $(BIN)/python benchmarks/claims/$$claim.py $(ARGS); done

clean:
	rm -rf docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
