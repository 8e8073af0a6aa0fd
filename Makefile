# Keyside's tasks. `make` lists them. Each task installs missing tools, and says so first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

need := tests/checks/need
target_dir := $(abspath $(or $(CARGO_TARGET_DIR),target))

.PHONY: help run test image builder ui clients contract vault charts check bench fmt clean

help: ## List the tasks
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{ printf "  make %-8s %s\n", $$1, $$2 }'

run: ## Build Keyside and start the demo: no account, no key, nothing kept
	@$(need) cargo cc cmake
	cargo build --profile quick --locked --bin keyside
	@exec $(target_dir)/quick/keyside demo

test: ## Every test but those of coding agents: Rust, documentation examples, the providers' real SDKs, libraries that use them, the providers' contracts, the commands of the documents, the CI smoke script, a real OpenBao, random API requests, the Helm chart, the admin page and the example builder in Chromium, the image and the systemd unit
	@$(need) cargo cc cmake nextest venv npm curl ip chromium
	cargo nextest run --workspace --locked
	@tests/checks/doctests
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/sdk/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/contract/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/docs/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/smoke/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/clients/run.sh -m quick
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/vault/run.sh -m "not slow"
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/api/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/charts/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/builder/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/ui/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/image/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/systemd/run.sh

image: ## Build the container image localhost/keyside:dev from this checkout (ARGS go to buildah)
	@$(need) buildah git
	buildah bud --layers --format docker --tag localhost/keyside:dev \
		--build-arg REVISION=$$(git rev-parse HEAD) --build-arg CREATED=$$(git log -1 --format=%cI) $(ARGS) .

builder: ## The example builder (docs/examples/builder) in Chromium, with the real keyside behind it (ARGS go to node --test)
	@$(need) cargo cc cmake npm chromium
	cargo build --locked
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/builder/run.sh $(ARGS)

ui: ## The admin page in Chromium: checklist, keyboard, no JavaScript, axe, hostile input, cookie, weight (KEYSIDE_UI_SCREENSHOTS=FOLDER keeps screenshots; ARGS go to node --test)
	@$(need) cargo cc cmake npm curl chromium
	cargo build --locked
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/ui/run.sh $(ARGS)

clients: ## The recipes in config/recipes with every real client, including coding agents: 3 GB to install (ARGS go to pytest)
	@$(need) cargo cc cmake venv npm curl
	cargo build --locked
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/clients/run.sh $(ARGS)

contract: ## Each provider's contract through Keyside, against aimock (KEYSIDE_CONTRACT_LIVE=1: against the providers whose keys are in the environment; ARGS go to pytest)
	@$(need) cargo cc cmake venv npm ip
	cargo build --locked
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/contract/run.sh $(ARGS)

check: check-fmt check-clippy check-structure check-docs check-alerts check-providers check-api check-scripts check-ci check-dependencies ## Every CI check except the tests

vault: ## Keyside with a real OpenBao, including rare and long cases (ARGS go to pytest)
	@$(need) cargo cc cmake venv
	cargo build --locked --workspace --bins --examples
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/vault/run.sh $(ARGS)

charts: ## The Helm chart: rendered, validated, and its processes started for real (ARGS=--write accepts new snapshots and writes the chart's README; ARGS go to pytest)
	@$(need) cargo cc cmake venv
	cargo build --locked
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/charts/run.sh $(ARGS)

bench: ## Measure against nginx on this machine, side by side (ARGS=--declared: a declared key against the store; ARGS=start: start time; ARGS=lists: lists of the admin API and the page of keys; ARGS=revoke: how long a revoked key is still used)
	@$(need) cargo cc cmake
	tests/bench/run.sh $(ARGS)

fmt: ## Format the Rust sources
	@$(need) cargo rustfmt
	cargo fmt --all

clean: ## Delete build output
	cargo clean

.PHONY: check-fmt check-clippy check-structure check-docs check-alerts check-providers check-api check-scripts check-ci check-dependencies

check-fmt:
	@$(need) cargo rustfmt
	cargo fmt --all --check

check-clippy:
	@$(need) cargo cc cmake clippy
	cargo clippy --workspace --all-targets --locked -- -D warnings

# Dependencies between crates and between modules, and the files that may open a secret. selftest.py first proves that the checks work.
check-structure:
	@python3 -B tests/checks/selftest.py --quiet
	@python3 tests/checks/arrows.py
	@python3 -B tests/checks/floors.py
	@python3 tests/checks/exposure.py
	@python3 -B tests/checks/layout.py

# Generated pages match their sources, and everything that the documentation names exists: the binary itself says which commands.
check-docs:
	@$(need) cargo cc cmake
	@tests/checks/integrations.py
	@tests/checks/clients.py
	@cargo build --locked --quiet
	@KEYSIDE_BIN=$(target_dir)/debug/keyside python3 -B tests/checks/docs.py

# The alert rules, their tests, and the metrics that they and the dashboard use.
check-alerts:
	@tests/checks/alerts

# Every call of the providers' SDKs is on exactly one list: forwarded, forwarded if allowed, or refused.
check-providers:
	@tests/checks/sdk_calls.py

# docs/openapi.json matches the code.
check-api:
	@$(need) cargo cc cmake
	@tests/checks/openapi

check-scripts:
	@tests/checks/scripts

# Workflows, Containerfile, compose file, and secrets in any file.
check-ci:
	@tests/checks/ci

check-dependencies:
	@tests/checks/deny
