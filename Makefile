# Everything that people and CI run. "make" alone lists the targets.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
LINT    := $(GO) tool -modfile=tools/go.mod golangci-lint
AGENT   := internal/agentbin/bin/berth-init

# Tests run real containers, which needs root. Other users compile as themselves and run the finished tests through sudo.
ifneq ($(shell id -u),0)
TESTFLAGS += -exec "sudo -E env PATH=$(PATH) HOME=$(HOME)"
endif

# Few packages at a time: more of them, each with containers or a PostgreSQL of its own, only starve each other.
TESTFLAGS += -race -p 2 -timeout 25m

# The version is stamped above, also where git is missing or refuses the directory.
export GOFLAGS += -buildvcs=false

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: $(AGENT) ## bin/berthd and bin/berth
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./cmd/berthd ./cmd/berth

# The agent runs in containers of any distribution, so it is static; berthd carries it. go build itself knows when it is current.
.PHONY: $(AGENT)
$(AGENT):
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $@ ./cmd/berth-init

.PHONY: test
test: ## every test, real containers and databases included (installs missing Debian packages)
	@[ "$$(id -u)" = 0 ] || command -v sudo >/dev/null || { echo "tests start containers: run make test as root, or install sudo" >&2; exit 1; }
	scripts/packages run volume test
	$(MAKE) build
	$(GO) test $(TESTFLAGS) ./...

.PHONY: lint
lint: ## what CI checks besides the tests
	scripts/packages lint
	shellcheck --severity=warning .ci/run scripts/*
	$(LINT) run ./...

.PHONY: fmt
fmt: ## format the code and the generated documents
	$(LINT) fmt ./...
	$(GO) test -run '^TestStateMachineDrawing$$' . -update

.PHONY: demo
demo: ## a real job from start to end on this machine
	@scripts/demo

.PHONY: bench
bench: build ## measure berth beside its peers
	scripts/packages run volume test bench
	$(GO) run ./bench $(BENCHFLAGS)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s)
	@scripts/fuzz $(FUZZTIME)

.PHONY: clean
clean: ## remove what the targets above made in this directory
	rm -rf bin $(AGENT)
