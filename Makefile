# Makes .venv and runs lagline in it; no logic of lagline's own. For any make from GNU 3.81 on, GNU or BSD tools.

PY := .venv/bin/python
ENV := .venv/.installed
# in one process more than there are cores, file by file in the order of their names: those of flows/, which also wait, come first
SPREAD = -n $(shell $(PY) -c 'import os; print(min(8, 1 + (os.cpu_count() or 1)))') --dist loadfile --no-loadscope-reorder
PLAIN := not story and not ui and not fault and not engine and not stack
USABLE := import ensurepip, fcntl, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
NO_PYTHON := lagline needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian and Ubuntu the package python3-venv): \
    install one, or name it: make PYTHON=/path/to/python3.12

# A .venv that does not run (its Python has gone, an install was cut off) is made again, whatever its date.
RUNS := $(shell $(PY) -c '$(USABLE)' 2>/dev/null && echo yes)

.DEFAULT_GOAL := help
.PHONY: help setup run ui test test-fast test-stories test-faults test-engine test-stack test-ui test-course docs lint format bench clean clean-state force

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(ENV) ## make .venv with the locked dependencies (the others do it by themselves)

run: $(ENV) ## the main job on the shipped data: check, window, train, compare, register
	$(PY) -m flows compare params/nyc_weather.yaml
	$(PY) -m flows compare params/nyc_departures.yaml

ui: $(ENV) ## the pages of MLflow and Prefect on all runs so far
	$(PY) -m flows ui

test: lint ## lint, types and all tests but those of the lanes below
	$(PY) -m pytest $(SPREAD) -m "$(PLAIN)"

test-fast: $(ENV) ## the tests that need no server and no command line, in two to three minutes
	$(PY) -m pytest -n logical --maxprocesses 8 --dist worksteal -m "not slow and $(PLAIN)"

test-stories: $(ENV) ## whole stories by the command line, from Python and by the pages: compare, promote, serve, tune
	$(PY) -m pytest $(SPREAD) -m "story and not fault and not engine and not stack"

# four at a time, since they wait more than they work
test-faults: $(ENV) ## the tests that kill processes and servers, fill disks, stop answers
	$(PY) -m pytest -n 4 --dist worksteal -m "fault and not ui and not engine and not stack"

# one after another: each drives the two nodes that they share
test-engine: $(ENV) ## the tests on a Ray cluster of this machine (installs the extra [ray] into .venv)
	@$(PY) -c "import ray" 2>/dev/null || $(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[ray]'
	$(PY) -m pytest -m engine

# one after another: they share PostgreSQL, the servers and the two nodes
test-stack: $(ENV) ## a team's servers from packages: PostgreSQL, S3, MLflow, Prefect, Ray (skipped without PostgreSQL)
	@$(PY) -c "import ray, psycopg2, flask_wtf" 2>/dev/null || \
	    $(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[ray,postgresql,s3,auth]'
	$(PY) -m pytest -m stack -rs

# what it writes is in the site from then on
test-course: $(ENV) ## execute the lessons of docs/course, with every claim in them, and write them for `make docs`
	$(PY) -m docs.course build/course

test-ui: $(ENV) ## the tests in a browser (SCREENSHOTS=folder keeps the pictures)
	$(PY) -m pytest -m ui -rs tests/ui

# strict: a broken link or an unknown name ends it; the course is in it where `python -m docs.course build/course` has written it
docs: $(ENV) ## the documentation as a site, in build/site (installs the extra [docs] into .venv)
	@$(PY) -c "import latex2mathml, material, mkdocs, mkdocstrings" 2>/dev/null || $(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "build/site/index.html; its search needs a server: $(PY) -m http.server --directory build/site --bind 127.0.0.1"

lint: $(ENV) ## ruff and mypy, changing nothing
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(ENV) ## sort imports and format all files
	$(PY) -m ruff check --select I --fix .
	$(PY) -m ruff format .

bench: $(ENV) ## run every benchmark
	@some=; for file in benchmarks/[a-z]*.py; do \
	    [ -f "$$file" ] || continue; \
	    some=yes; name=$${file#benchmarks/}; name=$${name%.py}; \
	    echo "== $$name"; $(PY) -m "benchmarks.$$name" || exit 1; \
	done; [ -n "$$some" ] || echo "There are no benchmarks yet (benchmarks/*.py)."

clean: ## remove .venv and all caches; runs and models stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build lagline.egg-info
	find . -path ./.git -prune -o -path ./.lagline -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

clean-state: ## remove .lagline: all runs, models and panels made here, for good
	rm -rf .lagline

# --- the environment -------------------------------------------------------------------------------------------------
# The stamp is written last: an install that was cut off begins again. Of two makes at once the second waits for the lock.

force:

PYTHON ?= $(firstword $(foreach one,python3 python3.12 python3.11 python3.13,$(shell $(one) -c '$(USABLE)' 2>/dev/null && echo $(one))))
LOCKED = import fcntl, os; lock = os.open("pyproject.toml", os.O_RDWR); fcntl.flock(lock, fcntl.LOCK_EX); \
    os.set_inheritable(lock, True); os.execvp("sh", ["sh", "-euc", os.environ["INSTALL"]])
define INSTALL
if [ $(ENV) -nt pyproject.toml ] && [ $(ENV) -nt constraints.txt ] && $(PY) -c '$(USABLE)' 2>/dev/null; then exit 0; fi
[ -f $(ENV) ] && $(PY) -c '$(USABLE)' 2>/dev/null || { rm -rf .venv; $(PYTHON) -m venv .venv; }
rm -f $(ENV); echo "Installing the locked dependencies into .venv (some minutes the first time) ..."
export UV_FIND_LINKS="$$($(PY) -m pip config get global.find-links 2>/dev/null | xargs | tr ' ' ,)" # which uv does not look up
if command -v uv >/dev/null; then set -- uv pip install --compile-bytecode --python $(PY); else set -- $(PY) -m pip install; fi
"$$@" -c constraints.txt -e '.[dev]'; : > $(ENV)
endef
$(ENV): pyproject.toml constraints.txt $(if $(RUNS),,force)
	@$(PYTHON) -c '$(USABLE)' 2>/dev/null || { echo "$(NO_PYTHON)" >&2; exit 2; }
	@$(PYTHON) -c '$(LOCKED)'

export INSTALL
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE # without bytecode every start compiles Prefect anew, for seconds
