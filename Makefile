# Keyside's tasks. `make` alone lists them. Each one installs what it needs and does not find, and says so first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

need := tests/checks/need
target_dir := $(abspath $(or $(CARGO_TARGET_DIR),target))

.PHONY: help run test clients vault check bench fmt clean

help: ## List the tasks
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{ printf "  make %-8s %s\n", $$1, $$2 }'

run: ## Build Keyside and start the demo: no account, no key, nothing kept
	@$(need) cargo cc cmake
	cargo build --release --locked
	@exec $(target_dir)/release/keyside demo

test: ## Every test but those of coding agents: Rust, documentation examples, the providers' real SDKs, the libraries over them, a real OpenBao, and the API at random
	@$(need) cargo cc cmake nextest venv npm curl ip
	cargo nextest run --workspace --locked
	@tests/checks/doctests
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/sdk/run.sh
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/clients/run.sh -m quick
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/vault/run.sh -m "not slow"
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/api/run.sh

clients: ## The recipes in config/recipes with every real client, coding agents too: 3 GB to install at first (ARGS go to pytest)
	@$(need) cargo cc cmake venv npm curl
	cargo build --locked
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/clients/run.sh $(ARGS)

check: check-fmt check-clippy check-structure check-docs check-providers check-api check-scripts check-dependencies ## All that CI asks besides the tests

vault: ## Keyside before a real OpenBao, also what waits for leases to end (ARGS go to pytest)
	@$(need) cargo cc cmake venv
	cargo build --locked --workspace --bins --examples
	KEYSIDE_BIN=$(target_dir)/debug/keyside tests/vault/run.sh $(ARGS)

bench: ## Measure against nginx on this machine, side by side (ARGS=--declared: a sidecar with a declared key beside the store; ARGS=start: how fast it starts; ARGS=lists: the admin API, ARGS=revoke: how soon a key is used no more)
	@$(need) cargo cc cmake
	tests/bench/run.sh $(ARGS)

fmt: ## Format the Rust sources
	@$(need) cargo rustfmt
	cargo fmt --all

clean: ## Remove what was built
	cargo clean

.PHONY: check-fmt check-clippy check-structure check-docs check-providers check-api check-scripts check-dependencies

check-fmt:
	@$(need) cargo rustfmt
	cargo fmt --all --check

check-clippy:
	@$(need) cargo cc cmake clippy
	cargo clippy --workspace --all-targets --locked -- -D warnings

# Which crate may depend on which, which module on which, and where a secret may be opened; first that these checks catch what they should.
check-structure:
	@python3 -B tests/checks/selftest.py --quiet
	@python3 tests/checks/arrows.py
	@python3 -B tests/checks/floors.py
	@python3 tests/checks/exposure.py
	@python3 -B tests/checks/layout.py

check-docs:
	@python3 tests/checks/links.py
	@tests/checks/integrations.py
	@tests/checks/clients.py
	@tests/checks/settings.py

# Every call of the providers' SDKs is on one list: forwarded, forwarded if allowed, or refused.
check-providers:
	@tests/checks/sdk_calls.py

# docs/openapi.json is what the code says.
check-api:
	@$(need) cargo cc cmake
	@tests/checks/openapi

check-scripts:
	@tests/checks/scripts

check-dependencies:
	@tests/checks/deny
