# Each target does its own set-up in .venv. A fresh clone needs Python 3.10 to 3.13 and pip.
PYTHON ?= python3
BIN := .venv/bin
# --no-compile: Python compiles the modules that it uses, pip would compile all of torch.
PIP := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt
EXTRAS := dev,docs,arrow,audio,captioners,charts,classical,explain,export,heif,hub,keras,lite,metadata,meteor,onnx,serve,text,translation,video,whisper,wordnet
ONE_THREAD := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
TESTS := $(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: setup demo caption test test-slow test-all check docs clean

setup: .venv/ready

.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/ready: .venv/core
	$(PIP) --editable '.[$(EXTRAS)]'
	touch $@

demo: .venv/core
	$(BIN)/python examples/demo.py

caption: .venv/core
	@test -n "$(IMAGE)" || { echo "make caption needs a photo: make caption IMAGE=photo.jpg"; exit 2; }
	$(BIN)/plait caption "$(IMAGE)"

test: setup
	$(TESTS) -m 'not slow'

test-slow: setup
	$(TESTS) -m slow

test-all: test test-slow

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

docs: setup
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist src/*.egg-info
