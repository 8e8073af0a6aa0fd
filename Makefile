# Keyside's tasks. `make` lists them. Each task installs missing tools, and says so first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# After a failure, what does not wait for it still runs, so that one report names all failures.
MAKEFLAGS += --no-builtin-rules --no-print-directory --keep-going

need := tests/checks/need
target_dir := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Prints how long the command of a target took.
timed = @$(alone) tests/checks/timed $@
# A suite with the debug build: `$(suite)/ui/run.sh`.
suite := KEYSIDE_BIN=$(target_dir)/debug/keyside tests
# What is compiled before a suite runs. With the examples cargo chooses the same features as for the tests, and so compiles each crate
# once for both.
built := --bins --examples
# Those of `make test`, the longest first: .ci/run runs several at a time.
suites := vault ui libraries api docs sdk image charts builder contract smoke systemd
checks := fmt structure providers scripts ci alerts dependencies clippy docs api

.PHONY: help run build test image builder ui clients contract vault charts check bench fmt clean

help: ## List the tasks
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{ printf "  make %-8s %s\n", $$1, $$2 }'

run: ## Build Keyside and start the demo: no account, no key, nothing kept
	@$(need) cargo cc cmake
	cargo build --profile quick --locked --bin keyside
	@exec $(target_dir)/quick/keyside demo

build:
	@$(need) cargo cc cmake
	$(timed) cargo build --locked --workspace $(built)

test: test-rust test-examples $(suites:%=test-%) ## Every test but those of coding agents: Rust, documentation examples, the providers' real SDKs, libraries that use them, the providers' contracts, the commands of the documents, the CI smoke script, a real OpenBao, random API requests, the Helm chart, the admin page and the example builder in Chromium, the image and the systemd unit

image: ## Build the container image localhost/keyside:dev from this checkout (ARGS go to buildah)
	@$(need) buildah git
	buildah bud --layers --format docker --tag localhost/keyside:dev \
		--build-arg REVISION=$$(git rev-parse HEAD) --build-arg CREATED=$$(git log -1 --format=%cI) $(ARGS) .

builder: build ## The example builder (docs/examples/builder) in Chromium, with the real keyside behind it (ARGS go to node --test)
	@$(need) npm chromium
	$(suite)/builder/run.sh $(ARGS)

ui: build ## The admin page in Chromium: checklist, keyboard, no JavaScript, axe, hostile input, cookie, weight (KEYSIDE_UI_SCREENSHOTS=FOLDER keeps screenshots; ARGS go to node --test)
	@$(need) npm curl chromium
	$(suite)/ui/run.sh $(ARGS)

clients: build ## The recipes in config/recipes with every real client, including coding agents: 3 GB to install (ARGS go to pytest)
	@$(need) venv npm curl
	$(suite)/clients/run.sh $(ARGS)

contract: build ## Each provider's contract through Keyside, against aimock (KEYSIDE_CONTRACT_LIVE=1: against the providers whose keys are in the environment; ARGS go to pytest)
	@$(need) venv npm ip
	$(suite)/contract/run.sh $(ARGS)

check: $(checks:%=check-%) ## Every CI check except the tests

vault: build ## Keyside with a real OpenBao, including rare and long cases (ARGS go to pytest)
	@$(need) venv
	$(suite)/vault/run.sh $(ARGS)

charts: build ## The Helm chart: rendered, validated, and its processes started for real (ARGS=--write accepts new snapshots and writes the chart's README; ARGS go to pytest)
	@$(need) venv
	$(suite)/charts/run.sh $(ARGS)

bench: ## Measure against nginx on this machine, side by side (ARGS=--declared: a declared key against the store; ARGS=start: start time; ARGS=lists: lists of the admin API and the page of keys; ARGS=revoke: how long a revoked key is still used; ARGS=build: how long the first build takes)
	@$(need) cargo cc cmake
	tests/bench/run.sh $(ARGS)

fmt: ## Format the Rust sources
	@$(need) cargo rustfmt
	cargo fmt --all

clean: ## Delete build output
	cargo clean

.PHONY: tools test-rust test-examples test-agents $(suites:%=test-%)

tools:
	@$(need) venv npm curl ip chromium

# Yields to the tests with OpenBao, which mostly wait, and expect changes to be in use soon after a poll.
yielding := nice -n 5

test-rust: build
	@$(need) nextest
	$(timed) $(yielding) cargo nextest run --workspace --locked

test-examples: build
	$(timed) tests/checks/doctests

$(suites:%=test-%): test-%: build tools
	$(timed) $(yielding) env $(suite)/$(or $(folder),$*)/run.sh $(options)

test-vault: options = -m "not slow"
test-vault: yielding =
test-libraries: folder = clients
test-libraries: options = -m quick

# Never both at once: the namespaces of test-image would keep the disk mounted whose power a Rust test cuts.
test-rust test-image: private alone = flock --close $(target_dir)/power-cut.lock

test-agents: build tools
	$(timed) $(yielding) env $(suite)/clients/run.sh -m slow

.PHONY: $(checks:%=check-%)

check-fmt:
	@$(need) cargo rustfmt
	$(timed) cargo fmt --all --check

check-clippy:
	@$(need) cargo cc cmake clippy
	$(timed) cargo clippy --workspace --all-targets --locked -- -D warnings

# Dependencies between crates and between modules, and the files that may open a secret. selftest.py first proves that the checks work.
check-structure:
	@python3 -B tests/checks/selftest.py --quiet
	@python3 tests/checks/arrows.py
	@python3 -B tests/checks/floors.py
	@python3 tests/checks/exposure.py
	@python3 -B tests/checks/layout.py

# Generated pages match their sources, and everything that the documentation names exists: the binary itself says which commands.
check-docs: build
	@tests/checks/integrations.py
	@tests/checks/clients.py
	@$(suite)/checks/docs.py

# The alert rules, their tests, and the metrics that they and the dashboard use.
check-alerts:
	$(timed) tests/checks/alerts

# Every call of the providers' SDKs is on exactly one list: forwarded, forwarded if allowed, or refused.
check-providers:
	$(timed) tests/checks/sdk_calls.py

# docs/openapi.json matches the code.
check-api: build
	@$(suite)/checks/openapi

check-scripts:
	$(timed) tests/checks/scripts

# Workflows, Containerfile, compose file, and secrets in any file.
check-ci:
	$(timed) tests/checks/ci

check-dependencies:
	$(timed) tests/checks/deny
