# A menu: `make` lists it. Each target does all of its own set-up.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
LOG := .venv/install.log
RATIOS := tests/benchmarks/baseline/ratios.json
MEASURE := --benchmark-enable --benchmark-columns=min,median,rounds -s
COMPARE := --benchmark-compare=$(RATIOS) --benchmark-compare-fail=median:50%
CONTAINER_CACHE ?= /var/tmp/sweepmark-containers
SYNE_TUNE := syne-tune==0.16.0 huggingface_hub==2.4.0
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -c requirements.lock

STUDY_VARIABLES := STRATEGY PROFILE WORKLOAD LR_LOWER LR_UPPER BS_CHOICES WD_CHOICES EPOCHS SAMPLES DEVICES
TUNED_VARIABLES := SPACE METRIC
CLUSTER_VARIABLES := CURVES NODES NODE_CPUS TRIAL_DEVICES TRIAL_CPUS SPEED FAILURE_RATE LOSE_NODE \
    TIME_BUDGET QUEUE_WAIT
RUN_VARIABLES := $(STUDY_VARIABLES) ENGINE RECIPE SEED SEEDS RESULTS FINAL_EPOCHS MODEL DATASET DATASET_NAME \
    DEEPSPEED $(TUNED_VARIABLES) TRIALS_PER_DEVICE $(CLUSTER_VARIABLES)
SUBMIT_VARIABLES := PROFILE NODES DEVICES TRIAL_DEVICES ARRAY SITE ACCOUNT PARTITION TIME WORKLOAD RECIPE SEED SEEDS SAMPLES \
    EPOCHS FINAL_EPOCHS LR_LOWER LR_UPPER BS_CHOICES WD_CHOICES MODEL DATASET DATASET_NAME DEEPSPEED $(TUNED_VARIABLES) TRIALS_PER_DEVICE \
    RESULTS
SIMULATE_VARIABLES := $(STUDY_VARIABLES) SEED SEEDS JOBS $(CLUSTER_VARIABLES)
PLAN_VARIABLES := $(SIMULATE_VARIABLES) BUDGET SVG
ADVISE_VARIABLES := STRATEGY PROFILE CURVES EPOCHS SEED SEEDS JOBS BUDGET TARGET
LEADERBOARD_VARIABLES := RESULTS SITE WRITE SVG
STAGES_VARIABLES := PROFILE WORKLOAD RECIPE EPOCHS SEED TRIAL_DEVICES NODES MODEL DATASET RESULTS SVG
LADDER_VARIABLES := PROFILE WORKLOAD DATASET DATASET_NAME EPOCHS RESULTS
STARTUP_VARIABLES := PROFILE WORKLOAD RECIPE DATASET RESULTS
REGRESS_VARIABLES := RUNS JUNIT MARKDOWN JOBS REASON
VARIABLES := $(RUN_VARIABLES) ARRAY ACCOUNT PARTITION TIME JOBS BUDGET SVG TARGET SITE WRITE DIR BASE NEW RUNS JUNIT MARKDOWN REASON RUN TO PLACE \
    CONTAINER CONTAINER_CACHE ARGS PYTHON

# A mistyped variable would otherwise be ignored.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
UNKNOWN := $(filter-out $(VARIABLES) MAKE% -%,$(GIVEN))
$(if $(strip $(UNKNOWN)),$(error There is no variable $(firstword $(UNKNOWN)); known: $(VARIABLES)))

# LR_LOWER=1e-5 becomes --lr-lower '1e-5'; what is not set is not passed.
lower = $(shell echo '$(1)' | tr 'A-Z_' 'a-z-')
quoted = '$(subst ','\'',$(strip $(1)))'
option = $(if $(strip $($(1))),--$(call lower,$(1)) $(call quoted,$($(1))))
argument = $(if $(strip $($(1))),$(call quoted,$($(1))))

# CONTAINER=1: in the profile's image; CONTAINER=FILE: in that one.
contained = $(if $(CONTAINER),--container$(if $(filter-out 1,$(CONTAINER)),=$(call quoted,$(CONTAINER))))

# $(call step,WORDS,COMMAND): one line of progress; the command's own words go to the log, shown where it fails.
step = printf '  %-46s' '$(1)'; began=$$SECONDS; \
    if { $(2); } >>$(LOG) 2>&1; then echo "$$((SECONDS - began)) s"; \
    else echo failed; tail -n 15 $(LOG); echo "Set-up failed at '$(1)': see above or $(LOG), then run make again."; exit 1; fi
# $(call timed,WORDS,COMMAND): the command in the open, with its time after it.
timed = echo '== $(1)'; began=$$SECONDS; $(2) && echo "== $(1): $$((SECONDS - began)) s"

.PHONY: help setup bench submit status doctor fetch stages ladder startup plan simulate advise curves leaderboard validate regress export container \
    report spaces strategies profiles probe test benchmark speed baseline test-containers test-cluster lint lock lock-containers \
    clean

help: ## list the targets and variables
	@echo 'Targets:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 19
	@echo 'Variables (of bench, each an option of `sweepmark run`; unset ones keep its defaults):'
	@echo '$(VARIABLES)' | fold -s -w 100 | sed 's/^/  /'
	@echo 'Example:'
	@echo '  make bench STRATEGY=bohb WORKLOAD=tiny-squad BS_CHOICES="8 16" SEED=1'

setup: .venv/ready ## build .venv from requirements.lock (others do it by themselves)

bench: .venv/ready ## search, train and say what it cost: make bench STRATEGY=bohb (CONTAINER=1: in an image)
	@$(BIN)/sweepmark run $(foreach name,$(RUN_VARIABLES),$(call option,$(name))) $(contained) $(ARGS)

submit: .venv/ready ## the same as jobs of a SLURM cluster: make submit STRATEGY=bohb PROFILE=v100 NODES=2 (ARRAY=4: a job array)
	@$(BIN)/sweepmark submit $(call argument,STRATEGY) $(foreach name,$(SUBMIT_VARIABLES),$(call option,$(name))) $(ARGS)

status: .venv/ready ## how all runs stand, here and on SLURM; one of them: RUN=bohb-bloom
	@$(BIN)/sweepmark status $(call argument,RUN) $(call option,RESULTS) $(ARGS)

doctor: .venv/ready ## is this machine (or, with ARGS=--submit, a node) fit for a run? make doctor PROFILE=v100
	@$(BIN)/sweepmark doctor $(foreach name,PROFILE WORKLOAD SITE RESULTS,$(call option,$(name))) $(ARGS)

fetch: .venv/ready ## fill the hub's cache for nodes without internet: make fetch WORKLOAD=bloom560m-squad
	@$(BIN)/sweepmark fetch $(call argument,WORKLOAD) $(ARGS)

stages: .venv/ready ## what each DeepSpeed ZeRO stage costs: make stages TRIAL_DEVICES=2
	@$(BIN)/sweepmark stages $(foreach name,$(STAGES_VARIABLES),$(call option,$(name))) $(ARGS)

ladder: .venv/ready ## from the workshop's recipe to `fast`, step by step: make ladder WORKLOAD=mid-squad
	@$(BIN)/sweepmark ladder $(foreach name,$(LADDER_VARIABLES),$(call option,$(name))) $(ARGS)

startup: .venv/ready ## from a granted device to the first step, cold and warm
	@$(BIN)/sweepmark startup $(foreach name,$(STARTUP_VARIABLES),$(call option,$(name))) $(ARGS)

plan: .venv/ready ## before a device is held: what a search will need, as a Gantt chart
	@$(BIN)/sweepmark plan $(foreach name,$(PLAN_VARIABLES),$(call option,$(name))) $(ARGS)

simulate: .venv/ready ## many seeds in virtual time: make simulate STRATEGY=all SEEDS=200
	@$(BIN)/sweepmark simulate $(foreach name,$(SIMULATE_VARIABLES),$(call option,$(name))) $(ARGS)

advise: .venv/ready ## which strategy with which settings: make advise BUDGET=1
	@$(BIN)/sweepmark advise $(foreach name,$(ADVISE_VARIABLES),$(call option,$(name))) $(ARGS)

curves: .venv/ready ## list the recorded curves, or show a set: CURVES=tiny-squad
	@$(BIN)/sweepmark curves $(call argument,CURVES) $(ARGS)

leaderboard: SITE ?= results/site
leaderboard: .venv/ready ## build the site results/site from all runs, and rank them; WRITE=DIR: as Markdown, CSV and JSON
	@$(BIN)/sweepmark leaderboard $(foreach name,$(LEADERBOARD_VARIABLES),$(call option,$(name))) $(ARGS)

validate: .venv/ready ## check runs that somebody else made: make validate DIR=path/to/submission
	@$(BIN)/sweepmark validate $(call argument,DIR) $(ARGS)

regress: .venv/ready ## fail where a search got worse or dearer than results/reference; renew it: REASON="why"
	@$(BIN)/sweepmark regress $(if $(REASON),--update) $(foreach name,$(REGRESS_VARIABLES),$(call option,$(name))) \
	    $(call argument,BASE) $(call argument,NEW) $(ARGS)

export: .venv/ready ## a run for another tool: make export RUN=bohb-tiny TO=optuna PLACE=optuna.db
	@$(BIN)/sweepmark export $(call argument,RUN) $(call option,TO) $(call argument,PLACE) $(call option,RESULTS) $(ARGS)

container: .venv/ready ## build the image of a profile and check it: make container PROFILE=v100
	@$(BIN)/sweepmark image build $(call option,PROFILE) $(ARGS)

report: .venv/ready ## tables and comparison of the runs
	@$(BIN)/sweepmark report $(call option,RESULTS) $(ARGS)

spaces: .venv/ready ## list the search spaces, or show one: SPACE=lora
	@$(BIN)/sweepmark spaces $(call argument,SPACE) $(ARGS)

strategies: .venv/ready ## list the strategies, or show one: STRATEGY=bohb
	@$(BIN)/sweepmark strategies $(call argument,STRATEGY) $(ARGS)

profiles: .venv/ready ## list the hardware profiles, or show one: PROFILE=v100
	@$(BIN)/sweepmark profiles $(call argument,PROFILE) $(ARGS)

probe: .venv/ready ## read this machine and say which profile it is
	@$(BIN)/sweepmark probe $(ARGS)

test: lint ## all checks and tests, as CI runs them
	@$(call timed,tests,$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not alone' $(ARGS))
	@$(if $(ARGS),,$(call timed,tests that measure,$(BIN)/pytest -m alone))

benchmark: .venv/ready .venv-syne/ready ## how fast everything is, against the baseline and beside Syne Tune (some minutes)
	@PATH="$(abspath $(BIN)):$$PATH" SYNE_TUNE_PYTHON=.venv-syne/bin/python \
	    $(BIN)/pytest tests/benchmarks $(MEASURE) $(COMPARE) $(ARGS)

speed: .venv/ready ## the quick part of it: suggestions, events, start-up
	@$(BIN)/pytest tests/benchmarks/test_speed.py -m 'not slow' $(MEASURE) $(COMPARE) $(ARGS)

baseline: .venv/ready ## renew the baseline of the benchmarks, where a slowdown is meant (on a quiet machine)
	@$(BIN)/pytest tests/benchmarks/test_speed.py $(MEASURE) --benchmark-json=$(RATIOS) $(ARGS)

test-containers: .venv/ready ## build and run the images for real (root on Debian; about ten minutes)
	@SWEEPMARK_CONTAINER_TESTS=1 SWEEPMARK_CONTAINER_CACHE=$(CONTAINER_CACHE) \
	    $(BIN)/pytest tests/containers --durations=0 $(ARGS)

test-cluster: .venv/ready ## runs and faults on a throwaway SLURM of three nodes (root on Debian; some minutes)
	@tests/cluster/install.sh
	@SWEEPMARK_CLUSTER_TESTS=1 $(BIN)/pytest tests/cluster --durations=0 $(ARGS)

lint: .venv/ready ## style, types, and the images' definitions against their locks
	@$(call timed,style,$(BIN)/ruff check && $(BIN)/ruff format --check)
	@$(BIN)/sweepmark image lint
	@$(call timed,types,$(BIN)/mypy)

lock: .venv/ready ## renew requirements.lock from pyproject.toml (newer versions: ARGS=--upgrade)
	@CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --extra dev --extra export --extra image --strip-extras --annotation-style line \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --unsafe-package netifaces \
	    --output-file requirements.lock $(ARGS) pyproject.toml
	@# The build of torch (+cpu, +cu130) and the CUDA packages that it brings are the installing machine's matter.
	@sed -i -E -e 's/^(torch==[0-9.]+)\+[a-z0-9]+ /\1 /' -e '/^(cuda-|nvidia-|triton=)/{/^nvidia-ml-py=/!d}' \
	    -e 's/^# The following packages are considered.*/# Left out: HpBandSter asks for it only to name a network card, and it needs a C compiler:/' \
	    requirements.lock

lock-containers: ## renew the images' locks (root on Debian: see containers/README.md)
	@containers/lock.sh
	@WRITABLE=$(CURDIR)/containers containers/testing/apptainer.sh $(CONTAINER_CACHE)/root $(CURDIR)/containers/lock-debs.sh
	@containers/pin.sh

clean: ## remove .venv and caches, never results
	rm -rf .venv .venv-syne .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks dist

# The peer that benchmarks compare with, apart from everything else since it pins other versions.
.venv-syne/ready: Makefile
	@rm -rf .venv-syne && mkdir -p .venv-syne .venv && echo 'Building .venv-syne for the benchmark:'
	@$(call step,virtual environment,$(PYTHON) -m venv .venv-syne)
	@$(call step,Syne Tune,.venv-syne/bin/python -m pip --disable-pip-version-check --no-input install $(SYNE_TUNE))
	@touch $@

# A changed lock builds .venv anew; a changed pyproject.toml installs the project itself again.
.venv/ready: pyproject.toml .venv/locked
	@$(call step,sweepmark itself,$(PIP) --no-deps --no-build-isolation -e .)
	@touch $@

# The lock is complete, so pip resolves nothing, except what torch brings for its own build. What needs building comes
# before torch, which its set-up would import. No step needs a compiler: netifaces, which would, is not installed.
.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo 'Python 3.11 or newer is needed: install it, or name it with make PYTHON=/path/to/python3.11.'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo 'The venv module of $(PYTHON) is missing: install it (on Debian: apt install python3-venv).'; exit 1; }
	@rm -rf .venv && mkdir .venv && echo 'Building .venv (about two minutes, once):'
	@$(call step,virtual environment,$(PYTHON) -m venv .venv)
	@$(call step,build tools,$(PIP) --no-deps pip setuptools wheel packaging)
	@$(call step,DeepSpeed and HpBandSter from source,$(PIP) --no-deps --no-build-isolation deepspeed hpbandster)
	@$(call step,torch,$(PIP) torch)
	@$(call step,all other locked packages,$(PIP) --no-deps -r requirements.lock)
	@touch $@
