# Every target prints what it does; `make` alone lists them.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/ready
.DEFAULT_GOAL := help
.PHONY: help setup demo studio data scenes scenes-test train-tiny check test test-full bench eval eval-pseudo-layers eval-relation clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

$(READY): pyproject.toml
	@echo "setting up .venv (a few minutes, some 6 GB)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[dev]'
	@touch $(READY)

setup: $(READY) ## make the virtual environment with everything in it

demo: $(READY) ## paint an example brief into out/
	$(BIN)/python generate_layers.py examples/meadow.yaml out/meadow
	@echo "look at out/meadow/contact_sheet.png; open out/meadow/document.ora in Krita"

studio: $(READY) ## open the page on 127.0.0.1:7860
	$(BIN)/python gradio_layers.py

data: $(READY) ## fetch cut-outs and photographs, write shards and contact sheets to data/default/
	$(BIN)/python default_data.py

scenes: $(READY) ## render scenes to train on into data/scenes/train (20 minutes; needs make data, LLVM 19)
	$(BIN)/python render_scenes.py data/default/scenery data/scenes/train scenes=3072

scenes-test: $(READY) ## render the fixed test scenes into data/scenes/test (minutes; needs the same)
	$(BIN)/python render_scenes.py data/default/validation data/scenes/test test=true

train-tiny: $(READY) ## train the shipped default, all stages (needs make scenes); stop and go on at will
	$(BIN)/python tutorial_train.py stage=autoencoder
	$(BIN)/python tutorial_train.py stage=layers
	$(BIN)/python tutorial_train.py stage=light
	$(BIN)/python tutorial_train.py stage=colours
	$(BIN)/python tutorial_train.py stage=relation
	$(BIN)/python assemble_weights.py

check: $(READY) ## style, types and floors (under a minute)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

test: $(READY) ## all tests
	$(BIN)/python -m pytest

test-full: $(READY) ## agreement at the sizes of Stable Diffusion (minutes, 8 GB)
	$(BIN)/python -m pytest -m full

bench: $(READY) ## measure speed and memory at Stable Diffusion's size -> benchmarks/results, README
	$(BIN)/python -m benchmarks.unet
	$(BIN)/python -m benchmarks.layers
	$(BIN)/python -m benchmarks.training_memory
	$(BIN)/python -m benchmarks.loading
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.relate
	$(BIN)/python -m paper.tables

eval: $(READY) ## measure the shipped weights on 64 briefs -> paper/results, README
	$(BIN)/python -m paper.generation
	$(BIN)/python -m paper.tables

eval-pseudo-layers: $(READY) ## measure how photographs are taken apart (needs make data) -> paper/results, README
	$(BIN)/python -m paper.pseudo_layers
	$(BIN)/python -m paper.tables

eval-relation: $(READY) ## measure the relation network and its peers (needs make scenes-test) -> paper/results, README
	$(BIN)/python -m paper.relation --sheets out/relation \
		$(addprefix --graph ,$(wildcard models/relation_graph.safetensors))
	$(BIN)/python -m paper.tables

clean: ## remove the environment and what was written
	rm -rf .venv out
