# Everything is set up in .venv; a stamp file saves repeating what is done.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := work_dirs/demo
DATA := data/demo
# The documentation's own environment: it needs neither torch nor mmseg.
DOCS := .venv_docs
# Passive waiting: idle OpenMP threads otherwise spin on the cores that others need.
RUN := OMP_WAIT_POLICY=PASSIVE $(BIN)/python

.PHONY: demo test test-slow lint docs clean-demo
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
