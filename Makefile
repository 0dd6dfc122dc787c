# `make demo` and `make test` do all set-up on a fresh machine with Python 3.11 or newer; the rest is for working on it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
# An index with CPU builds of torch (see the install page of PyTorch); empty: what pip is set up to use.
TORCH_INDEX ?=
SETTLED := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format bench bench-peers kills references clean

help:
	@echo "make demo     train a network on handwritten digits, write its report, ask the doctor (about a minute after set-up)"
	@echo "make test     all checks: lint, types, import layers, the fast tests"
	@echo "make bench    speed beside other frameworks: make bench DATA=folder-of-data-sets; make bench-peers installs them"
	@echo "make kills    kill and resume small trainings at random moments: make kills COUNT=5000 (about 4 a second)"
	@echo "make references  our networks beside torchvision's and timm's: equal outputs from equal weights"
	@echo "make lint     lint, format check and types alone;  make format  rewrites"
	@echo "make clean    remove $(VENV) and caches (never runs/)"
	@echo "PYTHON=python3.12 chooses another Python, TORCH_INDEX=... an index with CPU builds of torch"

demo: $(VENV)/.netwright
	@number=1; while [ -e runs/demo-$$number ]; do number=$$((number + 1)); done; run=runs/demo-$$number; \
	$(BIN)/netwright look digits && echo && \
	$(BIN)/netwright train digits --out $$run && echo && \
	$(BIN)/netwright diagnose $$run --page $$run-diagnosis.html && echo && \
	echo "report: $$run/report.html (open it in a browser)" && \
	echo "next:   $(BIN)/netwright evaluate $$run    $(BIN)/netwright train iris    $(BIN)/netwright --help"

# One process a core, each with one thread: networks this small gain nothing from more.
test: $(VENV)/.netwright-test lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n auto --dist worksteal

lint: $(VENV)/.netwright-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.netwright-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.netwright
	$(BIN)/python -m bench $(if $(DATA),--data $(DATA)) $(ARGS)

# An environment of its own with the frameworks that netwright is measured beside. No side uses torchvision, which fastai
# asks for, and without operators for this build of torch its import fails: it is taken out again.
PEERS := .venv-peers
bench-peers: bench/constraints.txt
	[ -x $(PEERS)/bin/python ] || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --quiet -c bench/constraints.txt \
	$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --quiet -c bench/constraints.txt \
	lightning skorch accelerate fastai keras jax tensorflow
	$(PEERS)/bin/python -m pip uninstall --disable-pip-version-check --quiet --yes torchvision

# Each run that was killed has to end, resumed, with the bits of the run that nobody killed.
COUNT ?= 200
kills: $(VENV)/.netwright-test
	OMP_NUM_THREADS=1 $(BIN)/python tests/support/kills.py --count $(COUNT) $(ARGS)

# An environment of its own with torchvision and timm, for their model code alone; nothing is downloaded but packages.
REFERENCES := .venv-references
references: $(VENV)/.netwright
	[ -x $(REFERENCES)/bin/python ] || $(PYTHON) -m venv $(REFERENCES)
	$(REFERENCES)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt \
	$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(REFERENCES)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e .
	$(REFERENCES)/bin/python -m pip install --disable-pip-version-check --quiet -c references/constraints.txt huggingface_hub
	$(REFERENCES)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -c references/constraints.txt torchvision timm
	$(REFERENCES)/bin/python -m references.compare $(ARGS)

clean:
	rm -rf $(VENV) $(REFERENCES) $(PEERS) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "Netwright needs Python 3.11 or newer; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)"; \
	echo "Give another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	echo "'$(PYTHON)' cannot make environments (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@touch $@

# On Linux the default torch is the CUDA build with gigabytes of libraries; TORCH_INDEX names an index with CPU builds.
$(VENV)/.torch: $(VENV)/.python constraints.txt
	@echo "installing torch ..."
	@$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.netwright: $(VENV)/.torch $(SETTLED)
	@echo "installing netwright ..."
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.netwright-test: $(VENV)/.netwright $(SETTLED)
	@echo "installing what the tests need ..."
	@$(INSTALL) -e '.[test]'
	@touch $@
