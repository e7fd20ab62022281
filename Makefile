# Every target does the set-up it needs; `make demo` and `make test` work from a clean clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUTPUT ?= output
STAGE ?= online
# One thread a process is the safe default on a busy machine (docs/synthetic.md).
export OMP_NUM_THREADS ?= 1
PROCESSES ?= -n auto --maxprocesses 4 --dist loadfile
# What of these packages the tests reach; `make test COVERAGE=` measures nothing.
COVERAGE ?= $(addprefix --cov=dvis_daq.,tracker tasks metrics) --cov-report=term:skip-covered

.PHONY: install demo test test-real test-faults lint bench bench-gate clean

install: $(STAMP)

$(STAMP): pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet --editable ".[test,lint]"
	# without its dependencies: they bring an OpenCV that needs a display
	$(BIN)/python -m pip install --quiet --no-deps trackeval
	touch $@

# sysmon, where Python has it, costs next to nothing; else about a tenth of the time
test: install
	COVERAGE_CORE=$$($(BIN)/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")') \
		$(BIN)/python -m pytest $(PROCESSES) $(COVERAGE)

# D2: a checkout of Detectron2; nothing of it needs compiling
test-real: install
	@test -d "$(D2)/detectron2" || { echo "make test-real D2=<checkout of Detectron2>: no detectron2 folder in '$(D2)'"; exit 2; }
	$(BIN)/python -m pip install --quiet --editable ".[real]"
	DVIS_DAQ_DETECTRON2=real PYTHONPATH="$(D2)" $(BIN)/python -m pytest $(PROCESSES)

# Really kills, fills disks and damages files; and 10,000 cases of fuzzing. Two at a time.
FAULTS := tests/faults tests/unit/test_hostile_input.py tests/unit/checkpoint/test_checkpoint_files.py
test-faults: install
	DVIS_DAQ_FUZZ=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal --durations 5 $(FAULTS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: install
	BIN=$(BIN) OUTPUT=$(OUTPUT) STAGE=$(STAGE) bash tools/quick_start.sh

BENCH := $(OUTPUT)/bench

# three quarters of an hour on two cores; the figures go into docs/benchmarks.md
bench: install
	$(BIN)/python benchmarks/stream.py --threads 2 --rounds 2 --json $(BENCH)/stream.json
	$(BIN)/python benchmarks/stream.py --threads 2 --systems float32 --lengths 20 60 120 --height 240 --width 432 --json $(BENCH)/lengths.json
	$(BIN)/python benchmarks/train.py --threads 2 --rounds 3 --systems literal float32 bfloat16 stored --json $(BENCH)/train.json
	$(BIN)/python benchmarks/step.py --out $(BENCH)/step.json
	$(BIN)/python benchmarks/model.py --json $(BENCH)/model.json
	$(BIN)/python benchmarks/evaluators.py --json $(BENCH)/evaluators.json
	$(BIN)/python benchmarks/evaluators.py --labels 4 --json $(BENCH)/labels.json
	$(BIN)/python benchmarks/deformable_attention.py --json $(BENCH)/deformable_attention.json
	$(BIN)/python benchmarks/loader.py --output $(BENCH)/loader.json
	$(BIN)/python benchmarks/report.py $(BENCH) docs/benchmarks.md

# ratios to the literal implementation, on a video short enough to wait for
bench-gate: install
	$(BIN)/python benchmarks/stream.py --frames 10 --threads 2 --json $(BENCH)/gate_stream.json
	$(BIN)/python benchmarks/train.py --threads 2 --systems literal float32 bfloat16 --json $(BENCH)/gate_train.json
	$(BIN)/python benchmarks/gate.py $(BENCH)/gate_stream.json $(BENCH)/gate_train.json

clean:
	rm -rf $(VENV) $(OUTPUT) *.egg-info
