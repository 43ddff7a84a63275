# Everything that is done to this tree, in one place; .ci/run calls these and nothing else.
# A packager may set PREFIX BINDIR LIBEXECDIR SYSCONFDIR DESTDIR GO GOFLAGS, and VERSION on the
# command line (not by the environment, where that name means too many things).

GO         ?= go
VERSION    := $(shell cat VERSION)
PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
SYSCONFDIR ?= /etc
FUZZTIME   ?= 60s
# Where the state of make bench is. Not among temporary files, which may be in memory.
BENCHDIR   ?= $(BUILD)/bench

# The built tree has the installed layout, so build/bin/certwright finds its plugins beside it.
BUILD   := $(CURDIR)/build
PLUGDIR := $(BUILD)/libexec/certwright/plugins
PLUGINS := $(patsubst plugins/%/main.go,%,$(wildcard plugins/*/main.go))

# A plugin that needs a vendor's SDK (APART) and every example are modules of their own.
APART   := $(patsubst %/go.mod,./%,$(wildcard plugins/*/go.mod))
MODULES := . $(patsubst %/go.mod,%,$(wildcard plugins/*/go.mod examples/*/go.mod))

# Other directories than the standard ones are compiled in, so that an installed program finds
# them; with the standard ones the bytes depend on the source and VERSION alone.
GO_LDFLAGS := -s -w -X main.version=$(VERSION)
ifneq ($(LIBEXECDIR),$(PREFIX)/libexec)
GO_LDFLAGS += -X main.libexecDir=$(LIBEXECDIR)
endif
ifneq ($(SYSCONFDIR),/etc)
GO_LDFLAGS += -X main.sysconfDir=$(SYSCONFDIR)
endif
RELEASE := env CGO_ENABLED=0 $(GO)
FLAGS   := -trimpath -buildvcs=false -ldflags "$(GO_LDFLAGS)"

# Tests build too, several at once: one at a time may write into build/.
LOCK := $(if $(shell command -v flock),flock $(BUILD)/.lock)

TOOLS            := $(CURDIR)/.tools
GOLANGCI_VERSION := v2.15.0
BUF_VERSION      := v1.75.0
GEN_VERSION      := v1.36.12
GRPC_VERSION     := v1.6.2
TOOL_STAMPS := $(TOOLS)/.golangci-lint-$(GOLANGCI_VERSION) $(TOOLS)/.buf-$(BUF_VERSION) \
               $(TOOLS)/.protoc-gen-go-$(GEN_VERSION) $(TOOLS)/.protoc-gen-go-grpc-$(GRPC_VERSION)

# A shell that stops at the first failure, and a mask under which nothing gets writable by others:
# certwright refuses plugins that others could have written.
SHELL       := /bin/sh
.SHELLFLAGS := -euc
UMASK       := umask 022;

.DELETE_ON_ERROR:
.PHONY: all build programs install demo ca test test-all lint fuzz proto bench docs clean \
        packages vet tools proto-check cross race reproducible FORCE

all: build

## build: the program, plugincheck and every plugin, as released
build: FORCE | $(BUILD)/.lock
	@$(UMASK) $(LOCK) $(MAKE) --no-print-directory programs

# One go build for all of a module: one for each program would look at the same packages two
# dozen times. What has not changed stays in its place, where others may be copying it.
programs:
	@$(UMASK) $(RELEASE) build $(FLAGS) -o $(BUILD)/programs/ ./cmd/certwright ./cmd/plugincheck $(filter-out $(APART),$(PLUGINS:%=./plugins/%)); \
	for m in $(APART); do $(RELEASE) -C "$$m" build $(FLAGS) -o $(BUILD)/programs/ .; done; \
	put() { [ "$(BUILD)/programs/$$1" -ef "$$2" ] || ln -f "$(BUILD)/programs/$$1" "$$2"; }; \
	for p in certwright plugincheck; do put $$p $(BUILD)/bin/$$p; done; \
	for p in $(PLUGINS); do put $$p $(PLUGDIR)/certwright-plugin-$$p; done

$(BUILD)/.lock:
	@$(UMASK) mkdir -p $(BUILD)/bin $(PLUGDIR); touch $@

$(BUILD)/bin/%: FORCE | $(BUILD)/.lock
	@$(UMASK) $(LOCK) $(RELEASE) -C cmd/$* build $(FLAGS) -o $@ .

## install: build, then copy below DESTDIR
# A user who installs for himself keeps his configuration below ~/.config and cannot make a directory
# in /etc; a package holds that directory, so below DESTDIR it has to be there.
install: build
	@$(UMASK) \
	install -d -m 0755 $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBEXECDIR)/certwright/plugins; \
	install -m 0755 $(BUILD)/bin/certwright $(BUILD)/bin/plugincheck $(DESTDIR)$(BINDIR)/; \
	install -m 0755 $(PLUGINS:%=$(PLUGDIR)/certwright-plugin-%) $(DESTDIR)$(LIBEXECDIR)/certwright/plugins/; \
	install -d -m 0755 $(DESTDIR)$(SYSCONFDIR)/certwright 2>/dev/null || test -z "$(DESTDIR)" || \
	{ echo "cannot make $(DESTDIR)$(SYSCONFDIR)/certwright"; exit 1; }

## demo: from this tree to a certificate that a TLS client has seen served
demo: build $(BUILD)/bin/demo
	@$(UMASK) dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	$(MAKE) --no-print-directory install DESTDIR="$$dir" PREFIX=; \
	$(BUILD)/bin/demo -prefix "$$dir"

## ca: a test CA to try plugins with, until Ctrl-C; WWW=DIR is served for http-01, ZONE=ZONE=HOST:PORT names the server of a zone
ca: $(BUILD)/bin/demo
	@exec $(BUILD)/bin/demo ca $(if $(WWW),-www '$(WWW)') $(if $(ZONE),-zone '$(ZONE)')

## test: what every change must pass; at most ten minutes on two cores
test: packages build vet
	@$(UMASK) for m in $(MODULES); do ./.ci/unseen $(GO) -C "$$m" test -timeout 9m ./...; done

## test-all: everything, the slow tests and the checks of the build included
test-all: packages build proto-check cross reproducible race
	@$(UMASK) for m in $(MODULES); do ./.ci/unseen $(GO) -C "$$m" test -tags slow -timeout 40m ./...; done

# Debian packages that the tests need; installed where that is allowed, an error under CI=true.
packages:
	@./.ci/packages

vet:
	@for m in $(MODULES); do $(GO) -C "$$m" vet -tags slow ./...; done

# The race detector runs on what is tested inside one process; programs under test are built as released.
race:
	@$(UMASK) CGO_ENABLED=1 ./.ci/unseen $(GO) test -race -timeout 20m ./host/... ./sdk/...

# What other systems compile, tests included.
cross:
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	for m in $(MODULES); do for to in darwin/arm64 freebsd/amd64 linux/arm64; do \
	  echo "compile $$m for $$to"; \
	  export CGO_ENABLED=0 GOOS=$${to%/*} GOARCH=$${to#*/}; \
	  $(GO) -C "$$m" build -buildvcs=false -o "$$dir/" ./...; \
	  $(GO) -C "$$m" vet -tags slow ./...; \
	done; done

reproducible:
	@./.ci/reproducible

## lint: format, vet, golangci-lint with the import table, the protocol's own rules, and what it must not break
lint: tools vet proto-check
	@bad=$$(gofmt -l $(wildcard cmd host sdk plugins examples)); \
	if [ -n "$$bad" ]; then echo "not formatted by gofmt (run gofmt -w on them):"; echo "$$bad"; exit 1; fi
	@for m in $(MODULES); do (cd "$$m" && $(TOOLS)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...); done
	@cd sdk/proto; $(TOOLS)/buf lint; $(TOOLS)/buf format --diff --exit-code

## fuzz: every fuzz target for FUZZTIME (60s)
fuzz:
	@GO=$(GO) FUZZTIME=$(FUZZTIME) ./.ci/fuzz $(MODULES)

## bench: what an order takes, beside the floor (docs/performance.md); BENCH="-json FILE" and other flags of cmd/bench
bench: build $(BUILD)/bin/bench
	@$(UMASK) dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	$(MAKE) --no-print-directory install DESTDIR="$$dir" PREFIX=; \
	$(GO) test -c -trimpath -o "$$dir/pluginhost.test" ./host/internal/pluginhost; \
	mkdir -p $(BENCHDIR); $(BUILD)/bin/bench -dir $(BENCHDIR) -prefix "$$dir" -pluginhost "$$dir/pluginhost.test" $(BENCH)

## proto: regenerate the Go code and plugin.binpb
proto: tools
	@TOOLS=$(TOOLS) ./.ci/proto sdk/proto

proto-check: tools
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; cp -R sdk/proto "$$dir/"; \
	TOOLS=$(TOOLS) ./.ci/proto "$$dir/proto"; \
	diff -r sdk/proto "$$dir/proto" >"$$dir/diff" || { head -20 "$$dir/diff"; echo "sdk/proto is stale: run make proto and commit the result"; exit 1; }
	@TOOLS=$(TOOLS) ./.ci/breaking sdk/proto

tools: $(TOOL_STAMPS)

$(TOOLS)/.golangci-lint-%: MODULE = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/.buf-%:           MODULE = github.com/bufbuild/buf/cmd/buf
$(TOOLS)/.protoc-gen-go-v%:      MODULE = google.golang.org/protobuf/cmd/protoc-gen-go
$(TOOLS)/.protoc-gen-go-grpc-v%: MODULE = google.golang.org/grpc/cmd/protoc-gen-go-grpc
$(TOOL_STAMPS):
	@echo "installing $(MODULE)@v$(lastword $(subst -v, ,$@)) (once; minutes on a small machine)"
	@mkdir -p $(TOOLS); GOBIN=$(TOOLS) $(GO) install $(MODULE)@v$(lastword $(subst -v, ,$@)); touch $@

## docs: the pages that are written from what the plugins say of themselves, docs/plugins
docs: build
	@$(BUILD)/bin/certwright plugins pages docs/plugins $(PLUGINS) --config-dir $(BUILD)

## clean: what the targets above made
clean:
	rm -rf $(BUILD) $(TOOLS)
