# `make demo` and `make test` need Python >= 3.11, pip and make; PYTHON chooses another interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What `make test-changed` compares with.
BASE ?= main
# Two processes of tests, in the order of the folders: by default the files of few tests, which are the longest, come last.
TWO := -n 2 --dist loadgroup --no-loadscope-reorder
# The lines that every variant is tried on: its contract, and what the layer and the models make of it.
OF_EACH_VARIANT := attention_jax/contract tests/contract \
  tests/layers/test_attention.py::test_every_variant_has_its_arrays_in_the_layer_and_they_learn \
  tests/models/test_gpt.py::test_no_later_token_changes_a_prediction \
  tests/models/test_catalogue.py::test_any_model_takes_any_variant_that_can_do_its_work

.PHONY: demo test test-engines test-changed test-long check clean

demo: $(READY)  ## Trains six attention variants on two benchmarks and prints the table: 3m33s on 2 quiet cores.
	$(BIN)/python launch.py compare --config=experiments/demo.py --workdir=runs/demo

test: $(READY)  ## The default test suite.
	$(BIN)/python -m pytest $(TWO) -m "not long and not wide"

test-engines: $(READY)  ## One variant of each engine, as a user's program is compiled: its contract, and the documented command.
	XLA_FLAGS= $(BIN)/python -m pytest $(TWO) -m one_of_each_engine attention_jax/contract tests/contract
	$(BIN)/python -m pytest -m one_of_each_engine tests/launch/test_every_variant_trains.py

test-changed: $(READY)  ## Every line, of the variants whose own files are not as where the branch left BASE; of none, nothing.
	@specs="$$($(BIN)/python -m tests.changed $(BASE))" && if [ -n "$$specs" ]; then echo "$$specs" && \
	  ATTENTION_JAX_VARIANTS="$$specs" $(BIN)/python -m pytest $(TWO) -m "not long" $(OF_EACH_VARIANT); fi

test-long: $(READY)  ## Learning runs, crash loops, every line of every variant: minutes each.
	$(BIN)/python -m pytest -m long
	$(BIN)/python -m pytest $(TWO) -m wide $(OF_EACH_VARIANT)
	$(BIN)/python -m pytest -m wide tests/launch/test_every_variant_trains.py

check: $(READY)  ## Lint, format, types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $$($(PYTHON) --version) is too old: Python 3.11 or later is needed; set PYTHON=python3.12, say." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $(READY)

clean:  ## Removes the environment and the runs.
	rm -rf $(VENV) runs
