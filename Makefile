# `make run` and `make test` need Python 3.11+ and make; everything else they install into .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help run test e2e check fmt bench lock clean parts release

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: Python 3.11 or newer is needed (set PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than 3.11 (set PYTHON=...)" >&2; exit 1; }
	@echo "Setting up .venv (once, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(STAMP) ## the whole idea on this machine: a tour, then a server to play with (ONCE=1 stops after the tour)
	@$(BIN)/akua demo $(if $(ONCE),--once)

test: $(STAMP) parts ## every check and every test that this machine can run
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest tests/unit tests/http -n 2 -q --cov --cov-report=
	@$(BIN)/python hack/coverage_gate
	@$(BIN)/python -m pytest tests/integration $(wildcard tests/manifests) -n 2 -q --dist loadfile
	@test -n "$(CI)" || hack/e2e --if-built

e2e: $(STAMP) ## a real Kubernetes on this machine, our image and manifests on it, and every promise tried with kubectl (root on Linux)
	@hack/e2e

parts: ## install the real parts that the integration tests use (root with apt; elsewhere those tests skip, loudly)
	@hack/test-parts

check: $(STAMP) ## formatting, lint, types, architecture, dependencies, dead code
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 3
	@$(BIN)/deptry . 2>.deptry.out || { cat .deptry.out >&2; rm -f .deptry.out; exit 1; }; rm -f .deptry.out
	@$(BIN)/vulture

fmt: $(STAMP) ## format, and fix what ruff can fix
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

bench: $(STAMP) ## measure against peers on this machine (ratios; nothing here asserts)
	@$(BIN)/python -m tests.bench

lock: $(STAMP) ## resolve the lock files again, with hashes
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-strip-extras pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-strip-extras pyproject.toml --group dev -o requirements-dev.lock

release: $(STAMP) ## cut a release here: VERSION=0.2.0, and IMAGE="--debian" for the arguments of hack/image (NO_IMAGE=1: none)
	@test -n "$(VERSION)" || { echo "make: say which version: make release VERSION=0.2.0" >&2; exit 2; }
	@$(BIN)/python hack/release.py $(VERSION) $(if $(NO_IMAGE),--no-image,--image="$(IMAGE)")

clean: ## remove what was set up here
	rm -rf .venv .akua build *.egg-info .mypy_cache .ruff_cache .coverage
