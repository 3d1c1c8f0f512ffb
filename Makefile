# make demo   sets up and runs the main job: audit, repair and audit again, with a page to look at
# make test-quick   sets up and passes the tests of a second or less each: for use between two edits
# make test   those marked medium too, in minutes
# make test-all   those marked slow too: kills, several processes, the README's commands
# make check  style and types
#
# TORCH is what pip is asked for: `make demo TORCH=torch` takes what your package index offers for your GPU,
# `make demo TORCH='torch==2.11.*'` a version that suits your driver.
PYTHON ?= python3
TORCH  ?= torch==2.13.0
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= demo
# One stamp per choice of PyTorch, so that another choice is installed and not passed over.
STAMP  := $(VENV)/.installed-$(shell printf '%s' '$(TORCH)' | tr -c 'A-Za-z0-9.' '-')

.PHONY: demo test-quick test test-all check format setup clean

demo: setup
	$(BIN)/faal demo --out $(OUT)

test-quick: setup
	$(BIN)/python -m pytest -n auto -m 'not slow and not medium'

test: setup
	$(BIN)/python -m pytest -n auto -m 'not slow'

test-all: setup
	$(BIN)/python -m pytest -n auto

check: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("faal needs Python 3.11 or newer; name one with PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	rm -f $(VENV)/.installed-*
	touch $@

clean:
	rm -rf $(VENV) demo runs
