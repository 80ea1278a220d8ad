# Everything from a clean clone; needs make, git and Python 3.11 or later. `make` lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
R_LIBRARY := $(CURDIR)/build/r-library
R_SOURCES := $(shell find r-package -type f 2>/dev/null)

export RETICULATE_PYTHON := $(CURDIR)/.venv/bin/python
export R_LIBS := $(R_LIBRARY)
export MPLBACKEND := Agg
# containers often set it, and then every Python compiles all that it imports
unexport PYTHONDONTWRITEBYTECODE

# matplotlib, pip and R keep files in the home folder; where it cannot be written to (clusters, containers), in build/
ifneq ($(shell test -d "$$HOME" -a -w "$$HOME" && echo writable),writable)
  export HOME := $(CURDIR)/build/home
  $(shell mkdir -p $(HOME))
endif

.PHONY: help setup venv setup-python setup-r demo test test-fast lint lint-python lint-r test-python \
	test-lowest test-r test-clients check-r coverage-r coverage-python mutants install-r vignettes \
	prebuild-vignettes site lists document-r release-r format hooks constraints clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: venv ## Install everything: .venv, R and its packages, side by side
	@$(MAKE) --jobs=2 --output-sync=target setup-python setup-r

# comes first: R's set-up looks which Python there is
venv:
	@scripts/create-venv.sh

setup-python: .venv/.setup-python ## Create .venv with the engine and the development tools

.venv/.setup-python: pyproject.toml constraints.txt scripts/setup-python.sh | venv
	@scripts/setup-python.sh

setup-r: venv ## Install R (with apt, as root) and the R packages that are missing
	@mkdir -p $(R_LIBRARY)
	@R_LIBS_USER=$(R_LIBRARY) scripts/setup-r.sh

demo: setup-python ## Simulate a cohort, fit it, compare groups; writes the report into demo/
	$(BIN)/spicestat demo --out demo/

# The Python tests in jobs: folders of tests/, and `rest` for all others and the docstrings. The first ones need no R.
BEFORE_R := models equations fit recovery
PYTHON_JOBS := $(BEFORE_R) rest group project studies report
python_tests = $(if $(filter rest,$(1)),$(addprefix --ignore=tests/,$(filter-out rest,$(PYTHON_JOBS))),tests/$(1))

# Each job keeps one core busy, and none needs another's result: two at a time, and cheap ones last, so that no core
# idles at the end. Python tests begin while R is still being installed.
# R CMD check leaves out the tests of the R package, which test-r runs with the engine.
test: venv ## Run all checks and tests; what CI does
	@OMP_NUM_THREADS=1 $(MAKE) --jobs=2 --output-sync=target R_CHECK_OPTIONS=--no-tests R_FIRST=install-r \
		setup-r setup-python lint-python install-r test-r check-r $(addprefix test-python-,$(PYTHON_JOBS)) vignettes lint-r

# Tests that call R would be skipped before it is there. make starts what is ready, and looks at the others when all that
# was ready has begun: so that test-r, the longest job, does not begin last, all others wait for R with it.
check-r lint-r $(addprefix test-python-,$(filter-out $(BEFORE_R),$(PYTHON_JOBS))): $(R_FIRST)

test-python-%: setup-python
	OMP_NUM_THREADS=1 $(BIN)/pytest --durations=10 $(call python_tests,$*)

lint: lint-python lint-r ## Check style, types and import directions

lint-python: setup-python ## ruff, mypy, import-linter, and whether an import goes back to an earlier room
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/rooms.py >/dev/null

lint-r: setup-r ## lintr on the R package, and whether its site lists all help pages and docs/clients.md its tests
	@Rscript --vanilla -e 'found <- lintr::lint_dir("r-package"); print(found); quit(status = length(found) > 0)'
	@Rscript --vanilla scripts/check-site-index.R
	@Rscript --vanilla scripts/clients.R check

test-fast: lint-python ## Style, types, imports, and the tests that take seconds; under 90 s
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile tests/files tests/runtime/test_progress.py \
		tests/trials tests/simulate tests/group/formula tests/group/inputs tests/group/inference tests/group/numerics \
		tests/equations/structure/test_equation_set.py tests/test_coefficients.py tests/test_imports.py

test-python: setup-python ## pytest, with the examples in the docstrings
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --durations=10

mutants: setup-python ## Break the code of studies on purpose; a fault that no test notices fails
	@$(BIN)/python scripts/mutants.py

coverage-python: setup-python ## pytest with coverage of the Python package; below 90 % of lines fails
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --cov=spicestat --cov-report=term:skip-covered --cov-fail-under=90

test-lowest: setup-python ## Group and fit tests with the lowest versions that pyproject.toml allows
	@scripts/setup-lowest.sh
	OMP_NUM_THREADS=1 build/lowest/bin/pytest --numprocesses 2 --dist loadfile -p no:cacheprovider tests/group \
		tests/fit/test_fit.py tests/fit/test_storage.py tests/trials/test_reading.py tests/trials/test_intake.py \
		tests/files/test_tables.py tests/test_coefficients.py tests/spice/test_sessions.py tests/studies/test_model_selection.py

test-r: install-r ## testthat on the installed R package
	@NOT_CRAN=true SPICESTAT_TEST_ENGINE=required Rscript --vanilla -e 'testthat::test_dir("r-package/tests/testthat", package = "spicestat", load_package = "installed", stop_on_failure = TRUE, stop_on_warning = TRUE)'
	@Rscript --vanilla tests/readme.R

test-clients: install-r ## What other packages make of group models, in a Debian 13 (root, debootstrap)
	@scripts/test-clients.sh

coverage-r: setup-python setup-r ## Test coverage of the R package with covr; below 95 % fails
	@NOT_CRAN=true SPICESTAT_TEST_ENGINE=required Rscript --vanilla scripts/coverage-r.R

check-r: setup-python setup-r ## R CMD build and R CMD check --as-cran; any finding fails
	@scripts/check-r-package.sh $(R_CHECK_OPTIONS)

install-r: setup-python setup-r $(R_LIBRARY)/.installed ## Install the R package into build/r-library

release-r: setup-python setup-r ## Build the R package with the engine in it, into build/release
	@scripts/release-r.sh

$(R_LIBRARY)/.installed: $(R_SOURCES)
	@mkdir -p $(R_LIBRARY)
	@rm -f build/spicestat_*.tar.gz
	cd build && R CMD build ../r-package
	R CMD INSTALL --no-multiarch --library=$(R_LIBRARY) build/spicestat_*.tar.gz
	@touch $@

lists: setup-python ## Write the lists of models and group methods into texts, from what their files say
	@$(BIN)/python scripts/lists.py

document-r: setup-r ## Write NAMESPACE and man/ from the roxygen comments, and docs/clients.md from tests
	@cd r-package && Rscript --vanilla -e 'roxygen2::roxygenise()'
	@Rscript --vanilla scripts/clients.R

vignettes: install-r ## Run and render vignettes/*.Rmd into build/vignettes
	@scripts/render-vignettes.sh

prebuild-vignettes: install-r ## Knit the vignettes that the R package ships into r-package/vignettes
	@Rscript --vanilla scripts/prebuild-vignettes.R

site: install-r ## Build the documentation of both languages into build/site, offline, and check its links
	@Rscript --vanilla scripts/check-site-index.R
	@$(BIN)/python -m pip install -qq -c constraints.txt --config-settings editable_mode=compat -e '.[site]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python scripts/site.py
	@Rscript --vanilla scripts/build-site.R
	@$(BIN)/python scripts/site.py --finish

format: setup-python ## Format the Python code and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

hooks: setup-python ## Install the pre-commit hooks
	$(BIN)/pre-commit install

constraints: setup-python ## Renew constraints.txt from .venv, for the packages that are in it
	@scripts/renew-constraints.sh

clean: ## Remove everything that these targets made, .venv too
	rm -rf .venv build dist demo *.egg-info .pytest_cache .coverage* .mypy_cache .ruff_cache .hypothesis *.Rcheck
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
