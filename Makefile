# Everything is set up in .venv; a stamp file saves repeating what is done.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := work_dirs/demo
DATA := data/demo
# The documentation's own environment: it needs neither torch nor mmseg.
DOCS := .venv_docs
# IMDL-BenCo and ForensicHub beside the plugin: they need timm, torchvision and an old albumentations.
BENCO := .venv_imdlbenco
# Passive waiting: idle OpenMP threads otherwise spin on the cores that others need.
RUN := OMP_WAIT_POLICY=PASSIVE $(BIN)/python

.PHONY: demo test test-slow test-imdlbenco lint docs clean-demo
.DELETE_ON_ERROR:

$(STAMP): setup.cfg pyproject.toml requirements/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c requirements/constraints.txt -e '.[test]'
	touch $@

$(DATA)/.done: $(STAMP)
	$(RUN) tools/make_demo_data.py --out $(DATA)
	touch $@

# What is trained and tested is not repeated; an interrupted training goes on.
demo: $(DATA)/.done
	$(RUN) tools/compare.py configs/experiments/demo.py --seeds 0 --out $(DEMO)

# Two workers of one thread each: half the time of one worker with two.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

test-slow: $(STAMP)
	$(RUN) -m pytest -m slow

$(BENCO)/.installed: setup.cfg requirements/constraints.txt requirements/imdlbenco.txt
	test -x $(BENCO)/bin/python || $(PYTHON) -m venv $(BENCO)
	$(BENCO)/bin/python -m pip install -q -c requirements/constraints.txt -e . pytest
	$(BENCO)/bin/python -m pip install -q --no-deps -r requirements/imdlbenco.txt
	touch $@

# What `make test` skips for want of these packages.
test-imdlbenco: $(BENCO)/.installed
	OMP_WAIT_POLICY=PASSIVE $(BENCO)/bin/python -m pytest -m imdlbenco \
		tests/interop tests/models/baselines/test_imdlbenco_zoo.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check diffiml_plugin tools tests docs/site_hook.py docs/tour.ipynb
	$(BIN)/codespell
	$(BIN)/python -m pytest --noconftest tests/test_docs.py
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

$(DOCS)/.installed: requirements/docs.txt
	test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install -q -r requirements/docs.txt
	touch $@

# A link or anchor that leads nowhere is an error, and so is a docstring that its signature belies.
docs: $(DOCS)/.installed
	$(DOCS)/bin/mkdocs build --strict

clean-demo:
	rm -rf $(DEMO) $(DATA)
