# unrolled: everything a developer runs. On a fresh machine with Python >= 3.11, `make demo` or
# `make test` alone is enough: each sets up .venv first, and only what changed since the last time.
#
#   make demo       the main job: train, resume and sample a character model (three minutes)
#   make test       the test suite            make test ARGS="tests/cells -x"
#   make check      ruff, mypy, import-linter
#   make engine     compile what changed in engine/ (make test does it too; a failing build stops it)
#   make sanitize   engine/tests/*.cpp, without Python, for each instruction set of this processor;
#                   make sanitize SANITIZE=thread  looks for races instead
#   make docs       docs/_build/html/index.html; a warning is an error
#   make bench      benchmarks/*.py: speed, the tables of docs/performance.md
#   make results    the commands of docs/results.md, in benchmarks/claims (four hours)
#                   make results CLAIMS=temporal_xor   runs one of them
#
# PYTHON       the interpreter that creates .venv (default python3)
# TORCH_INDEX  another package index for torch, for example
#              https://download.pytorch.org/whl/cpu (no CUDA) or .../whl/cu130
# CXX          the C++ compiler; without one the package is installed without its native engine
# UNROLLED_REQUIRE_ENGINE=1  no engine is an error, for the build and for the tests
# UNROLLED_DATA  a folder with the data sets of the tests and claims; without it they skip, saying so

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
SANITIZE ?= address,undefined
comma := ,
CLAIMS ?= $(shell sed -n 's|.*`python benchmarks/claims/\([a-z_0-9]*\)\.py.*|\1|p' docs/results.md | awk '!seen[$$0]++')

BIN := .venv/bin
# Pins every package; otherwise pip takes the newest torch.
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/python -m pip install --quiet
# Build tools: the system's, else those of the package index.
TOOLS := $(if $(shell cmake --version 2>/dev/null | \
  awk '/version/ {split($$3, v, "."); if (v[1] > 3 || v[2] >= 18) print}'),,cmake) \
  $(if $(shell command -v ninja),,ninja)
CMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" cmake
EDITABLE := $(PIP) --no-build-isolation --editable .
HAS_ENGINE := $(BIN)/python -c 'import sys; from importlib.util import find_spec; sys.exit(not find_spec("unrolled._engine"))'
BUILD = build/$(shell $(BIN)/python -c 'import sys; print(sys.implementation.cache_tag)')
SANITIZED := build/sanitize-$(subst $(comma),-,$(SANITIZE))
PLATLIB = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')

.PHONY: install demo test check engine sanitize docs bench results clean
.DELETE_ON_ERROR:

install: .venv/.engine

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "unrolled needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@

# The package is built without isolation, by the build backend pinned in constraints.txt.
.venv/.tools: .venv/.created constraints.txt
	$(PIP) --upgrade pip
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) scikit-build-core nanobind $(TOOLS)
	touch $@

.venv/.installed: .venv/.tools pyproject.toml
	$(EDITABLE)
	touch $@

# Where the engine was built before, a build that fails is a mistake in it and stops here. Elsewhere,
# for want of a compiler, the package is left without it.
.venv/.engine: .venv/.installed CMakeLists.txt $(wildcard engine/*.*)
	@if $(HAS_ENGINE) && [ -e $(BUILD)/CMakeCache.txt ]; then \
	  $(CMAKE) --build $(BUILD) --parallel && $(CMAKE) --install $(BUILD) --prefix $(PLATLIB) >/dev/null && \
	  $(BIN)/python -c 'import unrolled._engine'; \
	elif $(HAS_ENGINE) || [ -n "$(wildcard $(BUILD)/_engine*)" ]; then UNROLLED_REQUIRE_ENGINE=1 $(EDITABLE); \
	else echo "No native engine: it did not build, so cells that torch lacks run more slowly." \
	  "To see why: make engine" >&2; fi
	touch $@

engine: .venv/.engine
	@$(HAS_ENGINE) || UNROLLED_REQUIRE_ENGINE=1 $(EDITABLE)

sanitize: .venv/.tools
	@$(CMAKE) -S . -B $(SANITIZED) -G Ninja -DUNROLLED_MODULE=OFF \
	  -DUNROLLED_TESTS=ON -DCMAKE_BUILD_TYPE= -DCMAKE_CXX_FLAGS="-O1 -g1 -fno-omit-frame-pointer \
	  -fsanitize=$(SANITIZE) -fno-sanitize-recover=all" --log-level=WARNING
	@$(CMAKE) --build $(SANITIZED) --parallel
	@$(CMAKE) -E chdir $(SANITIZED) ctest --output-on-failure

.venv/.dev: .venv/.installed
	$(PIP) --group dev
	touch $@

.venv/.docs: .venv/.dev
	$(PIP) --group docs
	touch $@

demo: .venv/.engine
	$(BIN)/unrolled demo

test: .venv/.dev .venv/.engine
	$(BIN)/python -m pytest -n 2 $(ARGS)

check: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.docs .venv/.engine
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: .venv/.dev .venv/.engine
	@set -e; for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file $(ARGS); done

results: .venv/.dev .venv/.engine
	@set -e; for claim in $(CLAIMS); do echo "== $$claim"; \
	  $(BIN)/python benchmarks/claims/$$claim.py $(ARGS); done

clean:
	rm -rf docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
