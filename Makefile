# Two commands: `make demo` shows the whole pipeline, `make test` checks it. Both make the environment first.
# `make test-light` checks what uses a network in an environment of its own, with current numpy, Pillow and OpenCV.
PYTHON ?= python3.11
BIN := .venv/bin
# dvc calls `python`, and Dask's workers are children of it: all must be the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)

LIGHT := .venv-light
# What makes pairs, trains, or takes weights from pip is not there.
OF_LIGHT := tests/configs tests/model $(addprefix --ignore tests/model/,training features pairs \
	benchmark/test_pair_scores.py encoders/test_pip_weights.py)

# torch's threads wait asleep: those of two test processes would take each other's cores to wait on.
QUIET := OMP_WAIT_POLICY=PASSIVE
AT_ONCE := -n 2 --dist loadfile --no-loadscope-reorder
# Compiling all that is installed takes longer than installing it; what is imported is compiled then, and must be kept:
# containers often say otherwise, and each process would compile torch anew.
INSTALL := pip install --quiet --no-compile
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-light test-anomalib setup lint clean

demo: setup
	dvc repro
	@python -m rich.markdown --width 110 reports/table.md
	@echo "pictures: reports/pictures/   curves: dvc plots show   pairs: python -m pipeline.inspect shard_0000 --png sheet.png"

test: setup lint
	$(QUIET) pytest $(AT_ONCE)

lint: setup
	ruff check .
	ruff format --check .
	mypy

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) --constraint constraints.txt --editable '.[test]'
	touch $@

test-light: $(LIGHT)/installed
	$(QUIET) PATH=$(CURDIR)/$(LIGHT)/bin:$$PATH $(LIGHT)/bin/python -m pytest $(AT_ONCE) $(OF_LIGHT)

$(LIGHT)/installed: pyproject.toml constraints-light.txt
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/$(INSTALL) --constraint constraints-light.txt --editable '.[test-light]'
	touch $@

# anomalib has its own mind about versions, so it is in no extra.
ANOMALIB := .venv-anomalib

test-anomalib: $(ANOMALIB)/installed
	$(ANOMALIB)/bin/python -m pytest tests/model/test_anomalib.py

$(ANOMALIB)/installed: pyproject.toml
	$(PYTHON) -m venv $(ANOMALIB)
	$(ANOMALIB)/bin/$(INSTALL) --editable . anomalib==2.7.0 hypothesis pytest
	touch $@

# What was dear stays: .dvc/cache, and .work with the shards and trainings of other parameters.
clean:
	rm -rf .venv $(LIGHT) $(ANOMALIB) data models reports
