import gc
import logging
import os
import runpy
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmengine.visualization import Visualizer
from mmseg.registry import MODELS
from mmseg.visualization import SegLocalVisualizer

import diffiml_plugin  # noqa: F401  registers ours
from diffiml_plugin.synthesis.demo_data import make_demo_data

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync']


def pytest_collection_finish() -> None:
    """Keep what is imported by now out of garbage collections, each of which would search it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _scope_and_folder(monkeypatch):
    monkeypatch.chdir(ROOT)
    # A logger from an earlier test keeps that test's captured stream, which is closed by then.
    monkeypatch.setattr(logging, 'raiseExceptions', False)
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.fixture(scope='session', autouse=True)
def _unformatted_configs():
    """Write configs without line breaks: formatting them takes longer than a short training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture(scope='session')
def demo_data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('demo')
    make_demo_data(out, num_train=24, num_test=10, seed=3)
    return out


@pytest.fixture(scope='session')
def run_env() -> dict[str, str]:
    # With one thread, the order of sums and so the last digit is the same in every run.
    return os.environ | {
        'OMP_NUM_THREADS': '1',
        'OMP_WAIT_POLICY': 'PASSIVE',
        'PYTHONPATH': str(ROOT),
    }


@pytest.fixture
def build():
    """Build a config's model, without downloading pretrained weights."""

    def _build(config: str, **changes):
        cfg = Config.fromfile(ROOT / config)
        cfg.merge_from_dict(changes)
        if 'init_cfg' in cfg.model.get('backbone', {}):
            cfg.model.backbone.init_cfg = None
        return MODELS.build(cfg.model)

    return _build


@pytest.fixture(scope='session')
def random_checkpoint(tmp_path_factory):
    """Save a config's model with random weights; return the file."""

    def _save(config: str) -> Path:
        init_default_scope('mmseg')
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(ROOT / config).model)
        path = tmp_path_factory.mktemp('weights') / 'random.pth'
        save_checkpoint(dict(state_dict=model.state_dict(), meta={}), str(path))
        return path

    return _save


@pytest.fixture
def run_tool(monkeypatch, capsys):
    """Run a script as from the command line, without the seconds that a new process imports.

    The call asserts the exit status and returns what was printed; what is not a SystemExit, and
    so would be a traceback, fails the test.
    """

    def _run(script: str, *args: object, status: int = 0) -> str:
        monkeypatch.setattr(sys, 'argv', [script, *map(str, args)])
        # A new process has none; a training would log into an earlier one's folder.
        for kind in (MMLogger, MessageHub, Visualizer, SegLocalVisualizer):
            monkeypatch.setattr(kind, '_instance_dict', OrderedDict())
        capsys.readouterr()
        code = 0
        try:
            runpy.run_path(str(ROOT / script), run_name='__main__')
        except SystemExit as end:
            code = end.code or 0
        printed = ''.join(capsys.readouterr())
        if isinstance(code, str):
            printed, code = printed + code, 1
        assert code == status, printed
        return printed

    return _run


@pytest.fixture(scope='module')
def browser():
    """A real browser, without a window; tests of it are skipped where there is none."""
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    if CHROMIUM is None:
        pytest.skip('chromium is not installed: apt-get install chromium')
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()
