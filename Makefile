# Berth. `make` alone lists what there is.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Go is found where its own archive puts it, even when that is not on PATH.
export PATH := $(PATH):/usr/local/go/bin
GO_MINIMUM  := 1.26

LINT_VERSION := v2.15.0
LINT         := bin/tools/golangci-lint-$(LINT_VERSION)

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -buildid= -X main.version=$(VERSION)
BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
BINARIES := ./cmd/controller ./cmd/addin-sim

FUZZTIME ?= 30s
SOAK     ?= 8h
EXECS    ?= 1000000
PKG      ?= ./...

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: go
go:
	@command -v go >/dev/null || { \
	  echo "Go is missing: it is neither on PATH nor in /usr/local/go/bin."; \
	  echo "next: unpack the Linux archive of Go $(GO_MINIMUM) or later from https://go.dev/dl/ into /usr/local, then run make again."; exit 1; }

.PHONY: deps
deps: ## install the Debian packages that running and testing need
	@tools/deps.sh run test wine model browser

.PHONY: run
run: go ## see it work: hand a file over, upload it, fetch it by its link, compare
	@tools/deps.sh run
	@$(MAKE) --no-print-directory bin
	@tools/run.sh

.PHONY: test
test: go ## run every test with the race detector, against real servers
	@tools/deps.sh test
	@go test -race -count=1 -timeout 15m -json $(PKG) | go run ./tools/testcount -name linux
	@# What the race detector can't be there for: it touches lanes itself, allocates, and minds a stream that is changed.
	@go test -count=1 -json -run 'Fault|Vanish|Allocat|Booked' ./ipc | go run ./tools/testcount -name raceless

.PHONY: test-windows
test-windows: go ## vet and test the Windows builds under wine
	@tools/wine-test.sh -json $(PKG) | go run ./tools/testcount -name windows
	@go run ./tools/testcount -name tray -run tools/wine-tray.sh

.PHONY: test-browser
test-browser: go ## prove the monitor page, and a hostile page, in a real browser
	@tools/deps.sh browser
	@go test -tags browser -count=1 -run 'Browser|Hostile' -json ./control/monitor | go run ./tools/testcount -name browser

.PHONY: check
check: go $(LINT) ## formatting, vet for three systems, linters, import rules, scripts
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not formatted; next: gofmt -w"; echo "$$out"; exit 1; }
	@bad=; for os in linux windows darwin; do echo "vet and lint for $$os"; \
	  GOOS=$$os CGO_ENABLED=0 go vet -tags browser ./... || bad=1; \
	  GOOS=$$os CGO_ENABLED=0 $(LINT) run --build-tags browser ./... || bad=1; done; [ -z "$$bad" ]
	@for s in $$(git ls-files '*.sh' .ci/run); do bash -n "$$s"; done
	@go mod verify >/dev/null
	@# A module of its own, for Linux only: that is all that shmipc-go builds for.
	@[ "$$(go env GOOS)" != linux ] || { echo "vet and test bench"; cd bench && go vet ./... && go test -count=1 ./...; }
	@go test -count=1 .
	@echo "check: all good"

$(LINT):
	@echo "building golangci-lint $(LINT_VERSION) (once, about a minute)"
	@GOBIN=$(CURDIR)/bin/tools GOFLAGS= CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mv bin/tools/golangci-lint $@

.PHONY: bench
bench: go ## measure: round trips and throughput beside the peers, uploads, start, idle cost
	@tools/bench.sh

.PHONY: fuzz
fuzz: go ## fuzz every parser for FUZZTIME each (30s; 1000000x counts executions)
	@tools/fuzz.sh $(FUZZTIME)

.PHONY: fuzz-loop
fuzz-loop: go ## run every parser EXECS times in this process (1000000), and hostile companions
	@tools/fuzz-loop.sh $(EXECS)

.PHONY: fuzz-long
fuzz-long: ## fuzz-loop with 100000000 executions for each parser (about two hours)
	@$(MAKE) --no-print-directory fuzz-loop EXECS=100000000

.PHONY: model
model: ## explore the models of the ipc protocol, and their mutants, with spin
	@tools/deps.sh model
	@ipc/model/run.sh

.PHONY: torture
torture: go ## the long crash tests at full count (BERTH_TORTURE=1; hours)
	@$(MAKE) --no-print-directory bin
	@bin/addin-sim switch --sessions 5 --addins 8 --rounds 10
	@bin/addin-sim swarm --companions 8 --procs 8 --kills 10000
	@bin/addin-sim swarm --companions 8 --procs 4 --for 10m --mischief scribbler
	@bin/addin-sim swarm --companions 8 --procs 4 --for 5m --hostile
	@bin/addin-sim swarm --companions 8 --procs 4 --stop 60s
	@bin/addin-sim swarm --companions 1000 --procs 8 --for 60s
	@BERTH_TORTURE=1 go test -count=1 -timeout 6h -run Torture -json $(PKG) | go run ./tools/testcount -name torture

.PHONY: soak
soak: go ## uploads and companions, some of them killed, for SOAK (8h): descriptors, maps and memory must stay flat
	@$(MAKE) --no-print-directory bin
	@tools/soak.sh $(SOAK)

.PHONY: bin
bin: go ## build bin/controller and bin/addin-sim for this system
	@mkdir -p bin
	@$(BUILD) -o bin/ $(BINARIES)

.PHONY: build
build: bin ## build for Linux, Windows and macOS: bin/, bin/linux, bin/windows, bin/darwin
	@for t in linux/amd64 windows/amd64 darwin/arm64; do \
	  dir=bin/$${t%/*}; echo "build $$dir ($${t#*/})"; mkdir -p $$dir; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} $(BUILD) -o $$dir/ $(BINARIES); done

.PHONY: clean
clean: ## remove what the targets above made here (not the wine tree in ~/.cache)
	@rm -rf bin dist
