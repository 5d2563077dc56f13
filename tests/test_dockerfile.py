"""The Dockerfile, whose commands run here in a fresh environment, since Docker may be missing."""

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / 'diffiml_plugin/web/examples'


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r'\\\n\s*', '', (ROOT / 'Dockerfile').read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith('#')]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def values(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


def test_it_names_what_is_tested():
    (image,) = values('FROM')
    minor = int(re.fullmatch(r'python:3\.(\d+)-slim', image)[1])
    assert f':: 3.{minor}\n' in (ROOT / 'setup.cfg').read_text()
    versions = dict(
        line.split('==')
        for line in (ROOT / 'requirements/constraints.txt').read_text().split()
        if '==' in line
    )
    (headless,) = re.findall(r'opencv-python-headless==(\S+)', ' '.join(values('RUN')))
    assert headless == versions['opencv-python']


def test_the_last_user_is_not_root():
    (user,) = values('USER')
    assert any(f'useradd --create-home {user}' in command for command in values('RUN'))
    names = [instruction for instruction, _ in instructions()]
    assert names.index('USER') < names.index('ENTRYPOINT')


@pytest.mark.slow
def test_its_commands_make_a_program_that_predicts(tmp_path):
    context, home = tmp_path / 'context', tmp_path / 'venv'
    _copy_context(context)
    venv.create(home, with_pip=True)
    binaries = home / 'bin'
    env = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    env['PATH'] = f'{binaries}:{env["PATH"]}'
    for command in values('RUN'):
        if not command.startswith('useradd'):
            subprocess.run(command, shell=True, cwd=context, env=env, check=True)
    shutil.rmtree(context)  # what is installed needs the sources no longer
    photo = next(EXAMPLE.glob('*.[jp][pn]g'))
    predict = [binaries / 'diffiml', 'predict', photo, '--out', tmp_path / 'out']
    subprocess.run(predict, cwd=tmp_path, env=env, check=True)
    assert list((tmp_path / 'out').rglob('*.png'))
    script = 'import cv2, sys; sys.stdout.write(cv2.__file__)'
    done = subprocess.run(
        [binaries / 'python', '-c', script], env=env, check=True, capture_output=True, text=True
    )
    for library in Path(done.stdout).parent.glob('*.so'):
        linked = subprocess.run(['ldd', library], capture_output=True, text=True, check=True).stdout
        assert 'libGL' not in linked and 'libX11' not in linked


def _copy_context(folder: Path) -> None:
    kept = re.findall(r'^!(\S+)$', (ROOT / '.dockerignore').read_text(), re.MULTILINE)
    for name in kept:
        source = ROOT / name
        assert source.exists(), f'.dockerignore keeps {name}, which does not exist'
        if source.is_dir():
            ignored = shutil.ignore_patterns('__pycache__')
            shutil.copytree(source, folder / name, symlinks=True, ignore=ignored)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / name)
