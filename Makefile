# Everything runs in .venv, which `make setup` creates once.
#
#   TORCH: what to install as torch. A CPU build needs 200 MB, the registry's
#   newest CUDA build several GB. For a CUDA build, give PyTorch's index of them:
#     make setup TORCH="torch==2.13.0 --index-url URL"
PYTHON ?= python3
TORCH  ?= torch==2.13.0
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
WORKERS ?= auto

.PHONY: setup train test slow bench docs lint clean

setup: $(READY)

# torch first and pinned: a later "torch" would pull the newest CUDA build.
# recsim last and alone: its dependencies (TensorFlow, Dopamine, old gym) are not used.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable ".[demo,rank]" --group dev
	$(BIN)/pip install --quiet --no-deps recsim==0.2.4
	touch $@

train: setup
	$(BIN)/python -m algorithms.train slateq

test: setup
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadscope

slow: setup
	$(BIN)/python -m pytest -m slow

bench: setup
	$(BIN)/pip install --quiet --group bench
	$(BIN)/python -m benchmarks.run

# The variable silences a notice about the successor of mkdocs.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info
