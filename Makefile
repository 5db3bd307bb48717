# embedshift: `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= build/demo
# Dependencies that `make lowest` leaves at the newest release, where the lowest cannot be had: FREE="torch"
FREE ?=
# What the quick tests import; the other tools of the extra `dev` want newer releases of what embedshift depends on.
TESTED_WITH := pytest pytest-timeout pytest-xdist hypothesis import-linter inline-snapshot junitparser playwright axe-playwright-python
# What needs those tools: Gradio, and Jupyter.
UNTESTED := src/embedshift/app tests/app tests/examples
# Encoders of other libraries, whose tests are slow: the lowest and newest releases run them too.
LIBRARIES := tests/encoders/test_onnx.py tests/encoders/test_sentence_transformers.py
FUZZ_EXAMPLES ?= 5000
# Without its byte code, every process of the tests would compile all of it again.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations 10
QUICK := -m 'not slow and not matrix'
# The tables of tests are small: with one thread Polars hands none to another, a tenth of the time. `test-all` has all.
ONE_THREAD := POLARS_MAX_THREADS=1
# A CPU without AVX-512: bfloat16 is emulated there.
AVX2 := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2

.DEFAULT_GOAL := help
.PHONY: help demo test test-all quick lowest newest fuzz isa opencv coverage mutants chaos soak audit lint format types docs wheel smoke check clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

# Stamps: an install is repeated only when pyproject.toml has changed since.
.venv/user: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[offline]'
	touch $@

.venv/dev: .venv/user
	$(BIN)/python -m pip install --quiet -e '.[offline,dev]'
	touch $@

# Asked each time where one was missing: it may have come.
.venv/programs: .venv/dev
	$(BIN)/python .ci/programs.py $@

demo: .venv/user ## Measure the bundled encoder on pieces of photographs; prints the table and what was written
	$(BIN)/embedshift demo --out $(OUT)

test: .venv/programs ## Install what tests need, also a browser and PostgreSQL; run every promise's test, a process for each core up to four: nine minutes on two
	$(ONE_THREAD) $(PYTEST) -m 'not matrix'

test-all: .venv/programs ## All tests, also the further cases of each promise: as CI does
	$(PYTEST)

quick: .venv/dev ## The tests that need no browser, no Ray and no other families: a minute
	$(ONE_THREAD) $(PYTEST) $(QUICK)

build/lowest/installed: pyproject.toml .ci/lowest.py
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/python .ci/lowest.py $(FREE) > build/lowest/constraints.txt
	build/lowest/bin/python -m pip install --quiet -e '.[offline,ray,datasets,search,openclip,onnx,st,restyle,lancedb,pgvector]' $(TESTED_WITH) \
		-c build/lowest/constraints.txt
	touch $@

build/newest/installed: pyproject.toml
	$(PYTHON) -m venv --clear build/newest
	build/newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -e '.[offline,dev]'
	touch $@

lowest newest: BIN = build/$@/bin

lowest: build/lowest/installed ## The quick tests with the lowest versions that pyproject.toml allows, in build/lowest
	$(PYTEST) $(QUICK) $(UNTESTED:%=--ignore=%)
	$(PYTEST) -m 'slow and not matrix' $(LIBRARIES)

newest: build/newest/installed ## The quick tests with the newest versions that there are, in build/newest
	$(ONE_THREAD) $(PYTEST) $(QUICK)
	$(PYTEST) -m 'slow and not matrix' $(LIBRARIES)

fuzz: .venv/dev ## Random broken input for what reads files: FUZZ_EXAMPLES of each test
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(PYTEST) tests/*/test_fuzz_*.py

isa: .venv/dev ## The encoders' tests as on a CPU without AVX-512
	$(AVX2) $(PYTEST) -m 'not matrix' tests/encoders

build/opencv/installed: .venv/dev
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target build/opencv 'opencv-python-headless>=4.10.0.84,<5'
	touch $@

opencv: build/opencv/installed ## The quick tests of augmentations and images with the newest OpenCV 4
	PYTHONPATH=$(CURDIR)/build/opencv $(PYTEST) $(QUICK) tests/augmentations tests/sources

coverage: .venv/programs ## All tests, and which lines of src they run: 95 % at least
	$(PYTEST) --cov

mutants: .venv/dev ## Small changes of statistics, store, pipeline and a question that the tests do not notice: hours
	$(BIN)/python benchmarks/mutants.py statistics
	$(BIN)/python benchmarks/mutants.py store
	$(BIN)/python benchmarks/mutants.py pipeline
	$(BIN)/python benchmarks/mutants.py questions/direction

chaos: .venv/dev ## Runs killed at random moments, a few of them; python benchmarks/chaos.py for all kinds of faults
	$(BIN)/python benchmarks/chaos.py --short

soak: .venv/dev ## 20,000 images: whether memory stays flat and every row is right
	$(BIN)/python benchmarks/soak.py

lint: .venv/dev ## Lint, format check, spelling, and who may import what
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-logo

format: .venv/dev ## Format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/dev ## mypy strict on src, the tests' helpers and the benchmarks
	$(BIN)/mypy

docs: .venv/dev ## Build the site from docs/ into build/site; a broken link ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

audit: .venv/dev ## Known vulnerabilities of the dependencies, where the service that knows them can be reached
	$(BIN)/python .ci/audit.py

wheel: .venv/dev ## Build the wheel
	$(BIN)/python -m build --wheel --outdir build/dist .

smoke: .venv/dev ## Build the wheel, install it alone far from here, run its demo
	$(BIN)/python .ci/smoke.py

check: lint types docs audit test-all isa wheel smoke ## All of it, as CI does

clean: ## Remove what was built
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
