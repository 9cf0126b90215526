# make demo and make test are the whole set-up: each makes .venv and installs what is pinned in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
FAST := not ray and not flower and not fleet and not slow
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help install demo test test-all lint bench clean

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

install: .venv/installed  ## .venv, with the versions pinned in constraints.txt

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,rgb]'
	touch $@

demo: install  ## four cameras with few labels become good, in three minutes
	$(BIN)/fedkd run -m experiment=demo strategy=alone,distil

test: install  ## the proofs that take seconds each; minutes together
	$(BIN)/pytest -n 2 -m "$(FAST)"

test-all: install  ## all proofs: Ray, Flower's engine, and what is slow
	$(BIN)/pytest -m ""

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install  ## seconds and memory of a simulated round, beside a bare loop and Flower's engine; to results/bench
	$(BIN)/python -m simulations.bench

clean:  ## remove .venv and caches
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
