# Everything a developer does here, each in one word. The work itself is in cargo and in tools/build.sh.

# Pinned like everything else; it lands beside the other tools, not among the user's own programs.
CARGO_DENY_VERSION := 0.20.2
CACHE = $(dir $(shell tools/build.sh --print-dir))
CARGO_DENY = $(CACHE)cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_CYCLONEDX_VERSION := 0.5.9
CARGO_CYCLONEDX = $(CACHE)cargo-cyclonedx-$(CARGO_CYCLONEDX_VERSION)/bin/cargo-cyclonedx
CARGO_FUZZ_VERSION := 0.13.1
CARGO_FUZZ = $(CACHE)cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz

MDBOOK_VERSION := 0.5.4
MDBOOK = $(CACHE)mdbook-$(MDBOOK_VERSION)/bin/mdbook

FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 1
# How many simulations `make simulate` plays.
SEEDS ?= 1000
FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/targets/*.rs)))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help tools sdks browser demo local docs bundle test fuzz simulate faults campaign soak versions e2e image check lint generated supply-chain advisories notices sbom workflows release-check chart alerts bench generate fmt clean announce

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools: ## Build the Kubernetes programs that demo and tests stand on (once, about 5 minutes)
	@tools/build.sh

sdks: ## Install the official SDKs that the emulator is tested with: Python, Go, Node, Open Telekom Cloud (once, two minutes)
	@tools/sdks.sh

demo: tools announce ## Show the operator at work on this machine, no cloud account needed; ONCE=1 ends by itself
	cargo build --locked --bin functiongraph-operator --example demo
	$${CARGO_TARGET_DIR:-target}/debug/examples/demo $(if $(ONCE),--once)

local: announce ## Run operator and local FunctionGraph for the cluster of your kubeconfig (kind, k3d, …); Ctrl-C ends both
	@tools/local.sh

browser: ## Install the browser that the page of the emulator is tested with (Debian and Ubuntu)
	@tools/browser.sh

SIMULATION := --quiet --profile simulation -p simulation

test: tools sdks browser announce ## Run all tests, and the end-to-end test too where this machine can be a node
	@tools/chart.sh unit
	@# Tests mostly wait: the images and the simulations are built meanwhile, in the time that they leave (the kernel shares the
	@# processors among sessions first, and then looks at who is nice). The tests of memory run the program that is in the
	@# operator's image.
	@if ! tools/node/up.sh --check >/dev/null; then echo cargo test --locked --workspace; exec cargo test --locked --workspace; fi; \
	setsid sh -c 'echo 19 >/proc/self/autogroup; exec nice -n 19 sh -c "tools/image.sh; cargo build --locked $(SIMULATION)"' >/dev/null 2>&1 & images=$$!; \
	echo "cargo test --locked --workspace -- --skip memory::"; \
	cargo test --locked --workspace -- --skip memory:: || { kill -- "-$$images" 2>/dev/null; exit 1; }; \
	program=$$(tools/image.sh --program) || exit 1; \
	echo "TEST_OPERATOR=$$program cargo test --locked --test it memory::"; \
	TEST_OPERATOR=$$program cargo test --locked --test it memory::
	@$(MAKE) --no-print-directory simulate SEEDS=300
	@if reason=$$(tools/node/up.sh --check); then $(MAKE) --no-print-directory e2e; \
	else echo "The end-to-end test is left out, because this machine cannot be a node: $$reason"; fi

# Without a sanitizer, which would need a nightly toolchain and finds errors that code without `unsafe` cannot make. The
# inputs that reached new code stay in the cache for the next run.
fuzz: $(CARGO_FUZZ) announce ## Search for inputs that break a reader, for FUZZ_SECONDS (60) in total; FUZZ_SEED=0 begins elsewhere each time
	@for target in $(FUZZ_TARGETS); do \
	mkdir -p $(CACHE)fuzz/$$target; \
	$(CARGO_FUZZ) run --dev --sanitizer none --features search $$target $(CACHE)fuzz/$$target fuzz/seeds/$$target -- \
	-max_total_time=$$(($(FUZZ_SECONDS) / $(words $(FUZZ_TARGETS)) + 1)) -seed=$(FUZZ_SEED) -dict=fuzz/words \
	-timeout=10 -rss_limit_mb=1024 -max_len=16384 -verbosity=0 || failed=1; \
	done; exit $${failed:-0}

simulate: announce ## Play the operator on virtual time for SEEDS (1000) seeds, FROM the first; SEED=7 plays one and prints its history, shortened with SHRINK=1
	cargo run --locked $(SIMULATION) -- $(if $(SEED),$(SEED) $(if $(SHRINK),--shrink),--seeds $(SEEDS) $(if $(FROM),--from $(FROM)))

faults: tools announce ## Let every call of every story meet every fault, on a real API server (half an hour); PLAN=7 runs one plan
	PLAN=$(or $(PLAN),all) LONG=1 cargo test --locked --test crash -- --nocapture faults:: $(if $(PLAN),,posts:: outage:: stands_still)

campaign: tools announce ## Edit at random under random faults, on a real API server; SEED=7 plays others
	SEED=$(or $(SEED),1) cargo test --locked --test crash -- --nocapture random_edits

soak: tools announce ## Invoke for MINUTES (10) with three replicas, kills and faults, judged by the emulator's ledger
	MINUTES=$(or $(MINUTES),10) SEED=$(or $(SEED),1) cargo test --locked --profile simulation --test crash -- --nocapture a_soak

versions: tools announce ## Run tests/it and tests/crash on each supported version of Kubernetes (hours); VERSIONS="1.34" runs one
	@tools/versions.sh

e2e: tools announce ## Install images and chart on a real node, upgrade, scale, kill: as root, or with E2E_KUBECONFIG
	@[ -n "$$E2E_KUBECONFIG" ] || reason=$$(tools/node/up.sh --check) \
	|| { echo "This machine cannot be a node: $$reason. Set E2E_KUBECONFIG to use a cluster: docs/development.md"; exit 1; }
	cargo test --locked --test e2e -- end_to_end

image: ## Build the images of operator and emulator, with docker, podman or buildah
	@tools/image.sh

check: tools sdks announce lint test generated supply-chain workflows chart alerts docs ## Everything that must hold before a merge

lint: ## Formatting and clippy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --test e2e -- -D warnings

generated: tools ## Fail if crds/, docs/reference.md or the chart's README.md is not what the code says
	@tools/chart.sh docs check
	cargo test --locked --quiet --example reference
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT \
	&& cargo run --locked --quiet -- crd --output-dir "$$fresh" \
	&& { diff -ru crds "$$fresh" || { echo "crds/ is stale: run make generate"; exit 1; }; }

supply-chain: $(CARGO_DENY) ## Licences, sources and banned crates of all dependencies
	$(CARGO_DENY) --locked --workspace check bans licenses sources

advisories: $(CARGO_DENY) ## Known vulnerabilities of all dependencies; fetches the RustSec database
	$(CARGO_DENY) --locked --workspace check advisories

notices: ## Write THIRD-PARTY.txt, the licences of all that the images contain; `make image` does so itself
	@tools/notices.py >THIRD-PARTY.txt

sbom: $(CARGO_CYCLONEDX) ## List what is in the shipped programs, as CycloneDX in target/sbom
	@CARGO_CYCLONEDX=$(CARGO_CYCLONEDX) tools/sbom.sh

workflows: ## Check .github/workflows with actionlint and zizmor
	@tools/workflows.sh

release-check: ## Say whether this commit can be released, and what is in the way; see docs/releasing.md
	@tools/release.sh check

chart: tools ## Lint and test the Helm chart, hold it to five versions of Kubernetes, scan it
	@tools/chart.sh

alerts: ## Check the alerting rules and run their tests; needs promtool
	@command -v promtool >/dev/null || { echo "promtool is missing: apt-get install prometheus (Debian, Ubuntu), brew install prometheus (macOS)"; exit 1; }
	@cd charts/functiongraph-operator/files && promtool check rules alerts.yaml && promtool test rules alerts_test.yaml

bundle: tools ## Make the OLM bundle for IMAGE (repository:tag) in target/bundle, and validate it
	@tools/bundle.sh "$${IMAGE:?is not set: IMAGE=registry.example.com/functiongraph-operator:0.1.0 make bundle}"

bench: tools announce ## Measure under load
	cargo bench --locked --bench load

generate: tools ## Write crds/, docs/reference.md and the chart's README.md again from the code
	@tools/chart.sh docs
	cargo run --locked --quiet -- crd --output-dir crds
	cargo run --locked --quiet --example reference

docs: $(MDBOOK) ## Build the documents as a site with a search in target/docs, and check its links
	@MDBOOK=$(MDBOOK) tools/docs.sh

fmt: ## Format the code
	cargo fmt --all

clean: ## Remove what cargo built; the tools stay, other checkouts use them
	cargo clean

announce:
	@[ -d "$${CARGO_TARGET_DIR:-target}" ] || echo "The first build compiles all dependencies and takes a few minutes; cargo shows how far it is."

$(CARGO_CYCLONEDX):
	@echo "Building cargo-cyclonedx $(CARGO_CYCLONEDX_VERSION), once: a minute."
	cargo install cargo-cyclonedx --version $(CARGO_CYCLONEDX_VERSION) --locked --quiet --root $(CACHE)cargo-cyclonedx-$(CARGO_CYCLONEDX_VERSION)

$(MDBOOK):
	@echo "Building mdbook $(MDBOOK_VERSION), once: a few minutes."
	cargo install mdbook --version $(MDBOOK_VERSION) --locked --no-default-features --features search --quiet --root $(CACHE)mdbook-$(MDBOOK_VERSION)

$(CARGO_FUZZ):
	@echo "Building cargo-fuzz $(CARGO_FUZZ_VERSION), once: a minute."
	cargo install cargo-fuzz --version $(CARGO_FUZZ_VERSION) --locked --quiet --root $(CACHE)cargo-fuzz-$(CARGO_FUZZ_VERSION)

$(CARGO_DENY):
	@echo "Building cargo-deny $(CARGO_DENY_VERSION), once: a few minutes."
	cargo install cargo-deny --version $(CARGO_DENY_VERSION) --locked --quiet --root $(CACHE)cargo-deny-$(CARGO_DENY_VERSION)
