"""What a process of the command imports."""

import json
import subprocess
import sys

import pytest

import diffiml_plugin
from diffiml_plugin.cli import start

# Neither of these is needed to predict, and each takes from a tenth of a second to seconds.
NOT_TO_PREDICT = (
    'transformers', 'torch._dynamo', 'diffusers.pipelines', 'diffusers.loaders.lora_base',
    'diffusers.models.transformers.auraflow_transformer_2d', 'diffusers.models.unets.unet_1d',
    'matplotlib', 'pandas', 'sklearn', 'gradio', 'ray', 'onnx', 'scipy.stats', 'IPython',
)  # fmt: skip


# Python runs a file of this name at its start. The command also starts a process that decodes.
SITE = """
import atexit, os, sys
if sys.orig_argv[1:3] == ['-m', 'diffiml_plugin']:
    atexit.register(lambda: open(os.environ['MODULES'], 'w').write(' '.join(sys.modules)))
"""


@pytest.fixture
def imported(run_env, tmp_path):
    """Run a command in a process of its own; return the modules that it imported."""

    site, modules = tmp_path / 'site', tmp_path / 'modules.txt'
    site.mkdir()
    (site / 'sitecustomize.py').write_text(SITE)
    env = run_env | dict(PYTHONPATH=f'{site}:{run_env["PYTHONPATH"]}', MODULES=str(modules))

    def _run(*words: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, '-m', 'diffiml_plugin', *words],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return set(modules.read_text().split())

    return _run


@pytest.mark.parametrize('words', [['--help'], ['predict', '--help'], ['--version']])
def test_help_imports_only_the_standard_library(imported, words):
    names = {name.split('.')[0] for name in imported(*words)}
    assert 'argparse' in names and not names & {'torch', 'numpy', 'cv2', 'mmengine', 'rich', 'PIL'}


def test_prediction_imports_what_it_needs(imported, demo_data, tmp_path):
    photo = next(demo_data.rglob('Tp/*'))
    names = imported('predict', str(photo), '--out', 'out')
    assert {'torch', 'diffusers.models.unets.unet_2d', 'mmseg.models'} <= names
    assert not names.intersection(NOT_TO_PREDICT)
    assert 0 <= json.loads((tmp_path / f'out/{photo.name}.json').read_text())['score'] <= 1


@pytest.mark.parametrize(
    'words, expected',
    [
        (['python', '/usr/bin/diffiml', 'predict'], True),
        (['python', '-m', 'diffiml_plugin', 'predict'], True),
        (['python'], False),
        (['python', 'diffiml.py'], False),
        (['python', '-m', 'pytest'], False),
        (['python', '-c', 'import diffiml_plugin', 'diffiml'], False),
    ],
)
def test_only_the_command_registers_late(words, expected):
    assert diffiml_plugin._is_command(words) is expected


def test_the_installed_command_registers_before_it_runs(run_env, tmp_path):
    """Hooks, loops and datasets too, so that every config's components are known."""
    script = tmp_path / 'diffiml'
    script.write_text(
        'import sys, diffiml_plugin.cli as cli\n'
        'from mmseg.registry import HOOKS, MODELS\n'
        'late = not MODELS.module_dict\n'
        'cli.predict.run = lambda args: print(late, "DiffIML" in MODELS.module_dict,\n'
        '    "AccelerationHook" in HOOKS.module_dict) or 0\n'
        'sys.exit(cli.main())'
    )
    command = [sys.executable, str(script), 'predict', 'photo.jpg']
    done = subprocess.run(command, env=run_env, capture_output=True, text=True)
    assert done.stdout.split() == ['True', 'True', 'True'], done.stderr


def test_a_module_is_imported_without_an_optional_package(tmp_path, monkeypatch):
    (tmp_path / 'optional_one.py').write_text('')
    (tmp_path / 'uses_one.py').write_text(
        'try:\n    import optional_one as found\nexcept ImportError:\n    found = None'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        start, '_OPTIONAL', (('uses_one', 'optional_one'), ('gone_one', 'optional_one'))
    )
    start.register(only_predict=True)
    import optional_one
    import uses_one

    assert uses_one.found is None and optional_one is not None
    del sys.modules['optional_one'], sys.modules['uses_one']
