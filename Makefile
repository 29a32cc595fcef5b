# `make demo` and `make test` set up everything they need in .venv. They require only Python 3.11, git and make.
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin
UV := $(RUN)/uv

# If this variable were set, each process of the tests would compile thousands of modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test test-timm test-cluster faults bench lint types check clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(UV) || ($(PYTHON) -m venv $(VENV) && $(RUN)/pip install --quiet --constraint constraints.txt uv)
	$(UV) pip install --quiet --python $(RUN)/python --constraint constraints.txt --editable . --group dev
	touch $@

demo: install
	$(RUN)/python train.py -m model=custom model.conv_out=[64,128],[128,256]

test: install
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 --dist worksteal

# A hundred networks of timm, of all its families: each trains a step, is exported, and is loaded in another process. Takes 20 minutes.
test-timm: install
	OMP_NUM_THREADS=1 $(RUN)/python -m tests.backbone.timm_networks --page docs/timm-networks.md

# Hydra's launchers: joblib, submitit, Slurm on this machine (from Debian's packages) and Ray on two nodes.
test-cluster: install
	which slurmctld munged || (apt-get update -q && apt-get install -q -y slurm-wlm munge)
	$(UV) pip install --quiet --python $(RUN)/python --constraint constraints.txt --editable '.[ray]'
	OMP_NUM_THREADS=1 CRACKDET_CLUSTER=1 $(RUN)/python -m pytest tests/sweep/cluster

faults: install
	$(RUN)/python -m tests.faults.harness --kills 200 --corruptions 100 --starts 8

# `make bench PHOTOGRAPHS=folder` measures with photographs in folder/Positive and folder/Negative; without it, with synthetic images
bench: install
	$(UV) pip install --quiet --python $(RUN)/python --constraint constraints.txt --group bench
	$(RUN)/python -m benchmarks $(if $(PHOTOGRAPHS),--photographs $(PHOTOGRAPHS))
	$(RUN)/python -m benchmarks.precision $(if $(PHOTOGRAPHS),--photographs $(PHOTOGRAPHS))

lint: install
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports

types: install
	$(RUN)/mypy

check: lint types test

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
