# Everything runs in .venv, which `make install` makes from constraints.txt. Only Python 3.11+ and make are needed.
PYTHON ?= python3
BIN := .venv/bin
AUDIT := .venv/audit
# A smaller, CPU-only torch on Linux:  make install PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=

# Hundreds of processes are started by the tests alone: what one of them has compiled is there for the next.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help install demo local test check lint imported format generate lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

KERNELS := inference/berth_inference/kernels

install: .venv/installed $(AUDIT)/installed $(KERNELS)/libberth-avx512.so ## Install Berth and its tools into .venv

# uv installs in seconds what pip takes minutes for. It is told pip's index, which it does not ask for.
UV = $(BIN)/uv pip install --quiet --index-strategy unsafe-best-match \
	--default-index "$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || echo https://pypi.org/simple)}" \
	$(PIP_ARGS) -c constraints.txt

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Berth needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
# torch first and by its exact version: a wheel index that carries a CPU build then wins over the CUDA one.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile $(PIP_ARGS) -c constraints.txt "$$(grep '^torch==' constraints.txt)" uv
	$(UV) --python $(BIN)/python -e '.[test]'
	@touch $@

# Apart, for one of its packages makes every process that reads a JSON schema take seconds longer to start.
$(AUDIT)/installed: constraints.txt .venv/installed
	$(PYTHON) -m venv $(AUDIT)
	$(UV) --python $(AUDIT)/bin/python cyclonedx-bom pip-audit
	@touch $@

$(KERNELS)/libberth-avx512.so: $(wildcard $(KERNELS)/*.[ch]) $(KERNELS)/compile.py .venv/installed
	$(BIN)/python $(KERNELS)/compile.py

demo: install ## Apply a Workspace on an embedded control plane and ask its model a question
	@$(BIN)/berth demo

local: install ## Start the embedded control plane and operator, and stay up
	@$(BIN)/berth local

# Three workers on two cores: much of the time goes by in waiting for processes that start.
# They take the files in the order of tests/conftest.py, the longest first.
PYTEST := $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test: install ## Run every test that takes no minutes
	@$(PYTEST) -m "not thorough"

lint: .venv/installed ## Style, types, import contracts, Dockerfiles and workflows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run -Werror $(KERNELS)/*.[ch]
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint Dockerfile.*
	@$(BIN)/zizmor --offline --quiet --persona=pedantic .github/workflows

# Once, while types are checked, and not by three workers at the same time. What fails here will say so there.
imported: .venv/installed
	-@$(PYTEST) -n 0 --collect-only -q >/dev/null 2>&1

check: lint imported install ## What CI runs: lint, then every test that this machine can run
	@$(PYTEST)

format: install ## Format the code and fix what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(KERNELS)/*.[ch]
	@$(BIN)/ruff check --fix .

generate: install ## Write the generated files anew (the CRD, the docs' tables)
	@$(BIN)/python -m berth_operator.api.crd --write charts/berth/crd/workspaces.kaito.sh.yaml
	@$(BIN)/python -m berth_operator.preset_table --write docs/presets.md
	@$(BIN)/python -m berth_operator.conditions_page --write docs/conditions.md
	@$(BIN)/python tools/chart_docs.py --write
	@$(BIN)/python -m berth_inference.settings_schema --write operator/berth_operator/data/server_settings.json
	@$(BIN)/python -m berth_inference.api_tables --write docs

lock: install ## Write constraints.txt anew from what .venv holds
	@{ sed -n '/^#/p' constraints.txt; for bin in $(BIN) $(AUDIT)/bin; do $$bin/python -m pip freeze --all --exclude pip --exclude-editable; done | LC_ALL=C sort -fu -t= -k1,1 | grep -v ' @ ' | sed 's/+cpu$$//'; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## Remove .venv, caches and what was compiled
	rm -rf $(KERNELS)/libberth-*.so .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
