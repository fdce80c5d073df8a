# Two commands on a new machine: `make quickstart` and `make test`. Each makes its own environment.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch torchvision
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: quickstart test parity thorough real check clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# Trains on drawn smears (no download), scores the held-out subjects, and says where the plots are.
quickstart: $(STAMP)
	$(BIN)/python -m jaxall.train --config configs/quickstart.py --workdir runs/quickstart
	$(BIN)/python -m jaxall.evaluate runs/quickstart --split test

test: $(STAMP)
	$(PYTEST) -m "not parity and not real and not gpu"

# Against torchvision itself; installs torch, of any build, where it is not there yet.
parity: $(STAMP)
	$(BIN)/python -c "import torch, torchvision" 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(PYTEST) --dist worksteal -m "parity and not thorough"

# All that `parity` leaves out for the sake of time.
thorough: parity
	$(PYTEST) --dist worksteal -m thorough

# On real pictures and weights in $$JAXALL_DATA, $$JAXALL_WEIGHTS or ../shared, where there are any.
real: $(STAMP)
	$(BIN)/python -m pytest -m real

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

clean:
	rm -rf $(VENV)
