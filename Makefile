# Each target makes the environment it needs, once: a virtual environment with the package installed in it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN ?= runs/digits

.PHONY: run test check bench clean

run: $(READY)
	if [ -e $(RUN)/config.json ]; then $(BIN)/pushforward resume $(RUN); \
	else $(BIN)/pushforward train cgan --data digits --examples 400000 --out $(RUN); fi
	@echo "Open $(RUN)/report.html in a browser; pictures are in $(RUN)/samples."

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

bench: $(READY)
	$(BIN)/python benchmarks/step.py

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
