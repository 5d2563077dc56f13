"""Import of the package where OpenCV lacks a system library, as in slim containers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAID = "ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"


@pytest.fixture
def no_libgl(run_env, tmp_path) -> dict[str, str]:
    (tmp_path / 'cv2.py').write_text(f'raise {SAID}')
    return run_env | {'PYTHONPATH': f'{tmp_path}:{ROOT}'}


CATCH = """
try:
    import diffiml_plugin
except ImportError as error:
    print('caught:', error)
1 / 0
"""


@pytest.mark.parametrize(
    'command', [['-m', 'diffiml_plugin', 'predict', 'photo.jpg'], ['tools/test.py']]
)
def test_commands_name_the_package_to_install(command, no_libgl):
    done = subprocess.run([sys.executable, *command], env=no_libgl, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith('OpenCV cannot be loaded (libGL.so.1: cannot open')
    assert 'apt-get install libgl1 libglib2.0-0' in done.stderr


def test_callers_may_catch_user_errors(no_libgl):
    done = subprocess.run(
        [sys.executable, '-c', CATCH], env=no_libgl, capture_output=True, text=True
    )
    assert done.stdout.startswith('caught: OpenCV cannot be loaded')
    assert 'Traceback' in done.stderr and 'ZeroDivisionError' in done.stderr


@pytest.mark.parametrize(
    'script', sorted((ROOT / 'tools').rglob('*.py')), ids=lambda path: path.name
)
def test_tools_import_the_package_before_opencv(script):
    names = []
    for node in ast.parse(script.read_text()).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module)
    # Packages that import OpenCV; the rest of MMEngine does not.
    needs = ('cv2', 'mmcv', 'mmseg', 'mmengine.runner', 'mmengine.visualization', 'diffiml_plugin')
    first = next(name for name in names if name.startswith(needs))
    assert first.startswith('diffiml_plugin') or first == 'mmseg.registry', first
