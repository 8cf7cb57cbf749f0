# Few Bits: `make book` builds the book, `make test` checks everything. `make help` lists the rest.

PYTHON ?= python3
# How many notebooks and test files run side by side, and how many threads each of them gets. Both are fixed, not taken
# from the machine: the number of threads changes the order of floating-point sums, and with it the last digits.
JOBS ?= 2
THREADS ?= 1
CELL_TIMEOUT ?= 600
CHAPTER ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WEB := web/node_modules/.package-lock.json
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT)

.PHONY: help book pdf test test-package notebooks lab check check-web check-links coverage bench experiments clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	    echo "Few Bits needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is not one. Name one: make PYTHON=python3.12" >&2; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[book,onnx,fpga,data,photographs,dev]'
	@touch $@

# --all reads every page again: a warning in a page that did not change since the last build would otherwise be lost.
book: $(INSTALLED)  ## build the HTML from the executed notebooks, say where it is
	@$(BIN)/jupyter-book build . --all -W --keep-going --quiet
	@echo "The book is built. Open $(CURDIR)/_build/html/index.html"

pdf: $(INSTALLED)  ## print the whole book into _build/few-bits.pdf (needs a browser)
	$(BIN)/python tools/pdf.py

# Under xdist a notebook must stay in one worker, cell after cell: --dist loadscope.
test: export OMP_NUM_THREADS = $(THREADS)
test: check book  ## run everything: ruff, the book, pytest, every notebook
	$(BIN)/pytest -n $(JOBS) --dist loadfile tests
	$(BIN)/pytest $(NBVAL) -n $(JOBS) --dist loadscope book

# Without the folders that need the built book, a browser, Node.js or a simulator of circuits, or that train for long.
LARGE := tests/book/ tests/experiments/ tests/fpga/ tests/tools/ tests/widgets/
test-package: export OMP_NUM_THREADS = $(THREADS)
test-package: check  ## run the tests of the package alone: no book, no circuits, no experiments
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(filter-out $(LARGE),$(wildcard tests/*/)) $(wildcard tests/test_*.py)

notebooks: export OMP_NUM_THREADS = $(THREADS)
notebooks: $(INSTALLED)  ## execute the text twins into book/*.ipynb; CHAPTER=uniform for one
	$(BIN)/python tools/notebooks.py refresh $(CHAPTER)

lab: $(INSTALLED)  ## open JupyterLab; saving a notebook also saves its text twin (jupytext.toml)
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/book/intro.ipynb

check: $(INSTALLED)  ## format, lint, types, spelling, workflow: the checks that take seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell README.md CONTRIBUTING.md CHANGELOG.md book/text book/*.md src tests tools benchmarks
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

$(WEB): web/package.json web/package-lock.json
	npm ci --prefix web --no-audit --no-fund
	@touch $@

check-web: book $(WEB)  ## check every built page: accessibility, both themes, links, weight, valid HTML (minutes; needs npm)
	$(BIN)/python tools/check_web.py

check-links: $(INSTALLED)  ## ask every address outside the book whether it is still there (needs the internet)
	$(BIN)/python tools/external_links.py

coverage: export OMP_NUM_THREADS = $(THREADS)
coverage: $(INSTALLED)  ## which lines of src/fewbits the unit tests run; pyproject.toml lists the exceptions
	$(BIN)/pytest -n $(JOBS) --dist loadfile --cov --cov-report=term:skip-covered --cov-report=html tests

bench: $(INSTALLED)  ## run the benchmarks (quiet machine, please)
	@set -e; for benchmark in benchmarks/bench_*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark; done

experiments: $(INSTALLED)  ## say how to repeat the recorded experiments
	@echo "data/results was recorded with $(BIN)/python -m fewbits.experiments <name>; some take hours."
	@$(BIN)/python -m fewbits.experiments --help

clean:  ## remove what was built; the environment stays (rm -rf .venv removes it)
	rm -rf _build .mypy_cache .pytest_cache .ruff_cache .hypothesis htmlcov .coverage
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
