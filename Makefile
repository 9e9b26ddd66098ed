# Everything a newcomer needs, nothing installed by hand:
#   make demo      speech -> units, a table, a picture
#   make test      all tests            make lint    style, types, spelling
#   make bench     benchmarks on this machine, beside their peers
#   make mini           the paper's tables and findings, trained here, under 3 hours on 2 cores
#   make mini-smoke     the paper's road with a few dozen words, from raw audio to a report, in minutes
#   make mini-encoder   trains the bundled miniature again, from nothing (under an hour on 2 cores)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
NATIVE := $(shell find csrc CMakeLists.txt -type f 2>/dev/null)
PY_DIRS := python training evaluation tests benchmarks

.PHONY: venv venv-vllm venv-comet demo test lint format bench mini mini-smoke mini-encoder speech stubs gpu-check gpu-wheels clean

# Built again when a native source, a dependency or a pin changes; the Python sources are used in place.
venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) scikit-build-core pybind11 cmake ninja
	$(PIP) --no-build-isolation --config-settings=cmake.define.SPIRE_STRICT=ON --editable ".[train,eval,bench,dev]"
	touch $@

# vLLM and COMET pin what cannot stand beside the rest: each has an environment of its own, and is called
# there as a program. --no-deps: the frozen lists are complete, and the packages' own pins are not to be had.
venv-vllm: .venv-vllm/.installed
venv-comet: .venv-comet/.installed

.venv-%/.installed: environments/%.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	touch $@

demo: venv
	$(BIN)/spire-dsu demo --out demo

# espeak-ng and flite speak the test speech; without them the tests that need speech cannot run.
speech:
	@command -v espeak-ng >/dev/null && command -v flite >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq espeak-ng flite >/dev/null; \
	  else \
	    echo "espeak-ng and flite are needed: apt-get install espeak-ng flite" >&2; exit 1; \
	  fi; }

# One thread in each of as many processes as there are cores; SPIRE_TEST_MULTIPLIER=10 digs deeper.
test: venv venv-vllm venv-comet speech
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $$(nproc) --dist loadfile tests

lint: venv
	$(BIN)/ruff check $(PY_DIRS)
	$(BIN)/ruff format --check $(PY_DIRS)
	$(BIN)/mypy
	find csrc tests/csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror
	git ls-files '*.md' '*.py' '*.cpp' '*.h' '*.cu' '*.toml' | xargs $(BIN)/codespell

format: venv
	$(BIN)/ruff check --fix $(PY_DIRS)
	$(BIN)/ruff format $(PY_DIRS)
	find csrc tests/csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' | xargs $(BIN)/clang-format -i

bench: venv speech
	$(BIN)/python benchmarks/bench_assign.py
	$(BIN)/python benchmarks/bench_encode.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_fit.py
	$(BIN)/python benchmarks/bench_convert.py speed
	$(BIN)/python benchmarks/bench_decode.py
	$(BIN)/python benchmarks/bench_export.py
	$(BIN)/python benchmarks/bench_packing.py
	$(BIN)/python benchmarks/bench_train.py
	$(BIN)/python benchmarks/bench_score.py
	$(BIN)/python benchmarks/bench_generate.py

mini: venv speech
	PATH="$(abspath $(BIN)):$$PATH" bash training/recipes/mini/run.sh full scratch/mini-full
	@echo "open scratch/mini-full/results/findings.html and report.html"

mini-smoke: venv speech
	PATH="$(abspath $(BIN)):$$PATH" bash training/recipes/mini/run.sh smoke scratch/mini-smoke
	@echo "open scratch/mini-smoke/results/report.html"

mini-encoder: venv speech
	bash training/recipes/mini/encoder.sh

clean:
	rm -rf build dist demo scratch .venv-vllm .venv-comet

# The types of the native module, for editors and mypy; a test holds them in step.
stubs: venv
	$(BIN)/python -m pybind11_stubgen spire_dsu._core -o build/stubs
	cp build/stubs/spire_dsu/_core.pyi python/spire_dsu/_core.pyi
	if $(BIN)/python -c "import spire_dsu._cuda" 2>/dev/null; then \
	  $(BIN)/python -m pybind11_stubgen spire_dsu._cuda -o build/stubs && \
	  cp build/stubs/spire_dsu/_cuda.pyi python/spire_dsu/_cuda.pyi; \
	fi

# On one NVIDIA GPU: build, C++ and Python tests, the sanitizers, the benchmarks. Needs no .venv: see the script.
gpu-check:
	.ci/gpu-check

# Wheels for a GPU machine without a network, into build/wheels; carry that folder along.
gpu-wheels: venv
	PYTHON=$(BIN)/python .ci/gpu-check wheels
