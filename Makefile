# Once. `make help` lists the targets.
SHELL := /bin/bash
RACE  ?=

.PHONY: help build test test-versions servers check bench fmt
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 15

build: ## the program once, as small as it gets, in bin/
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "-s -w" -o bin/once ./cmd/once

test: servers ## install the servers that the tests need, and run every test (RACE=1: with the race detector)
	go test $(if $(RACE),-race) -timeout 12m work

test-versions: servers ## run the stores' tests on other versions of their servers (ON="mysql redis": on these)
	RACE=$(RACE) internal/servers/versions.sh $(ON)

# What the tests start for themselves, on free ports and in temporary folders.
SERVERS := redis-server=redis-server postgres=postgresql pgbouncer=pgbouncer mariadbd=mariadb-server rabbitmq-server=rabbitmq-server python3=python3 ip=iproute2

servers: ## install the servers that the tests need (Debian packages, as root)
	@export PATH="$$PATH:/usr/sbin:$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)"; missing=; \
	for s in $(SERVERS); do command -v $${s%%=*} >/dev/null || missing="$$missing $${s##*=}"; done; \
	[ -z "$$missing" ] && exit 0; \
	command -v apt-get >/dev/null || { echo "The tests need these servers; install them:$$missing" >&2; exit 1; }; \
	[ $$(id -u) = 0 ] || { echo "The tests need servers that are missing. Run: sudo make servers" >&2; exit 1; }; \
	made=; [ -e /usr/sbin/policy-rc.d ] || { made=1; printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; }; \
	echo "installing$$missing"; apt-get -qq update && \
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null; rc=$$?; \
	[ -z "$$made" ] || rm -f /usr/sbin/policy-rc.d; exit $$rc

check: ## gofmt, vet and staticcheck over every module
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet work
	go tool staticcheck work

bench: ## the figures of docs/PERFORMANCE.md (on a quiet machine)
	$(MAKE) -C bench

fmt: ## gofmt every file
	gofmt -w .
