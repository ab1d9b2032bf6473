# Every target prepares what it needs: a fresh machine wants python3, python3-venv, make and gcc, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests run in as many processes as there are cores, four at most, and each of them in one thread: make test JOBS=1
JOBS := $(shell n=$$(nproc 2>/dev/null || echo 1); [ $$n -gt 4 ] && n=4; echo $$n)
ONE_THREAD := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test acceptance lint format bench arm-sysroot arm pins audit sbom clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

install: $(READY) ## .venv with edgexfer, its extras [train], [openvino], [pretrain], [sign], [stream], [sweep], [trackers] and [dev], all pinned by constraints.txt

demo: $(READY) ## fine-tune, quantize, verify, measure and predict on a data set that is inside the install
	$(BIN)/edgexfer demo

test: lint ## linters, types, layers, then every test but acceptance
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not acceptance" -q -ra --durations=20 -n $(JOBS) --dist loadfile

acceptance: $(READY) ## whole runs on real data, minutes each; skipped with the reason where the data is absent
	$(BIN)/python -m pytest -m acceptance -v -ra --durations=0

# import-linter remembers a module as it was before a file appeared: without its cache it is right, and takes seconds.
lint: $(READY) ## ruff, mypy, import-linter; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(READY) ## mends what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY) ## the benchmarks of docs/benchmarks.md, one after the other
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

arm-sysroot: $(READY) ## what emulated CPUs need, in .cache/arm: QEMU, Debian's Python for Arm, wheels; once
	$(BIN)/python -m tests.arm.make_sysroot

arm: arm-sysroot ## the tests on emulated CPUs: 64-bit Arm and AVX2
	$(ONE_THREAD) $(BIN)/python -m pytest -m arm -v -ra --durations=0

# Hashes of every file of every pinned version, for any Python and machine: what nobody can exchange on the way.
PIN := $(BIN)/uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-annotate -c constraints.txt \
  --custom-compile-command "make pins" pyproject.toml
pins: $(READY) ## pins/*.txt with hashes, from constraints.txt; asks the package index
	$(PIN) --extra cpu -o pins/device.txt
	$(PIN) --extra cpu --extra openvino --extra report --extra sign -o pins/device-openvino.txt
	$(PIN) --extra train --extra openvino --extra pretrain --extra sign --extra stream --extra sweep --extra trackers -o pins/train.txt

audit: $(READY) ## known vulnerabilities of what is pinned; asks the package index's list of advisories
	$(BIN)/uv tool run pip-audit@2.10.1 --strict --require-hashes --disable-pip -r pins/device.txt
	$(BIN)/uv tool run pip-audit@2.10.1 --strict --require-hashes --disable-pip -r pins/train.txt

sbom: $(READY) ## dist/sbom.json: CycloneDX of everything that is installed in .venv, with licences
	@mkdir -p dist
	$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py environment --pyproject pyproject.toml \
	  --output-reproducible -o dist/sbom.json $(BIN)/python

clean: ## removes .venv and every cache; runs and bundles stay
	rm -rf $(VENV) .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	find edgexfer tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps: the environment is made once, the install is repeated when a range or a pin changes.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) is not installed"; \
	  echo "hint:  apt-get install python3 python3-venv, or name another: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: $$($(PYTHON) --version) is too old, expected 3.10 or later"; \
	  echo "hint:  apt-get install a newer one and name it: make clean install PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot make a virtual environment"; \
	  echo "hint:  apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt pip
	@touch $@

$(READY): pyproject.toml constraints.txt $(VENV)/.made
	$(BIN)/python -m pip install -c constraints.txt -e '.[train,openvino,pretrain,sign,stream,sweep,trackers,dev]'
	@touch $@
