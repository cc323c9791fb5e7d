# Everything runs in .venv, which is made once and again when the project file or the pins change.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
READY_FOR_TESTS := .venv/.ready-for-tests
PINS := constraints.txt pyproject.toml

.PHONY: help demo lab test sweep scale test-faults bench schema constraints clean

help:
	@echo "make demo         set up, and run the whole guide for the demo tenants on the sandbox"
	@echo "make lab          set up, and open JupyterLab on the notebooks, with the sandbox running"
	@echo "make test         set up, and run every check and test"
	@echo "make sweep        set up, and run the tests that take long in full"
	@echo "make test-faults  set up, and try every fault and every kill at each request of a full run"
	@echo "make bench        set up, and measure what the record costs beside bare papermill"
	@echo "make scale        set up, and count the requests of every section at full scale"
	@echo "make schema       write parameters/schema.json and the README's table from the schema"
	@echo "make constraints  pin the newest versions that fit pyproject.toml"
	@echo "make clean        end the sandbox and remove what was set up; records stay"

demo: $(READY)
	@$(BIN)/runbook demo

lab: $(READY)
	@$(BIN)/runbook lab

test: $(READY_FOR_TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

$(READY): $(PINS)
	@echo "Setting up .venv with the pinned packages: once, for a minute or two ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(READY_FOR_TESTS): $(READY)
	@echo "Adding what the tests need ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

# Everything that takes too long for every change.
sweep: $(READY_FOR_TESTS)
	RUNBOOK_SWEEP=1 $(BIN)/python -m pytest -n 2 \
		tests/sections/test_system_level.py tests/sections/test_switches.py tests/sandbox/test_fuzzing.py \
		tests/secrets/test_every_request_fails.py tests/notebooks/test_killed_kernels.py tests/test_at_once.py \
		tests/notebooks/test_lab.py::test_after_a_broken_parameter_cell_no_later_cell_runs_for_the_former_tenant

# How many requests a section sends, at the size of the demo and at that of a large provider.
scale: $(READY_FOR_TESTS)
	RUNBOOK_SWEEP=1 $(BIN)/python -m pytest -s tests/sections/test_scale.py

# Every fault and every kill at each request of a full run; one case again: FAULTS='--case NAME'.
test-faults: $(READY_FOR_TESTS)
	$(BIN)/python -m tests.faults $(FAULTS)

# What the record costs; other rounds: BENCH='--rounds 1'.
bench: $(READY_FOR_TESTS)
	$(BIN)/python -m benchmarks.record_cost $(BENCH)

schema: $(READY)
	$(BIN)/python -m runbook_lib.parameters

# A venv of its own, so that only what the project needs is pinned.
constraints:
	rm -rf .venv/pins
	$(PYTHON) -m venv .venv/pins
	.venv/pins/bin/python -m pip install -qq --disable-pip-version-check -e '.[test]'
	head -1 constraints.txt > .venv/pins/constraints.txt
	.venv/pins/bin/python -m pip freeze --exclude-editable >> .venv/pins/constraints.txt
	mv .venv/pins/constraints.txt constraints.txt
	rm -rf .venv/pins

clean:
	@if [ -x $(BIN)/runbook ]; then $(BIN)/runbook sandbox --stop || true; fi
	rm -rf .venv .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
