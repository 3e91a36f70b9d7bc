# geoseg's tasks. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# --- what may be overridden on the command line ----------------------------------------------------

# Cargo features besides the default ones (CUDA). Tests run on Vulkan, too: in software without a GPU.
FEATURES ?= vulkan
# auto, cpu, cuda:0, vulkan: what train and infer run on.
DEVICE ?= auto
# Configuration file of a stage; SET="key.path=value other.key=value" overrides single keys.
CONFIG ?=
SET ?=
# Scenes for infer, the model for infer, vectors for eval, the output of any stage.
SCENE ?=
MODEL ?= runs/train/model.safetensors
PREDICTED ?= runs/buildings.geojson
TRUTH ?=
TILES ?= runs/tiles
OUT ?=
# Further options, passed on as they are: ARGS="--overwrite --threads 4".
ARGS ?=
# Debian packages besides those that the build needs.
EXTRA_PACKAGES ?=

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
GEOSEG := $(TARGET_DIR)/release/geoseg
# geoseg writes into folders that exist; those under runs/ are made here.
folder_of = @$(if $(filter runs/%,$(1)),mkdir -p $(dir $(1)),true)
OPTIONS = $(foreach file,$(CONFIG),--config $(file)) $(foreach pair,$(SET),--set $(pair)) $(ARGS)

.PHONY: help install-deps build demo test fuzz check fmt clippy deny doc tiles train infer eval gpu-bundle gpu-check bench

help: ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16
	@echo
	@echo 'Variables: CONFIG= SET= SCENE= MODEL= TILES= PREDICTED= TRUTH= OUT= DEVICE= ARGS= (see the head of the Makefile).'
	@echo 'Example:   make infer SCENE=scene.tif MODEL=model.safetensors OUT=buildings.geojson'

# --- building ---------------------------------------------------------------------------------------

install-deps: ## Install what is missing (GDAL, a C compiler) through apt
	@missing='$(EXTRA_PACKAGES)'; \
	command -v cc >/dev/null || missing+=' build-essential'; \
	command -v pkg-config >/dev/null || missing+=' pkg-config'; \
	pkg-config --exists gdal 2>/dev/null || missing+=' libgdal-dev'; \
	wanted=; for package in $$missing; do \
	  dpkg-query -W -f='$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' || wanted+=" $$package"; \
	done; \
	if [ -n "$$wanted" ]; then \
	  if ! command -v apt-get >/dev/null; then \
	    echo "error: please install these with your package manager (the names are Debian's):$$wanted" >&2; exit 1; \
	  fi; \
	  sudo=; if [ "$$(id -u)" != 0 ]; then \
	    command -v sudo >/dev/null || { echo "error: as root, please run: apt-get install$$wanted" >&2; exit 1; }; \
	    sudo='sudo'; \
	  fi; \
	  echo "Installing$$wanted"; \
	  $$sudo apt-get update -q; \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$wanted; \
	fi; \
	command -v cargo >/dev/null || { echo 'error: Rust is missing: see https://rustup.rs' >&2; exit 1; }

build: install-deps ## Build the release binary
	cargo build --release --locked

# --- showing ----------------------------------------------------------------------------------------

DEMO := runs/demo
DEMO_SCENE := data-samples/test

demo: build ## Tiles, training, inference and evaluation on the sample scenes
	@mkdir -p $(DEMO)
	$(GEOSEG) tiles --config config/demo/dataset.toml -o $(DEMO)/tiles --overwrite
	$(GEOSEG) train --config config/demo/train.toml --tiles $(DEMO)/tiles -o $(DEMO)/model --overwrite --device $(DEVICE)
	$(GEOSEG) infer $(DEMO_SCENE).tif --config config/demo/infer.toml --model $(DEMO)/model/model.safetensors \
	  -o $(DEMO)/buildings.geojson --scores $(DEMO)/scores.tif --overwrite --device $(DEVICE)
	@echo
	$(GEOSEG) eval --predicted $(DEMO)/buildings.geojson --truth $(DEMO_SCENE).geojson \
	  --image $(DEMO_SCENE).tif --overlay $(DEMO)/overlay.png --json $(DEMO)/metrics.json --overwrite
	@echo
	@echo 'buildings  $(DEMO)/buildings.geojson'
	@echo 'scores     $(DEMO)/scores.tif'
	@echo 'overlay    $(DEMO)/overlay.png'
	@echo 'metrics    $(DEMO)/metrics.json'
	@echo 'model      $(DEMO)/model/model.safetensors'

tiles: build ## Cut a tile set: CONFIG=dataset.toml OUT=folder
	$(call folder_of,$(or $(OUT),$(TILES)))
	$(GEOSEG) tiles -o $(or $(OUT),$(TILES)) $(OPTIONS)

train: build ## Train a model: CONFIG=train.toml TILES=folder OUT=folder
	$(call folder_of,$(or $(OUT),runs/train))
	$(GEOSEG) train --tiles $(TILES) -o $(or $(OUT),runs/train) --device $(DEVICE) $(OPTIONS)

infer: build ## Find buildings: SCENE=scene.tif MODEL=file OUT=buildings.geojson
	@[ -n '$(SCENE)' ] || { echo 'error: say which scene: make infer SCENE=scene.tif' >&2; exit 2; }
	$(call folder_of,$(or $(OUT),runs/buildings.geojson))
	$(GEOSEG) infer $(SCENE) --model $(MODEL) -o $(or $(OUT),runs/buildings.geojson) --device $(DEVICE) $(OPTIONS)

eval: build ## Compare: PREDICTED=buildings.geojson TRUTH=truth.geojson [SCENE=scene.tif OUT=metrics.json]
	@[ -n '$(TRUTH)' ] || { echo 'error: say what is true: make eval TRUTH=truth.geojson' >&2; exit 2; }
	$(GEOSEG) eval --predicted $(PREDICTED) --truth $(TRUTH) $(if $(SCENE),--image $(SCENE)) $(if $(OUT),--json $(OUT)) $(OPTIONS)

# --- checking ---------------------------------------------------------------------------------------

test: install-deps ## Build and pass all tests
	cargo test --locked --features $(FEATURES)

TIME := 60
fuzz: install-deps ## Damaged weights until something breaks or TIME=60 seconds are over (needs cargo-fuzz and nightly Rust)
	@mkdir -p fuzz/corpus/checkpoint
	cargo +nightly fuzz run checkpoint fuzz/corpus/checkpoint fuzz/seeds/checkpoint -- -max_total_time=$(TIME) -rss_limit_mb=2048

check: fmt clippy deny doc ## What CI checks: format, lints, licences, documentation

fmt:
	cargo fmt --check

clippy: install-deps
	cargo clippy --locked --features $(FEATURES) --all-targets -- -D warnings

doc: install-deps
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --features $(FEATURES) --no-deps --document-private-items

# The advisory database is fetched; where that cannot be, the rest is still checked.
deny:
	@if ! cargo deny --version >/dev/null 2>&1; then \
	  if [ -n "$${DENY_REQUIRED:-}" ]; then cargo install cargo-deny@0.20.2 --locked; else \
	  echo '*** cargo-deny is not installed: licences, sources and advisories were NOT checked.' >&2; \
	  echo '*** Install it with: cargo install cargo-deny --locked' >&2; exit 0; fi; \
	fi; \
	cargo deny --locked check licenses bans sources; \
	if cargo deny fetch db >/dev/null 2>&1; then cargo deny --locked check advisories; \
	else echo '*** The advisory database cannot be reached: advisories were NOT checked.' >&2; fi

# --- GPU --------------------------------------------------------------------------------------------

GPU_CHECK := runs/gpu-check

gpu-bundle: install-deps ## A folder to carry to a machine with an NVIDIA card and nothing else (needs cmake, clang): OUT=folder
	cargo build --release --locked --features bundled-gdal
	@mkdir -p $(or $(OUT),$(GPU_CHECK))/config
	cp $(GEOSEG) $(or $(OUT),$(GPU_CHECK))/
	cp -r data-samples $(or $(OUT),$(GPU_CHECK))/
	cp -r config/demo $(or $(OUT),$(GPU_CHECK))/config/
	cp benches/gpu-check.sh $(or $(OUT),$(GPU_CHECK))/

gpu-check: gpu-bundle ## On a machine with an NVIDIA card: is everything right there, and how fast? (build with GDAL inside)
	cd $(or $(OUT),$(GPU_CHECK)) && ./gpu-check.sh

bench: build ## What this machine does: every operator against its peaks, the network layer by layer, every stage
	$(GEOSEG) bench operators --device $(DEVICE) $(ARGS)
	$(GEOSEG) bench infer --profile --device cpu $(ARGS)
	@for case in infer 'infer --encoder efficientnet-b1' train loader tiles polygonize infer-scene; do $(GEOSEG) bench $$case --device $(DEVICE); done
