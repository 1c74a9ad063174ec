# Each target does its own set-up in .venv. A fresh clone needs Python 3.10 to 3.13 and pip.
PYTHON ?= python3
BIN := .venv/bin
ONE_THREAD := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

.PHONY: setup demo caption test check docs clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs,audio,video,explain,export,hub,keras,lite,onnx,serve,text,whisper,wordnet]'
	touch $@

demo: setup
	$(BIN)/python examples/demo.py

caption: setup
	@test -n "$(IMAGE)" || { echo "make caption wants a photo: make caption IMAGE=photo.jpg"; exit 2; }
	$(BIN)/plait caption "$(IMAGE)"

test: setup
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

docs: setup
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist src/*.egg-info
