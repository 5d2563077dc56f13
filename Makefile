# Everything is set up in .venv; a stamp file saves repeating what is done.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := work_dirs/demo
DATA := data/demo
# Passive waiting: idle OpenMP threads otherwise spin on the cores that others need.
RUN := OMP_WAIT_POLICY=PASSIVE $(BIN)/python

.PHONY: demo test test-slow lint clean-demo
.DELETE_ON_ERROR:

$(STAMP): setup.cfg pyproject.toml requirements/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c requirements/constraints.txt -e '.[test]'
	touch $@

$(DATA)/.done: $(STAMP)
	$(RUN) tools/make_demo_data.py --out $(DATA)
	touch $@

$(DEMO)/%/done: configs/%.py $(DATA)/.done
	$(RUN) tools/train.py configs/$*.py --work-dir $(DEMO)/$* --resume
	touch $@

demo: $(DEMO)/diffiml/diffiml_demo/done $(DEMO)/twin/twin_demo/done
	$(RUN) tools/demo_report.py --out $(DEMO) \
	  --model twin configs/twin/twin_demo.py $(DEMO)/twin/twin_demo \
	  --model DiffIML configs/diffiml/diffiml_demo.py $(DEMO)/diffiml/diffiml_demo

# Two workers of one thread each: half the time of one worker with two.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

test-slow: $(STAMP)
	$(RUN) -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check diffiml_plugin tools tests

clean-demo:
	rm -rf $(DEMO) $(DATA)
