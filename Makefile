# The commands of conclave's developers and newcomers; meson does the work. `make help` lists them.

MESON ?= meson
PREFIX ?= /usr/local

.PHONY: all up test lint asan tsan valgrind coverage soak torture mutants mutants-auto node nightly format install clean help
.DEFAULT_GOAL := all

all: build/build.ninja ## build everything but the tests, into build/
	@ninja -C build

up: build/build.ninja ## build, then run a cluster of three nodes on this machine; Ctrl-C stops it
	@ninja -C build cli/conclave
	@exec build/cli/conclave up -n 3

test: ## build and run every suite but the lints; the last line has the counts
	@scripts/check.sh test

lint: ## clang-format, clang-tidy, layers, symbols, headers
	@scripts/check.sh lint

asan: ## units, simulator and some process tests under AddressSanitizer and UBSan
	@scripts/check.sh asan

tsan: ## the stress program under ThreadSanitizer
	@scripts/check.sh tsan

valgrind: ## units and a short life of three nodes under valgrind; slow, for the night
	@scripts/check.sh valgrind

coverage: ## branch coverage of raft/ and storage/ by units and simulator; at least 95 %
	@scripts/check.sh coverage

soak: ## the simulator on new seeds for HOURS=8; SEEDS=N instead, FIRST=S, REQUIRE_MARKS=1, WRITE=1, CONTINUE=1
	@scripts/soak.sh --hours $(or $(HOURS),8) $(if $(SEEDS),--seeds $(SEEDS)) \
	    $(if $(FIRST),--first $(FIRST)) $(if $(REQUIRE_MARKS),--require-marks) $(if $(WRITE),--write) $(if $(CONTINUE),--continue)

torture: ## real nodes under kills, pauses, partitions, their histories checked; MINUTES=5, ARGS='--seed N'
	@scripts/torture.sh --minutes $(or $(MINUTES),5) $(ARGS)

mutants-auto: ## break every line by rule; says who notices. ARGS='raft/append.c --sample N --seeds N --list'
	@scripts/setup.sh lint
	@python3 tests/mutants/auto.py $(ARGS)

node: ## fetch from npm what examples/node needs; from then on `make test` runs it too
	@cd examples/node && npm install --no-audit --no-fund

mutants: ## break the code in known ways; every one must be found. ARGS='--only X --seeds N -j 2 --write'
	@scripts/setup.sh test
	@python3 tests/mutants/hunt.py $(ARGS)

nightly: ## everything: what every change must pass, coverage, soak that requires all marks, torture, mutants, valgrind
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory node; fi
	@REQUIRE_MARKS=1 WRITE=1 MINUTES=60 .ci/run test lint asan tsan coverage soak torture mutants valgrind

format: ## reformat every source file
	@scripts/setup.sh lint
	@python3 tests/lint/format.py --write

install: build/build.ninja ## install the program, the library and its headers under PREFIX
	@$(MESON) configure build -Dprefix=$(PREFIX)
	@ninja -C build
	@$(MESON) install -C build --no-rebuild

clean: ## remove every build directory
	@rm -rf build build-*

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

# The packages are asked for before every build: cheap when nothing is missing.
build/build.ninja: FORCE
	@scripts/setup.sh build
	@test -f $@ || $(MESON) setup build -Dtests=false

.PHONY: FORCE
FORCE:
