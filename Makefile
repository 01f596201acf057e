# make demo    a new .venv, the whole recipe on the Python that is installed here, then the application
# make test    the tests           make check   style, types, layers           make bench BENCH=train
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BENCH ?= cli
# the tests run in so many processes, each with one thread and about 1.5 GB of memory
WORKERS ?= 2
BIN := $(VENV)/bin
# Without a GPU the CPU build of torch (0.2 GB instead of several) comes from PyTorch's own index; TORCH_INDEX overrides it,
# and TORCH_INDEX= takes whatever the configured package index offers.
HAS_GPU := $(shell command -v nvidia-smi 2>/dev/null)
ifeq ($(HAS_GPU)$(filter Darwin,$(shell uname)),)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq

.PHONY: help demo test test-slow check format bench clean

help:
	@grep -hE '^# make' $(MAKEFILE_LIST) | sed 's/^# //'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Septet needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@echo "Making $(VENV) and installing Septet with torch, transformers, nicegui and a small encoder:"
	@echo "about $(if $(filter demo,$(MAKECMDGOALS)),0.5 GB to download and 1.6 GB,0.7 GB to download and 2.3 GB) on disk$(if $(HAS_GPU), and some GB more for the GPU build of torch). Nothing outside $(CURDIR)/$(VENV) changes."
	@$(PYTHON) -m venv $(VENV)

# torch first and alone, so that no other requirement can pull in a larger build
$(VENV)/.torch: | $(BIN)/python
	@$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --retries 1 --timeout 30) --no-deps 'torch~=2.13.0' 2>&1 | { grep -v '^WARNING' || true; }
	@$(BIN)/python -c 'import importlib.metadata as m; m.version("torch")' && touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.torch
	@$(PIP) --editable '.[encoder]' && touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	@$(PIP) --editable '.[encoder,corpus,quant,ray,sweep,track,dev]' && touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(BIN)/septet quickstart $(ARGS)

test: $(VENV)/.dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(VENV)/.dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --numprocesses $(WORKERS) --dist loadfile $(ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/pyright --pythonpath $(BIN)/python && $(BIN)/lint-imports
	@$(BIN)/python docs/build.py --check && $(BIN)/python bench/report.py --check

format: $(VENV)/.dev
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	@$(BIN)/python bench/$(subst -,_,$(patsubst tokenize,tokenizer,$(BENCH))).py $(ARGS)  # a file tokenize.py would hide the module of that name

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
