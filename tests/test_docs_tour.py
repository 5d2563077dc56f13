"""The notebook of the tour, run cell by cell; the file in git has no outputs."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

NOTEBOOK = Path(__file__).parents[1] / 'docs/tour.ipynb'


@pytest.fixture
def cells() -> list[dict]:
    return [c for c in json.loads(NOTEBOOK.read_text())['cells'] if c['cell_type'] == 'code']


def test_outputs_are_stripped(cells):
    assert all(cell['outputs'] == [] and cell['execution_count'] is None for cell in cells)


def test_cells_run(cells, tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    mpl.use('Agg')
    names = {}
    for number, cell in enumerate(cells):
        exec(compile(''.join(cell['source']), f'cell {number}', 'exec'), names)
    mpl.pyplot.close('all')
    assert names['scores']['f1'] > 0.5
    assert not names['prediction'].uncertainty.any() and names['ensemble'].uncertainty.any()
    shipped, changed = names['prediction'], names['changed']
    settings = changed.provenance['settings']
    assert (settings['num_inference_steps'], settings['ensemble_size']) == (4, 4)
    assert changed.threshold == 0.8 and changed.mask.mean() < shipped.mask.mean()
    assert not np.array_equal(changed.probability, shipped.probability)
