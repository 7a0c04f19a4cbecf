# What a developer and CI run. Everything but Go, git and a shell comes from the pinned modules of
# tools/, and what tests start from Debian's packages (tools/install-test-deps.sh).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

bin := build/bin
generators := $(addprefix $(bin)/,buf openapiv3-merge protoc-gen-go protoc-gen-go-grpc protoc-gen-grpc-gateway \
	protoc-gen-openapiv3)
linters := $(addprefix $(bin)/,golangci-lint govulncheck)
# A workspace of buf: api/, and beside it what it imports.
workspace := build/workspace
imports := $(workspace)/.written
# Where files are generated before they replace, or are compared with, those of the tree. Go skips folders named so.
fresh := build/_generated
# Tags of test files, for what looks at all of them.
tags := servers,long,clusters
# What npm writes last.
node_modules := test/clients/node_modules/.package-lock.json

.PHONY: help
help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name does; do \
		printf '%-16s %s\n' "$$name" "$$does"; done

.PHONY: build
build: ## Build the program: build/gatehouse.
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o build/gatehouse ./cmd/gatehouse

.PHONY: generate
generate: $(fresh) ## Make gen/ and openapi/ from api/.
	cp -R $(fresh)/gen/. gen
	@cd gen && find . -type f | while read -r file; do [ -e "../$(fresh)/gen/$$file" ] || rm -v "$$file"; done
	@$(complete_openapi)
	cp $(fresh)/openapi/openapi.json openapi/openapi.json

# The document is completed by a program that links gen/: it can run once gen/ is known to be what api/ generates.
.PHONY: check-generate
check-generate: $(fresh) ## Fail if gen/ or openapi/ is not what `make generate` makes. Changes neither.
	@diff -ru gen $(fresh)/gen >build/generate.diff || { sed -n 1,60p build/generate.diff; \
		echo 'gen/ is not what api/ generates: run make generate' >&2; exit 1; }
	@$(complete_openapi)
	@diff -ru --exclude='*.go' openapi $(fresh)/openapi >build/generate.diff || { sed -n 1,60p build/generate.diff; \
		echo 'openapi/ is not what api/ generates: run make generate' >&2; exit 1; }

.PHONY: $(fresh)
$(fresh): $(generators) $(imports)
	rm -rf $(fresh)
	$(bin)/buf generate --output $(fresh)

# The order of the files is that of the tags.
openapi_parts = $(addprefix $(fresh)/build/openapi/gatehouse/v1/,user.openapi.json session.openapi.json)
define complete_openapi
set -e; mkdir -p $(fresh)/openapi; \
$(bin)/openapiv3-merge $(openapi_parts) \
	$$(ls $(fresh)/build/openapi/gatehouse/v1/*.json | grep -v $(addprefix -e ,$(openapi_parts))) >$(fresh)/merged.json; \
go run ./internal/openapigen $(fresh)/merged.json $(fresh)/openapi/openapi.json
endef

# Where `make protos` writes.
PROTOS ?= build/protos

.PHONY: protos
protos: $(imports) ## Write the public contract with all that it imports to the folder PROTOS (build/protos), for protoc and others.
	rm -rf $(PROTOS)
	mkdir -p $(PROTOS)/gatehouse
	cp -R $(workspace)/imports/. $(PROTOS)
	cp -R api/gatehouse/v1 $(PROTOS)/gatehouse

.PHONY: common-passwords
common-passwords: ## Make the list of passwords that the store refuses, from the module that tools/go.mod pins.
	cd tools && go run ./commonpasswords \
		<"$$(go list -m -f '{{.Dir}}' github.com/trustelem/zxcvbn)/data/passwords.txt" \
		>../services/store/internal/password/common.txt.gz.new
	mv services/store/internal/password/common.txt.gz.new services/store/internal/password/common.txt.gz

.PHONY: lint
lint: lint-api lint-go lint-words ## Lint the contract, the code and the words; refuse what breaks the contract of main.

.PHONY: lint-api
lint-api: $(bin)/buf $(imports)
	$(bin)/buf lint $(workspace)
	$(bin)/buf format api --diff --exit-code
	$(MAKE) protos PROTOS=build/_protos
	$(bin)/buf build build/_protos
	sh tools/breaking.sh $(bin)/buf

.PHONY: lint-go
lint-go: $(bin)/golangci-lint
	go vet ./...
	go vet -tags $(tags) ./...
	cd test && go vet ./... && go vet -tags $(tags) ./...
	GOARCH=386 CGO_ENABLED=0 go vet ./... # where int has 32 bits
	$(bin)/golangci-lint run ./...
	cd test && ../$(bin)/golangci-lint run --config ../.golangci.yml ./...

# The folder whose words `make lint-words` checks.
DIR ?= .

.PHONY: lint-words
lint-words: ## Check doc comments and the words of the folder DIR (all), by docs/adr/0031-words.md.
	@cd tools && go test ./words && go build -o ../$(bin)/words ./words
	@$(bin)/words $(DIR)

.PHONY: fix
fix: $(bin)/buf $(bin)/golangci-lint $(imports) ## Format the contract and the code.
	$(bin)/buf format api --write
	$(bin)/golangci-lint fmt ./...
	cd test && ../$(bin)/golangci-lint fmt --config ../.golangci.yml ./...

# Three lanes: see docs/adr/0030-test-lanes.md. The first is `go test ./...`, which needs only Go.
.PHONY: test-quick
test-quick: ## Run the tests that need only Go.
	go test ./...

.PHONY: test
test: test-deps ## Run every test that a change must pass, with the race detector, on real servers.
	go test -race -tags servers -timeout 15m ./...
	cd test && go test -race -timeout 15m ./...

.PHONY: test-deps
test-deps:
	sh tools/install-test-deps.sh
	$(MAKE) $(node_modules)

.PHONY: test-long
test-long: test-faults test-large test-clusters soak ## Run what takes longer: faults, large numbers, clusters, a soak.

.PHONY: test-faults
test-faults: test-deps ## Let each kind of fault happen once while clients use replicas of each service, and check every answer.
	cd test && go test -tags long -timeout 15m ./faults

.PHONY: test-large
test-large: test-deps ## Run the tests with as many users, rounds and replicas as they have at the most.
	go test -tags servers,long -timeout 30m ./...
	cd test && go test -tags long -timeout 30m $$(go list ./... | grep -v /faults$$)

.PHONY: test-clusters
test-clusters: ## Run the suites of the cache on Redis Cluster and Sentinel, and those of the storage on Galera.
	sh tools/install-test-deps.sh clusters
	go test -race -timeout 30m -tags servers,clusters -run 'Cluster|Sentinel|Galera' \
		./internal/testkit ./services/cache/...
	go test -timeout 60m -tags servers,clusters ./services/store/internal/storage/...
	cd test && go test -timeout 30m -tags long,clusters -run '^TestFaultsOnClusters$$' ./faults

.PHONY: bench-users
bench-users: ## Compare databases of 1,000 and of USERS users (a million). Takes minutes, and 2 GB under the folder for temporary files.
	cd test && go test -run '^$$' -bench '^BenchmarkUsers$$' -benchtime 1x -timeout 2h ./scale -users $(or $(USERS),1000000)

.PHONY: bench-overload
bench-overload: ## Measure what a flood of log-ins does to log-ins and to reads of profiles. Takes minutes, and all cores.
	cd test && go test -run '^$$' -bench '^BenchmarkOverload$$' -benchtime 1x -timeout 1h ./load

.PHONY: bench-limits
bench-limits: ## Measure the memory of the gateway with clients that do not release what they use. Requires `ulimit -n` of 20,000.
	cd test && go test -run '^$$' -bench '^BenchmarkLimits$$' -benchtime 1x -timeout 1h ./load

# How long a soak lasts.
SOAK ?= 30m

.PHONY: soak
soak: ## Let everything go wrong at random for SOAK (30m), and check each answer. FAULTS_SEED repeats a run's faults.
	cd test && SOAK=$(SOAK) go test -v -count 1 -timeout 0 -tags long -run '^TestFaults$$' ./faults

.PHONY: vuln
vuln: $(bin)/govulncheck ## Look for known vulnerabilities in what the code calls. Needs the internet.
	@$(bin)/govulncheck ./... || { \
		echo 'govulncheck found a vulnerability, or did not reach its database: see above' >&2; exit 1; }

# The imported protos are those of the modules in go.mod, as buf cannot always reach those that buf.yaml names.
$(imports): go.mod go.sum buf.yaml $(wildcard internal/protoimports/*.go)
	rm -rf $(@D)
	go run ./internal/protoimports $(@D)/imports
	ln -s ../../api $(@D)/api
	awk '/^deps:/ { print "  - {path: imports, lint: {ignore: [imports]}, breaking: {ignore: [imports]}}" } \
		/^deps:|^  - buf\.build|^#/ { next } { print }' buf.yaml >$(@D)/buf.yaml
	@touch $@

# `go list tool` names the packages of a module's tool block; each binary is called like its package's folder.
build_tool = go build -o $(CURDIR)/$@ "$$(go list tool | grep '/$(@F)$$')" && touch $(CURDIR)/$@

$(node_modules): test/clients/package.json test/clients/package-lock.json
	cd $(dir $<) && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

$(generators): tools/go.mod tools/go.sum
	cd tools && $(build_tool)

$(linters): tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && $(build_tool)
