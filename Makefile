# `make demo` and `make test` set up everything they need in .venv: only Python 3.11, git and make have to be there.
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin
UV := $(RUN)/uv

OLD := .venv-optuna2
CLUSTER := .venv-cluster
SEARCH_TESTS := tests/sweep tests/cli/test_train.py

# Else each of the tests' processes compiles thousands of modules anew, where somebody has set it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test test-optuna2 test-cluster faults bench lint types check clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(UV) || ($(PYTHON) -m venv $(VENV) && $(RUN)/pip install --quiet --constraint constraints.txt uv)
	$(UV) pip install --quiet --python $(RUN)/python --constraint constraints.txt --editable . --group dev
	touch $@

demo: install
	$(RUN)/python train.py -m model=custom model.conv_out=[64,128],[128,256]

test: install
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 --dist worksteal

# The other end of what works: Optuna 2, which a plain `pip install` gets, since hydra-optuna-sweeper pins it.
$(OLD)/installed: $(VENV)/installed
	test -x $(OLD)/bin/python || $(PYTHON) -m venv $(OLD)
	sed 's/^optuna==.*/optuna==2.10.1/' constraints.txt > $(OLD)/constraints.txt
	$(UV) pip install --quiet --python $(OLD)/bin/python --constraint $(OLD)/constraints.txt --editable . --group dev
	touch $@

test-optuna2: $(OLD)/installed
	OMP_NUM_THREADS=1 $(OLD)/bin/python -m pytest -n 2 $(SEARCH_TESTS)

# Hydra's launchers for real: joblib, submitit, Slurm on this machine (Debian's, where `apt-get` may install it), and Ray
# on two nodes. An environment of its own: Ray's AWS part, which is not used, wants an older dateutil.
$(CLUSTER)/installed: $(VENV)/installed
	test -x $(CLUSTER)/bin/python || $(PYTHON) -m venv $(CLUSTER)
	sed '/^python-dateutil==/d' constraints.txt > $(CLUSTER)/constraints.txt
	$(UV) pip install --quiet --python $(CLUSTER)/bin/python --constraint $(CLUSTER)/constraints.txt \
	    --editable '.[joblib,slurm,ray]' --group dev
	touch $@

test-cluster: $(CLUSTER)/installed
	which slurmctld munged || (apt-get update -q && apt-get install -q -y slurm-wlm munge)
	OMP_NUM_THREADS=1 CRACKDET_CLUSTER=1 $(CLUSTER)/bin/python -m pytest tests/sweep/cluster

faults: install
	$(RUN)/python -m tests.faults.harness --kills 200 --corruptions 100 --starts 8

# `make bench PHOTOGRAPHS=folder` measures with photographs in folder/Positive and folder/Negative; without, with drawn ones
bench: install
	$(UV) pip install --quiet --python $(RUN)/python --constraint constraints.txt --group bench
	$(RUN)/python -m benchmarks $(if $(PHOTOGRAPHS),--photographs $(PHOTOGRAPHS))
	$(RUN)/python -m benchmarks.precision $(if $(PHOTOGRAPHS),--photographs $(PHOTOGRAPHS))

lint: install
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: install
	$(RUN)/mypy

check: lint types test

clean:
	rm -rf $(VENV) $(OLD) $(CLUSTER) .mypy_cache .pytest_cache .ruff_cache .hypothesis
