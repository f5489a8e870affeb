# Two commands do everything on a fresh Debian or Ubuntu machine: `make demo` and `make test`. Each installs what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD := build/tree
JOBS ?= $(shell nproc)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# g++ brings gcc, through which mrpcd compiles policies where it runs.
DEBIAN := g++ make python3-dev python3-venv doctest-dev libnghttp2-dev libssl-dev libzstd-dev nlohmann-json3-dev libhwy-dev
DEBIAN_TESTS := iproute2 redis-server chromium ccache
# Texts and pictures of the vector database. What they recommend, a window to browse WordNet in, nobody needs here.
DEBIAN_DATA := wordnet-base dataset-fashion-mnist
DEBIAN_FUZZ := clang libclang-rt-14-dev

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1	/' | expand -t 22

doctor:  ## what this machine has, and how to mend what is missing
	@$(PYTHON) tools/doctor.py

# Debian packages, when root and when they are missing; without root the doctor says what to ask for.
define apt
	@missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then echo "installing:" $$missing; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(2) $$missing >/dev/null; fi
endef

setup:
	$(call apt,$(DEBIAN))
	@$(PYTHON) tools/doctor.py

setup-tests: setup
	$(call apt,$(DEBIAN_TESTS))

$(VENV)/.ready: requirements-dev.txt pyproject.toml tools/develop.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages into $(VENV)"
	@$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	@$(BIN)/python tools/develop.py
	@touch $@

CONFIGURE = cmake -S . -G Ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
	$(if $(shell command -v ccache),-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_C_COMPILER_LAUNCHER=ccache)

build: setup $(VENV)/.ready  ## native modules, in place
	@mkdir -p $(BUILD)
	@$(CONFIGURE) -B $(BUILD) -DMRPC_MODULE_DIR=$(CURDIR)/stubs -DMRPC_TESTS=ON > $(BUILD).log 2>&1 || (cat $(BUILD).log; exit 1)
	@cmake --build $(BUILD) -j $(JOBS) --target _native _dataplane _curator mrpc-load

demo: build  ## hotel reservation over the mesh, beside gRPC and Envoy; leaves nothing running
	@python -m apps.hotel.demo

up: build  ## the hotel kept running until Ctrl-C, with its URL
	@python -m apps.hotel.run

demo-vectordb: build  ## a vector database for 1000 tenants: questions in plain words, grants, a policy; leaves nothing running
	$(call apt,$(DEBIAN_DATA),--no-install-recommends)
	@python -m apps.vectordb.demo

test: setup-tests build test-native test-sanitized test-python test-install test-soak  ## every test

test-native: build
	@cmake --build $(BUILD) -j $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure -j 2

test-python: build
	@python -m pytest -n $(JOBS) --dist loadfile

test-install: build  ## pip install . into another environment
	@tests/install.sh

test-sanitized: setup
	@tests/sanitize.sh --smoke

test-sanitize: build
	@tests/sanitize.sh --quick

test-soak: build
	@python -m tests.soak --seconds 20

bench: build  ## every benchmark; renders bench/RESULTS.md
	@python -m bench $(ARGS)
	@python tools/readme_numbers.py
	@python tools/policy_table.py

sanitize: setup-tests build  ## native and Python tests under ASan and UBSan, native ones under TSan
	@tests/sanitize.sh
	@tests/sanitize.sh --thread

upgrade-test: setup-tests build  ## hot restarts between the build of REF (v0.2.0) and this one, both ways, under load
	@tests/upgrade/two_builds.sh $(or $(REF),v0.2.0)

fuzz: setup $(VENV)/.ready  ## each fuzz target for SECONDS_EACH (60)
	$(call apt,$(DEBIAN_FUZZ))
	@tests/fuzz/run.sh $(or $(SECONDS_EACH),60)

soak: build  ## mixed load, kills and reloads for MINUTES (10), then an account
	@python -m tests.soak --minutes $(or $(MINUTES),10)

simulate: build  ## SEEDS (20000) of the simulation of two daemons; SEED=N: that one, told step by step
	@cmake --build $(BUILD) -j $(JOBS) --target dataplane_simulation_test
	@MRPC_SIMULATION_SEEDS=$(or $(SEEDS),20000) MRPC_SIMULATION_SEED=$(or $(SEED),0) $(BUILD)/tests/native/dataplane/dataplane_simulation_test

lint: $(VENV)/.ready  ## ruff, and the house rules
	@ruff check .

clean:  ## everything that was built
	rm -rf build $(VENV)/.ready stubs/mrpc/*.so mrpc_service/*.so mrpc_service/bin apps/vectordb/*.so

.PHONY: help doctor setup setup-tests build demo demo-vectordb up test test-native test-python test-install test-sanitized test-sanitize test-soak bench sanitize upgrade-test fuzz soak simulate lint clean
