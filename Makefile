# Every target sets itself up; nothing is assumed but Python 3.11 or newer, pip and make.
PYTHON ?= python3
# Choose torch's build, for example TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# Windows calls the folder Scripts; the shell there is Git's.
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := .venv/$(SCRIPTS)
RUN := $(BIN)/python -m

.DEFAULT_GOAL := help
.PHONY: help setup docs bench fuzz demo demo-training reproduce-compact reproduce-tiny reproduce-paper check parity test test-slow test-gpu test-kills audit clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/installed  ## install the project and its tools into .venv

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(RUN) pip install --quiet -c constraints.txt --index-url $(TORCH_INDEX) torch)
	$(RUN) pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: setup  ## rendered photographs made HDR by the nets that come along, and tone-mapped; about a minute
	$(RUN) hdrlab.synthesize output=runs/demo images=3
	$(RUN) hdrlab.reconstruct input=runs/demo/LDR_in output=runs/demo/hdr sheet=true
	$(RUN) hdrlab.tonemap input=runs/demo/hdr output=runs/demo/sdr operator=reinhard
	@echo "look at runs/demo/hdr/*_sheet.png: the photograph, and beside it what was reconstructed"

demo-training: setup  ## train small nets on rendered scenes, score them, reconstruct a photograph; a few minutes
	for stage in deq lin hal; do $(RUN) hdrlab.train experiment=demo_$$stage || exit 1; done
	$(RUN) hdrlab.evaluate checkpoint=runs/slots/tiny/hal.ckpt
	$(RUN) hdrlab.synthesize output=runs/demo-training images=5
	$(RUN) hdrlab.reconstruct input=runs/demo-training/LDR_in output=runs/demo-training/hdr slots=tiny sheet=true
	@echo "look at runs/demo-training/hdr/*_sheet.png: the photograph, and beside it what was reconstructed"

reproduce-tiny: setup  ## both papers' chains from data to report, on rendered scenes; some ten minutes
	$(RUN) hdrlab.reproduce 'plan=[singlehdr,iqatm]' scale=tiny
	@echo "look at runs/reproduce/*/report.html"

# Name what you have, for example: make reproduce-paper INPUTS="inputs.hdr_synth=$$HOME/hdr inputs.vgg16=vgg16.npy"
# (experiments/*.yaml list all); PLANS=iqatm chooses one, OPTIONS="devices=4 precision=bf16" how to compute.
PLANS ?= singlehdr,iqatm
INPUTS ?=
OPTIONS ?=
reproduce-paper: setup  ## the same with the papers' data and lengths; lists what is missing before it starts
	$(RUN) hdrlab.reproduce 'plan=[$(PLANS)]' scale=paper $(INPUTS) $(OPTIONS)

reproduce-compact: setup  ## train the nets that come along again; INPUTS as experiments/compact.yaml says
	$(RUN) hdrlab.reproduce plan=compact scale=paper $(INPUTS) $(OPTIONS)

check: setup  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Tests start a hundred programs: each would compile the package anew where compiled modules are not kept.
test test-slow test-kills parity: export PYTHONDONTWRITEBYTECODE :=

test: setup  ## the everyday tests, in a few minutes
	$(RUN) pytest -n 2 --dist worksteal

EMOR ?=
WRITE ?=
parity: setup  ## hdrlab's nets beside numbers of the published programs, metrics beside known values; seconds
	PYTHONPATH=.:tests $(RUN) parity $(if $(EMOR),--emor $(EMOR)) $(if $(WRITE),--write)

test-slow: setup  ## the long tests
	$(RUN) pytest -n 2 --dist worksteal -m 'slow and not gpu'

test-kills: setup  ## kill trainings at 40 random moments, and saves before each step twice; fill disks under every writer
	$(RUN) pytest -n 0 -m kills
	$(RUN) pytest -n 0 -m 'not gpu and not kills' tests/test_checkpoint_files.py tests/test_writers.py tests/test_resume.py

# BASE names the other checkout; by default the commit before the work on speed is checked out in build/.
BASE ?=
bench: setup  ## measure speed and memory beside another checkout; writes experiments/speed.md, some twenty minutes
	$(BIN)/python experiments/bench.py $(if $(BASE),--base $(BASE))

docs: setup  ## build the documentation site into build/docs; every warning is an error
	$(RUN) sphinx -n -W --keep-going -q -c docs -d build/doctrees -b html . build/docs
	@echo "open build/docs/index.html"

MINUTES ?= 10
fuzz: setup  ## read damaged files of every format for MINUTES (10); what comes out wrong is kept as tests
	PYTHONPATH=.:tests:tests/io $(RUN) fuzzing $(MINUTES)

test-gpu: setup  ## the tests that need a GPU
	$(RUN) pytest -m gpu

# Advisory: what it finds ends nothing. "Could not be audited" means that the index gave no answer.
audit:  ## ask the package index for known holes in the versions of constraints.txt
	$(PYTHON) -m venv build/audit
	build/audit/$(SCRIPTS)/pip install --quiet pip-audit
	-build/audit/$(SCRIPTS)/pip-audit --no-deps --disable-pip --requirement constraints.txt

clean:  ## remove the environment and everything generated; runs/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build data/cache
