# Rolling's targets. Each one installs what it needs by itself; git, make and Go are the prerequisites (README.md).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO_VERSION := 1.26
GOLANGCI_VERSION := v2.15.0
export ROLLING_CACHE ?= /var/cache/rolling
export CGO_ENABLED := 0

PROGRAMS := ./agent ./ipam-driver ./network-driver ./logdriver ./exporter
# RUN narrows a tier of tests: make test-lab RUN=TestLeader
RUN ?= .
# The packages that hold tests for real kernels, engines and parts; the others need Go alone.
# The longest begin first, so that no processor is idle at the end.
LONGEST := ./agent ./lab/e2e/proofs ./lab/e2e ./lab/e2e/addresses ./network-driver ./manager/engine ./lab
LAB_TESTS = $(LONGEST) $(filter-out $(UI_TESTS) $(LONGEST),$(shell grep -rl --include='*_test.go' '^//go:build lab' . | xargs -rn1 dirname | sort -u))
LONG_TESTS = $(filter-out $(ROUNDS_TESTS),$(shell grep -rl --include='*_test.go' '^//go:build lab && long' . | xargs -rn1 dirname | sort -u))
# Round upon round of faults: hours.
ROUNDS_TESTS := ./lab/e2e/addresses
MODULE := github.com/rolling-swarm/rolling
# The dashboard in a real browser, which installs itself.
UI_TESTS := ./lab/browser
# What tests in network namespaces run of Debian's; what a lab needs, it installs by itself.
TEST_PACKAGES := bird2 iproute2 iptables iputils-ping nftables procps util-linux

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: need-go need-root
need-go:
	@command -v go >/dev/null || { echo "make: go is missing: install Go $(GO_VERSION) or newer and put it on PATH (README.md, Prerequisites)" >&2; exit 1; }
	@v=$$(go env GOVERSION); [ "$$(printf '%s\n' go$(GO_VERSION) $$v | sort -V | head -n 1)" = go$(GO_VERSION) ] || \
	  { echo "make: Go $(GO_VERSION) or newer is needed, $$v is on PATH (README.md, Prerequisites)" >&2; exit 1; }
need-root:
	@[ "$$(id -u)" = 0 ] || { echo "make: root is needed, since the lab makes namespaces and mounts: run it with sudo, or use 'make test-unit', which needs no root" >&2; exit 1; }

.PHONY: build plugins images
build: need-go ## the programs, static, in build/bin
	@mkdir -p build/bin
	go build -trimpath -ldflags '-s -w' -o build/bin/ $(PROGRAMS)
	go build -trimpath -ldflags '-s -w' -o build/bin/rolling ./manager
plugins: build ## the bundles of the plugins, in build/plugins
	go run ./plugins/bundle/cmd -out build/plugins
images: plugins ## the container images, in build/images
	go run ./images/cmd -out build/images

.PHONY: generate
generate: need-go ## Grafana's dashboards of examples/orders with their provisioning, in build/dashboards
	go run ./exporter dashboards --project orders --environment test --environment production --graphite http://graphite:8080 --out build/dashboards

.PHONY: lab lab-down
lab: need-go need-root ## a Swarm of three managers on this machine, with this checkout's plugins
	lab/lab up --install
lab-down: need-go need-root ## remove it without a trace
	lab/lab down

.PHONY: demo demo-down
demo: need-go need-root ## lab, plugins, examples/orders; prints one line a proof and leaves the lab running
	@mkdir -p build/bin
	go build -o build/bin/demo ./lab/demo
	build/bin/demo
demo-down: need-go need-root ## remove the demonstration's lab without a trace
	lab/lab down --name demo

.PHONY: test vet test-others test-unit test-lab test-ui
test: vet test-others test-lab test-ui ## every test
vet: need-go
	go vet -tags lab,long ./...
# test-lab runs a package's other tests, too: what it runs is not run twice.
test-others: need-go
	go test -run '$(RUN)' $$(go list ./... | grep -vxF "$$(printf '$(MODULE)%s\n' $(LAB_TESTS:.%=%))")
test-unit: need-go vet ## the tests that need Go alone
	go test -run '$(RUN)' ./...
test-lab: need-go need-root ## the tests that need root: real kernels, engines, Swarms
	lab/lab need $(TEST_PACKAGES)
	go test -tags lab -p 2 -parallel 3 -timeout 40m -run '$(RUN)' $(LAB_TESTS)
test-ui: need-go need-root ## the dashboard in a headless Chromium
	go test -tags lab -timeout 5m -run '$(RUN)' $(UI_TESTS)

.PHONY: test-long
test-long: need-go need-root ## the slow rounds that every test run need not pay for
	lab/lab need $(TEST_PACKAGES)
	go test ./ipam-driver/pool -run SimulationOf -sim.steps=5000000 -timeout 60m
	go test -tags lab,long -p 1 -timeout 60m -run '$(RUN)' $(LONG_TESTS)
	go test -tags lab,long -timeout 10h -run '$(RUN)' $(ROUNDS_TESTS)

# MATRIX narrows the engines: make test-matrix MATRIX=trixie; mixed is a Swarm whose nodes have different ones.
MATRIX ?= bookworm trixie forky mixed
MATRIX_TESTS := Ground|BadNetworks|FullPool|Address|IPv6|Label|Published|LAN
.PHONY: test-matrix
test-matrix: need-go need-root ## networks, addresses, isolation and faults on engines 20.10, 26.1, 28.5 and on a mixed Swarm
	lab/lab need $(TEST_PACKAGES)
	@failed=; for suite in $(MATRIX); do echo "== engine $$suite"; \
	  LAB_SUITE=$$suite go test -tags lab -count=1 -p 2 -timeout 40m -run '$(if $(filter .,$(RUN)),$(MATRIX_TESTS),$(RUN))' ./lab/e2e/... || failed="$$failed $$suite"; done; \
	  [ -z "$$failed" ] || { echo "make: failed on:$$failed" >&2; exit 1; }

.PHONY: fuzz bench lint clean
FUZZTIME ?= 30s
fuzz: need-go ## every parser, FUZZTIME (30s) each
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func /:/' | while IFS=: read -r file name; do \
	  echo "== $$name in $$(dirname $$file)"; go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)"; done
# BENCH narrows to groups of figures: make bench BENCH=net; BENCHFLAGS are those of lab/bench: BENCHFLAGS='-rounds 200 -tasks 60'
BENCH ?=
BENCHFLAGS ?=
bench: need-go need-root ## the figures, each beside its peer, as a table and in build/bench.jsonl; BENCH=net, ipam, rollout, manager, metrics or log
	@mkdir -p build/bin
	go build -o build/bin/bench ./lab/bench
	build/bin/bench $(BENCHFLAGS) $(BENCH)
lint: need-go ## golangci-lint with the set of .golangci.yml
	@[ -x $(ROLLING_CACHE)/bin/golangci-lint-$(GOLANGCI_VERSION) ] || { \
	  GOBIN=$(ROLLING_CACHE)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION) && \
	  mv $(ROLLING_CACHE)/bin/golangci-lint $(ROLLING_CACHE)/bin/golangci-lint-$(GOLANGCI_VERSION); }
	$(ROLLING_CACHE)/bin/golangci-lint-$(GOLANGCI_VERSION) run --build-tags lab
clean: ## what was built here (the cache outside the checkout stays)
	rm -rf build
