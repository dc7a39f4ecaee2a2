# The suite's verbs. `make help` lists them; each is `python -m benchmarks VERB`, each variable a flag of the same name.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Without PYTHON=..., everything runs in .venv, which is made on first use.
VENV := .venv
STAMP := $(VENV)/.installed
ifeq ($(origin PYTHON),command line)
PY := $(PYTHON)
READY :=
PEERS_READY :=
else
PY := $(VENV)/bin/python
READY := $(STAMP)
PEERS_READY := $(VENV)/.peers_installed
endif

# Variables given on make's command line become flags; those of the environment do not, so that nothing slips in.
VARIABLES := MIXER DATASET DATA_DIR IMAGE_SIZE PATCH_SIZE DIM DEPTH EPOCHS SEED LR WEIGHT_DECAY BATCH_SIZE AUGMENT \
  TRAIN_IMAGES NORM MATCH DEVICE PRECISION RESIDUAL THREADS ROUNDS PROFILE RESULTS RETRY TIMEOUT BUDGET WORKERS RAY LOG
lower = $(subst _,-,$(shell echo '$(1)' | tr 'A-Z' 'a-z'))
quote = '$(subst ','\'',$(1))'
FLAGS = $(foreach v,$(VARIABLES),$(if $(findstring command,$(origin $(v))),--$(call lower,$(v))=$(call quote,$($(v))))) $(ARGS)

.PHONY: help bench-all train tune latency cost report claims status validate list speed profile crossovers bench-peers atlas \
  gpu-check spectracles test test-all lint format

help: ## this page
	@echo 'usage: make VERB [VARIABLE=value ...]'
	@echo
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-11s %s\n", $$1, $$2 }'
	@echo
	@echo 'variables: $(wordlist 1,12,$(VARIABLES))'
	@echo '           $(wordlist 13,99,$(VARIABLES))'
	@echo '  a list where that makes sense: MIXER="fft*,attention" SEED=0,1,2 IMAGE_SIZE=16,32'
	@echo '  ARGS="--no-coordinates" passes anything else; python -m benchmarks help explains every flag'
	@echo '  PYTHON=python3 uses an interpreter that has the packages (conda, an NGC container) instead of .venv'

bench-all: $(READY) ## everything: train, cost, latency, tables, plots, page; running it again goes on where it was
train: $(READY) ## one training run: make train MIXER=fft_complex
tune: $(READY) ## learning rate and weight decay of each mixer, the same sweep for all, on held-out images
latency: $(READY) ## time per image size, each mixer alone and in the backbone
cost: $(READY) ## parameters, FLOPs and peak memory
report: $(READY) ## tables, plots and the page again, from the records alone
claims: $(READY) ## what the literature says, judged from the records alone
status: $(READY) ## what is done, running, failed, and how long the rest takes
validate: $(READY) ## whether records that somebody sends are what they say: make validate RESULTS=DIR
list: $(READY) ## the mixers, with family, complexity, paper and year
speed: $(READY) ## ratios quoted in the README: transforms against naive forms, training against timm's loop
profile: $(READY) ## where the time of a training step goes, and a trace of it: make profile MIXER=dct,attention
crossovers: $(READY) ## which method of a mixer is fastest from how many tokens on
bench-peers: $(READY) $(PEERS_READY) ## ratios: each mixer beside the best public implementation, forward and backward
atlas: $(READY) ## what each mixer does: maps of one token's influence, before and after training
gpu-check: $(READY) ## the first minutes on a GPU: make gpu-check BUDGET=5m
spectracles: $(READY) ## the first source's own net, its published log run again in both layouts
bench-all train tune latency cost report claims status validate list speed profile crossovers bench-peers atlas gpu-check spectracles:
	@$(PY) -m benchmarks $@ $(FLAGS)

# side by side, a core for each, where pytest-xdist is installed
PYTEST = $(PY) -m pytest $$($(PY) -c 'import xdist' 2>/dev/null && echo '-n auto --dist worksteal')

test: $(READY) ## the tests, without those marked slow
	$(PYTEST) -m 'not slow' $(ARGS)

test-all: $(READY) ## all tests
	$(PYTEST) $(ARGS)

lint: $(READY) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(READY) ## let ruff rewrite what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.DEFAULT:
	@echo "there is no verb '$@'; make help lists them" >&2; exit 2

$(STAMP): pyproject.toml
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'token-mixers needs Python 3.11 or newer as python3; or name one that has the packages: make $(MAKECMDGOALS) PYTHON=...'; exit 2; }
	@echo 'setting up $(VENV) (once; PyTorch is a few gigabytes)'
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python python3 $(VENV) && uv pip install --quiet --python $(VENV) -e '.[dev]'; \
	else \
	  python3 -m venv $(VENV) && $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $@

$(VENV)/.peers_installed: $(STAMP)
	@echo 'installing the peers into $(VENV) (once)'
	@if command -v uv >/dev/null; then \
	  uv pip install --quiet --python $(VENV) -e '.[peers]'; \
	else \
	  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[peers]'; \
	fi
	@touch $@
