# Two commands: `make demo` shows the whole pipeline, `make test` checks it. Both make the environment first.
PYTHON ?= python3.11
BIN := .venv/bin
# dvc calls `python`, and Dask's workers are children of it: all must be the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test setup lint clean

demo: setup
	dvc repro
	@python -m rich.markdown --width 110 reports/table.md
	@echo "pictures: reports/pictures/   curves: dvc plots show   pairs: python -m pipeline.inspect shard_0000 --png sheet.png"

test: setup lint
	pytest -n 2 --dist loadfile

lint: setup
	ruff check .
	ruff format --check .
	mypy

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# What was dear stays: .dvc/cache, and .work with the shards and trainings of other parameters.
clean:
	rm -rf .venv data models reports
