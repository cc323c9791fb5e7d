# Everything runs in .venv, which install.py makes, and makes again for another Python, place or set of pins.

PYTHON ?= python3
BIN := .venv/bin
# Two workers; a file stays with one of them, as its tests share what they set up.
SHARED := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help ready ready-for-tests demo lab checks test sweep-sample test-all sweep scale test-faults bench bench-batches schema constraints wheelhouse platforms deployments screenshots clean

help:
	@echo "make demo         set up, and run the whole guide for the demo tenants on the sandbox"
	@echo "make lab          set up, and open JupyterLab on the notebooks, with the sandbox running"
	@echo "make test         set up, and run every check, the short tests and a sample of the long ones"
	@echo "make checks       set up, and run the formatter, the linters and the type checker"
	@echo "make sweep-sample set up, and run a larger sample of the long tests"
	@echo "make test-all     set up, and run every check and test"
	@echo "make sweep        set up, and run the tests that take long in full"
	@echo "make test-faults  set up, and try every fault and every kill at each request of a full run"
	@echo "make bench        set up, and measure records, requests, processor seconds, first tables and writes"
	@echo "make bench-batches set up, and compare batches with plain papermill and a bare script (90 minutes)"
	@echo "make scale        set up, and count the requests of every section at full scale"
	@echo "make schema       write parameters/schema.json and the table in docs/parameters.md from the schema"
	@echo "make constraints  pin the newest versions that fit pyproject.toml"
	@echo "make wheelhouse   fetch what a machine without a network needs, into wheelhouse/"
	@echo "make platforms    run the demo and fast tests in bare Debian systems, and with lowest and newest versions"
	@echo "make deployments  install and run it with pip, pipx, uv and cron, in a container, a hub and Airflow"
	@echo "make screenshots  retake the README's pictures, in a real JupyterLab; needs chromium"
	@echo "make clean        stop the sandbox and remove what was set up; records stay"

demo: ready
	@$(BIN)/runbook --workspace . demo

lab: ready
	@$(BIN)/runbook --workspace . lab

test: checks
	$(BIN)/python -m pytest $(SHARED) --sample 0:150

# A larger sample of the long tests, another one each time; test-all is all of them.
sweep-sample: ready-for-tests
	$(BIN)/python -m pytest $(SHARED) --long-only --sample 150:1000

test-all: checks
	$(BIN)/python -m pytest $(SHARED)

checks: ready-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

ready ready-for-tests:
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "The runbook needs Python 3.11 or newer, and there is no $(PYTHON). See the README." >&2; exit 3; }
	@"$(PYTHON)" install.py $(if $(filter ready-for-tests,$@),test)

# Everything that takes too long for every change.
sweep: ready-for-tests
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || { apt-get install -qq -y libfaketime >/dev/null 2>&1 || \
		echo "Runs under wrong clocks are skipped: they need libfaketime (apt-get install libfaketime)" >&2; }
	RUNBOOK_SWEEP=1 $(BIN)/python -m pytest -n 2 \
		tests/sections/test_system_level.py tests/sections/test_switches.py tests/sandbox/test_fuzzing.py \
		tests/secrets/test_every_request_fails.py tests/faults/test_foreign_answers.py \
		tests/notebooks/test_killed_kernels.py tests/test_at_once.py tests/records/test_faketime.py \
		tests/records/test_doors.py tests/test_plan_file.py tests/dialling/test_against_second.py \
		tests/notebooks/test_random_walks.py tests/records/test_fifty.py tests/watch/test_many.py tests/discover/test_discover.py \
		tests/notebooks/test_lab.py::test_after_a_broken_parameter_cell_no_later_cell_runs_for_the_former_tenant

# How many requests a section sends, at the size of the demo and at that of a large provider.
scale: ready-for-tests
	RUNBOOK_SWEEP=1 $(BIN)/python -m pytest -s tests/sections/test_scale.py

# Every fault and every kill at each request of a full run; one case again: FAULTS='--case NAME'; to end it and
# go on later: FAULTS='--results FOLDER'.
test-faults: ready-for-tests
	$(BIN)/python -m tests.faults $(FAULTS)

# Other rounds: BENCH='--rounds 1'.
bench: ready-for-tests
	$(BIN)/python -m benchmarks.record_cost $(BENCH)
	$(BIN)/python -m benchmarks.chains $(BENCH)
	$(BIN)/python -m benchmarks.records
	$(BIN)/python -m benchmarks.past_records $(BENCH)
	$(BIN)/python -m benchmarks.cpu $(BENCH)
	$(BIN)/python -m benchmarks.first_table $(BENCH)
	$(BIN)/python -m benchmarks.home_page $(BENCH)
	$(BIN)/python -m benchmarks.validation $(BENCH)
	$(BIN)/python -m benchmarks.drift

# Goes on where it was ended: what has been measured is in benchmarks.json.
bench-batches: ready-for-tests
	$(BIN)/python -m benchmarks.batches $(BENCH)

schema: ready-for-tests
	$(BIN)/python -m runbook_lib.parameters

# Newest versions that hold on the lowest Python that is promised, and on all newer ones.
constraints:
	$(PYTHON) -m venv --clear .venv-pins
	.venv-pins/bin/python -m pip install -qq --disable-pip-version-check uv
	head -1 constraints.txt > .venv-pins/constraints.txt
	.venv-pins/bin/uv pip compile -q --upgrade --extra test --universal --python-version 3.11.0 \
		--no-annotate --no-header pyproject.toml >> .venv-pins/constraints.txt
	mv .venv-pins/constraints.txt constraints.txt
	rm -rf .venv-pins

# What a machine without a network needs, in a folder that install.py uses wherever it finds it.
wheelhouse:
	$(PYTHON) -m pip download -q --disable-pip-version-check -c constraints.txt -d wheelhouse '.[test]'

# Bare Debian systems with their own Python, and the lowest and newest versions; one: PLATFORM=bookworm.
platforms:
	tests/platforms.sh $(PLATFORM)

# Really installed and run, one after the other; some fetch much, and need root. One: DEPLOYMENT=hub.
deployments: ready-for-tests
	$(BIN)/python -m tests.deployments $(DEPLOYMENT)

# The README's pictures; one of them: PICTURE=home.
screenshots: ready-for-tests
	$(BIN)/python -m tests.screenshots $(PICTURE)

clean:
	@if [ -x $(BIN)/runbook ]; then $(BIN)/runbook sandbox --stop || true; fi
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
