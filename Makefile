# Everything a newcomer runs. The virtual environment is made on first use and refreshed when the packaging changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# timm and torchvision come without their own dependencies, which would bring another build of torch.
# Two OpenMP pools on two cores slow small linear algebra down; workers are processes instead.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test slow lint types docs bench results-compression results-claims clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps timm torchvision
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

demo: $(VENV)/.installed  ## train, compress in three ways, audit; report in demo/report.html
	$(BIN)/brittle demo

test: $(VENV)/.installed-dev  ## the whole suite but the slow marker
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

slow: $(VENV)/.installed-dev  ## the long tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

docs: $(VENV)/.installed-docs  ## the site, strictly
	$(BIN)/mkdocs build --strict --quiet --site-dir site

bench: $(VENV)/.installed-bench  ## every table of docs/results, hours
	for name in conv_norms bounds soundness soundness_local correlation attacks directions explained universal probe \
		penalties scale ensembles transfer adversarial_training; do \
		echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

results-compression: $(VENV)/.installed-bench  ## the missing rows of docs/results/compression, then its page
	$(BIN)/python -m benchmarks.compression
	$(BIN)/python -m benchmarks.compression_page

results-claims: $(VENV)/.installed-dev  ## docs/results/claims.md, judged anew from its committed trials
	$(BIN)/brittle study run claims --preset quick --take docs/results/claims/trials.csv.gz --reuse --out study-claims
	$(BIN)/brittle study report study-claims --markdown docs/results/claims.md

clean:
	rm -rf $(VENV) demo site build dist study-claims
