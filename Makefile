# `make` prints this page of what there is; each target says what it needs when that is missing.
SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

GOLANGCI_VERSION := v2.15.0
GOLANGCI := .tools/golangci-lint-$(GOLANGCI_VERSION)
IMAGE ?= tailfold
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
FUZZ_TIME ?= 1m
BASE ?= HEAD~1
KILLS ?= 200
OLDER ?= v2.10.29 v2.11.10 v2.12.2
GO_FLAGS := -trimpath
GO_LINK := -s -w

.PHONY: help
help: ## print this help
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do \
		printf '  make %-13s %s\n' "$$name" "$$text"; done
	@echo "Variables: PKG=$(PKG) for test and race; FUZZ_TIME=$(FUZZ_TIME) per fuzz target; KILLS=$(KILLS) for faults; IMAGE=$(IMAGE) for docker."

PKG ?= ./...

.PHONY: test
test: redis ## run all tests; installs redis-server first if it is missing
	bash .ci/tests -timeout 20m -- $$(go list $(PKG) | grep -v /consumer/faults)
	bash .ci/tests -timeout 20m -- ./consumer/faults

.PHONY: race
race: redis compiler ## run all tests with the race detector; of the fault tests a short choice
	bash .ci/tests -race -timeout 20m -- $$(go list $(PKG) | grep -v /consumer/faults)
	bash .ci/tests -race -timeout 20m -kills 4 -away 2s -stopped 2s -run 'Killed|Cut|Third|Diverged|Purged|Witness|Quiet|Look' -skip 'Routes|ForItsMemory' -- ./consumer/faults

.PHONY: fuzz
fuzz: redis ## run each fuzz target for FUZZ_TIME
	FUZZ_TIME=$(FUZZ_TIME) bash .ci/fuzz

.PHONY: faults
faults: redis ## kill workers, NATS and Redis KILLS times in each test, and compare with full replays
	go test ./consumer/faults -kills $(KILLS) -away 2m -stopped 20s -swarm 100 -rate-events 1000000 -timeout 90m

.PHONY: swarm
swarm: redis ## kill 1,000 workers that share 8 partitions by leases, with readers whose history is checked (half an hour)
	go test ./consumer/faults -run TestWorkersUnderLeasesAreKilled -swarm 1000 -v -timeout 60m

.PHONY: model
model: ## explore the protocol's model further than the tests do (a minute or two, under a gigabyte)
	go test ./consumer -run 'TestModel$$' -v -timeout 60m -model.units 1 -model.events 3 -model.upsets 1
	go test ./consumer -run 'TestModel$$' -v -timeout 60m -model.units 2 -model.events 2 -model.upsets 0 -model.faults 1

.PHONY: older-servers
older-servers: redis ## run the fault tests that restart and damage a NATS server with older ones: OLDER (builds each once, minutes)
	@for version in $(OLDER); do \
		dir=$(CURDIR)/.tools/nats-server-$$version; \
		[ -x $$dir/nats-server ] || GOBIN=$$dir go install github.com/nats-io/nats-server/v2@$$version || exit 1; \
		echo "nats-server $$version"; \
		TAILFOLD_TEST_NATS_SERVER=$$dir/nats-server go test ./consumer/faults -count 1 -kills 8 -timeout 20m \
			-run 'NATSKilled|LastBlockIsCut|GoneForAWhile|Admin|ServerHasForgotten|LeadersOfA|UnderLeases|Diverged|Backup|Purged|Witness|Holes|WorkQueue|Quiet|Expired|GivenUp|LookLike' || exit 1; \
	done

.PHONY: mutants
mutants: ## try engines that were made wrong on purpose: each must be caught by the schedule of its seed
	go test ./consumer/schedules -run TestMutantsAreCaught -mutants all -v -timeout 20m

.PHONY: kill
kill: ## a minute of kill -9: kill a worker 200 times under load, and compare with a full replay
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && go run ./cmd/tailfold dev --kill 200 --dir "$$dir/dev"

.PHONY: deploy-check
deploy-check: redis promtool ## render and check what is in deploy/: manifests, chart, alerts, dashboard, permissions
	go test ./deploy
	cd deploy/check && test -z "$$(gofmt -l .)" && go vet . && go test -v .

.PHONY: bench-compare
bench-compare: redis ## compare the Go benchmarks with those of the commit BASE (BENCH=regexp, COUNT=6, BENCH_TIME=300ms)
	bash .ci/bench-compare $(BASE)

.PHONY: lint
lint: $(GOLANGCI) ## vet, lint and hold the import rules (.golangci.yml)
	$(GOLANGCI) run ./...

.PHONY: fmt
fmt: ## format all Go code
	gofmt -w $$(git ls-files -c -o --exclude-standard '*.go')

.PHONY: cross
cross: ## build for linux and darwin, amd64 and arm64; vet the tests for darwin, too
	@set -e; export CGO_ENABLED=0; for platform in $(PLATFORMS); do \
		echo "$$platform: go build"; \
		GOOS="$${platform%/*}" GOARCH="$${platform#*/}" go build ./...; \
	done; \
	echo "darwin/arm64: go vet"; \
	GOOS=darwin GOARCH=arm64 go vet ./...

.PHONY: build
build: ## build bin/tailfold, static
	CGO_ENABLED=0 go build $(GO_FLAGS) -ldflags '$(GO_LINK)' -o bin/tailfold ./cmd/tailfold

.PHONY: docker
docker: ## build the image (needs a container engine)
	@docker info >/dev/null 2>&1 || { \
		echo "make docker: no container engine answers 'docker info': install and start Docker (or Podman with its docker command)" >&2; exit 1; }
	docker build --build-arg VERSION='$(VERSION)' --tag $(IMAGE) .

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin .tools

# What the targets need. On Debian, and as root, it is installed; elsewhere the target says what to install.
.PHONY: redis compiler promtool
redis:
	@bash .ci/need redis-server
promtool:
	@bash .ci/need promtool
compiler:
	@bash .ci/need gcc

# The linter is built from its module at one fixed version: some minutes once, then it is there.
$(GOLANGCI):
	@echo "make lint: building golangci-lint $(GOLANGCI_VERSION), once: this takes some minutes"
	@mkdir -p .tools
	GOBIN=$(CURDIR)/.tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(CURDIR)/.tools/golangci-lint $@
