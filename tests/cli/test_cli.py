"""The command ``diffiml``."""

import csv
import hashlib
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.apis import export
from diffiml_plugin.apis.inferencer import DiffIMLInferencer
from diffiml_plugin.cli import INTERRUPTED, main
from diffiml_plugin.engine.atomic import UNFINISHED


@pytest.fixture
def images(demo_data, tmp_path) -> Path:
    """Two good images, one of them below a folder, and three bad ones."""
    folder = tmp_path / 'images'
    (folder / 'sub').mkdir(parents=True)
    paths = sorted((demo_data / 'test_seen/Tp').iterdir())
    shutil.copy(paths[0], folder / f'a{paths[0].suffix}')
    shutil.copy(paths[1], folder / f'sub/b{paths[1].suffix}')
    (folder / 'text.jpg').write_text('no picture')
    (folder / 'empty.png').write_bytes(b'')
    (folder / 'cut.png').write_bytes(paths[0].read_bytes()[:500])
    return folder


def written(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()
    }


def test_failures_are_listed_and_other_images_are_written(run, images, tmp_path):
    out = tmp_path / 'out'
    status, printed = run(
        'predict', images, 'gone.jpg', '--out', out, '--json', '--csv', '--overlay'
    )
    assert status == 1
    for words in ("'text.jpg' is not an image", "'empty.png' is empty", "'cut.png' is damaged",
                  "'gone.jpg' does not exist", '4 failed:', f'2 images in {out}'):  # fmt: skip
        assert words in printed
    good = sorted(p.relative_to(images).as_posix() for p in images.rglob('[ab].*'))
    suffixes = ('mask.png', 'probability.png', 'overlay.png', 'strip.png', 'json')
    expected = {f'{name}.{suffix}' for name in good for suffix in suffixes}
    assert set(written(out)) == expected | {'results.json', 'results.csv'}
    results = json.loads((out / 'results.json').read_text())
    assert [p['name'] for p in results['predictions']] == good
    assert len(results['failures']) == 4
    with (out / 'results.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['name'] for row in rows][:2] == good and len(rows) == 6
    assert rows[0]['score'] == str(results['predictions'][0]['score'])
    assert all(row['failure'] for row in rows[2:])


def test_files_equal_the_python_results_and_hold_the_provenance(run, images, tmp_path):
    (path,) = images.glob('a.*')
    out = tmp_path / 'out'
    assert run('predict', path, '--out', out, '--seed', 3, '--overlay')[0] == 0
    inferencer = DiffIMLInferencer(show_progress=False)
    (found,) = inferencer(path, seed=3)['predictions']
    mask = Image.open(out / f'{path.name}.mask.png')
    assert (np.asarray(mask) == 255 * found.mask).all()
    probability = Image.open(out / f'{path.name}.probability.png')
    assert np.abs(np.asarray(probability) - 255 * found.probability).max() <= 0.501
    assert (np.asarray(Image.open(out / f'{path.name}.overlay.png')) == found.overlay()).all()
    record = json.loads((out / f'{path.name}.json').read_text())
    assert record['provenance'] == found.provenance and record['provenance']['seed'] == 3
    assert record['score'] == round(found.score, 6)
    for kind, output in record['outputs'].items():
        data = (out / output['file']).read_bytes()
        assert hashlib.sha256(data).hexdigest() == output['sha256']
        picture = Image.open(out / output['file'])
        assert json.loads(picture.text['diffiml']) == found.provenance, kind


def test_existing_outputs_are_skipped_only_if_they_would_be_the_same(run, images, tmp_path):
    (path,), out = images.glob('a.*'), tmp_path / 'out'
    command = ('predict', path, '--out', out, '--skip-existing')
    assert 'already exist' not in run(*command)[1]
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    status, printed = run(*command, '--csv')
    assert status == 0 and 'skipped 1 image: outputs already exist' in printed
    assert {p: p.stat().st_mtime_ns for p in before} == before
    # Tables also hold existing results.
    assert path.name in (out / 'results.csv').read_text()
    # Another setting or precision, a changed or missing output, more outputs, or another image:
    # predicted again.
    assert 'already exist' not in run(*command, '--seed', '4')[1]
    assert run(*command, '--seed', '4')[1].count('already exist') == 1
    assert 'already exist' not in run(*command, '--seed', '4', '--amp', 'bf16')[1]
    assert 'already exist' not in run(*command, '--seed', '4')[1]
    mask = out / f'{path.name}.mask.png'
    for change in (lambda: mask.write_bytes(b'x'), mask.unlink):
        change()
        assert 'already exist' not in run(*command, '--seed', '4')[1]
        Image.open(mask).load()
    assert 'already exist' not in run(*command, '--seed', '4', '--overlay')[1]
    Image.open(path).convert('RGB').transpose(Image.Transpose.ROTATE_180).save(path)
    assert 'already exist' not in run(*command, '--seed', '4', '--overlay')[1]
    (out / f'{path.name}.json').write_text('{ cut')
    assert 'already exist' not in run(*command, '--seed', '4', '--overlay')[1]
    # Pictures of an earlier, different result are removed.
    run('predict', path, '--out', out)
    assert not (out / f'{path.name}.overlay.png').exists()


def test_an_interrupted_run_is_resumed(demo_data, tmp_path, run, monkeypatch):
    out, folder = tmp_path / 'out', demo_data / 'test_unseen/Tp'
    names = sorted(path.name for path in folder.iterdir())
    # Several workers would finish the images that they have begun.
    command = ('predict', folder, '--out', out, '--csv', '--workers', '1')
    write = export.write_atomically

    def killed(path: Path, data: bytes) -> None:
        if path.name == f'{names[2]}.probability.png':
            os.kill(os.getpid(), signal.SIGTERM)
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(export, 'write_atomically', killed)
        status, printed = run(*command)
    assert status == INTERRUPTED
    words = f'interrupted: 2 of {len(names)} images are done; --skip-existing resumes'
    assert words in printed and 'Traceback' not in printed
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    # No file is incomplete, and the table lists all finished images.
    assert sorted(path.name for path in out.glob('*.json')) == [f'{n}.json' for n in names[:2]]
    assert not [path for path in out.iterdir() if path.name.endswith(UNFINISHED)]
    assert len((out / 'results.csv').read_text().splitlines()) == 3
    status, printed = run(*command, '--skip-existing')
    assert status == 0 and 'skipped 2 images: outputs already exist' in printed
    assert len(list(out.glob('*.json'))) == len(names)


def test_results_go_to_stdout_and_problems_to_stderr(images, tmp_path, run_env):
    """Results go to stdout, a file or a program; the progress bar goes to the terminal."""
    (path,) = images.glob('a.*')
    terminal, end = pty.openpty()
    command = ['-m', 'diffiml_plugin', 'predict', str(path), '--out', str(tmp_path / 'out')]
    done = subprocess.run(
        [sys.executable, *command], env=run_env | dict(TERM='xterm'), stdout=subprocess.PIPE,
        stderr=end, text=True, timeout=120,
    )  # fmt: skip
    # A terminal returns at most 4096 bytes at once, which may end within a character.
    shown = os.read(terminal, 1 << 16).decode(errors='replace')
    os.close(end)
    os.close(terminal)
    line, total = done.stdout.splitlines()
    assert re.fullmatch(rf'{path.name}: score 0\.\d{{3}}, \d+\.\d % marked', line)
    assert total == f'1 image in {tmp_path / "out"}'
    assert 'Predicting' in shown and 'score' not in shown


def test_names_that_would_collide_are_refused(run, images, tmp_path):
    (path,) = images.glob('a.*')
    other = tmp_path / 'other' / path.name
    other.parent.mkdir()
    shutil.copy(path, other)
    status, printed = run('predict', path, other, '--out', tmp_path / 'out')
    assert status == 2 and 'would write the same files' in printed
    # A file that is given twice counts once.
    status, printed = run('predict', path, path, '--out', tmp_path / 'out')
    assert status == 0 and '1 image in' in printed


def test_a_report_is_written(run, images, tmp_path):
    out = tmp_path / 'out'
    status, printed = run('predict', images, '--out', out, '--report')
    assert status == 1 and f'report: {out / "report.html"}' in printed
    page = (out / 'report.html').read_text()
    assert page.count('<article') == 2 and page.count('<li><b>') >= 3
    assert 'text.jpg' in page and str(tmp_path) not in page


def test_trajectories_are_written(run, images, tmp_path):
    (path,), out = images.glob('a.*'), tmp_path / 'out'
    assert run('predict', path, '--out', out, '--trajectory', '--steps', '3')[0] == 0
    film = Image.open(out / f'{path.name}.trajectory.gif')
    size = Image.open(path).size
    assert film.n_frames == 4 and film.size == (2 * size[0], size[1] + 4)
    assert json.loads(film.info['comment'])['input'] == path.name
    assert Image.open(out / f'{path.name}.trajectory.png').width > 600


@pytest.mark.parametrize(
    'args, status, words',
    [
        ((), 2, 'required'),
        (('predict',), 2, 'required: images'),
        (('predict', 'EMPTY'), 1, 'holds no image'),
        (('predict', 'EMPTY/*.png'), 1, 'nothing matches'),
        (('predict', 'IMAGE', '--model', 'nowhere'), 2, 'neither a config file nor a folder'),
        (('predict', 'IMAGE', '--model', 'configs/diffiml/diffiml_demo.py'), 2, 'needs weights'),
        (('predict', 'IMAGE', '--device', 'gpu9'), 2, "device 'gpu9' cannot be used"),
        (('predict', 'IMAGE', '--tile', '3'), 2, 'at least 8'),
        (('predict', 'IMAGE', '--full-resolution'), 2, 'needs a size of tiles'),
        (('predict', 'IMAGE', '--workers', '0'), 2, '--workers: must be a positive integer'),
        (('predict', 'IMAGE', '--actors', '2'), 2, '--actors needs --engine ray'),
        (
            ('predict', 'IMAGE', '--engine', 'ray', '--csv'),
            2,
            '--csv does not go with --engine ray',
        ),
        (('predict', 'IMAGE', '--tile', 'big'), 2, "--tile: must be a positive integer, got 'big'"),
        (('predict', 'IMAGE', '--threshold', '3'), 2, 'must lie in 0..1'),
        (('predict', 'IMAGE', '--steps', '0'), 2, 'must be a positive integer'),
        (('predict', 'IMAGE', '--out', 'IMAGE'), 2, 'is a file'),
        (('serve', '--port', '99999'), 2, 'must lie in 1..65535'),
        (('serve', '--max-upload', '0'), 2, 'must be a positive integer'),
        (('demo-data', '--num', '0'), 2, 'at least one image'),
    ],
)
def test_wrong_usage(run, images, tmp_path, args, status, words):
    (image,) = images.glob('a.*')
    empty = tmp_path / 'empty'
    empty.mkdir()
    names = dict(IMAGE=str(image), EMPTY=str(empty))
    args = [re.sub('IMAGE|EMPTY', lambda m: names[m[0]], arg) for arg in args]
    if args and '--out' not in args:
        args += ['--out', str(tmp_path / 'out'), *(['--csv'] if args[0] == 'predict' else [])]
    found, printed = run(*args)
    assert found == status and words in printed
    # Wrong usage writes nothing and keeps an earlier run's tables.
    if status == 2:
        assert not (tmp_path / 'out').exists()


def test_a_folder_that_cannot_be_written_to(run, images):
    (image,) = images.glob('a.*')
    status, printed = run('predict', image, '--out', '/proc/diffiml', '--csv')
    assert status == 1 and printed.endswith(
        "'/proc/diffiml' cannot be used: No such file or directory\n"
    )


def hostile_folder(folder: Path, image: Image.Image) -> list[str]:
    """Fill a folder with images that have hostile names, and with files that are not images."""
    names = [
        '--out.png', '=cmd.png', '[red]x.png', 'a$b$.png', 'scan.v2.mask.png',
        'sub/esc\x1b[31m.png', 'sub/line\nfeed.png', os.fsdecode(b'sub/not\xffutf8.png'),
        '\u65e5' * 83 + '.png', 'x' * 251 + '.png',
    ]  # fmt: skip
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    os.mkfifo(folder / 'pipe.png')
    (folder / 'zero.png').symlink_to('/dev/zero')
    (folder / 'gone.png').symlink_to('nowhere')
    (folder / 'sub/loop').symlink_to('..')
    (folder / 'phone.heic').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    return names


def test_a_failing_image_does_not_affect_others(run, images, tmp_path):
    (path,) = images.glob('a.*')
    folder = tmp_path / 'in'
    names = hostile_folder(folder, Image.open(path).resize((64, 48)))
    out = folder / 'out'
    command = (
        'predict', folder, '/dev/zero', folder / 'sub', '--out', out, '--json', '--csv'
    )  # fmt: skip
    status, printed = run(*command)
    assert status == 1 and f'{len(names)} images in' in printed and '5 failed:' in printed
    for words in ('named pipe', 'a device', 'does not exist', 'HEIC file, which cannot be read'):
        assert words in printed
    for shown in (r'esc\x1b[31m.png: score', r'line\nfeed.png: score', r'not\xffutf8.png: score',
                  '[red]x.png: score'):  # fmt: skip
        assert shown in printed
    assert '\x1b' not in printed
    # Every reader must be able to decode the text, so it holds no surrogates.
    results = json.loads((out / 'results.json').read_bytes().decode())
    json.dumps(results, ensure_ascii=False).encode()
    assert len(results['predictions']) == len(names) and len(results['failures']) == 5
    with (out / 'results.csv').open(newline='', encoding='utf-8') as file:
        cells = [row['name'] for row in csv.DictReader(file)]
    assert not any(cell.startswith(('=', '-', '+', '@')) for cell in cells)
    assert {"'=cmd.png", "'--out.png", r'sub/line\nfeed.png'} <= set(cells)
    assert all(cell.isprintable() for cell in cells)
    # Nothing is predicted again, not even outputs in the input folder.
    status, printed = run(*command, '--skip-existing')
    assert status == 1 and f'skipped {len(names)} images: outputs already exist' in printed
    assert 'skipped 20 images that an earlier run wrote, such as' in printed
    assert len(list(out.rglob('*.mask.png'))) == len(names)


def test_files_of_others_are_never_replaced(run, images, tmp_path):
    (path,) = images.glob('a.*')
    folder = tmp_path / 'in'
    folder.mkdir()
    image = Image.open(path).resize((64, 48))
    for name in ('a.png', 'b.png', 'c.png', 'd.png', 'a.png.mask.png'):
        image.save(folder / name)
    # In the format of photograph services.
    (folder / 'b.png.json').write_text('{"title": "b"}')
    (folder / 'd.png.json').mkdir()
    before = written(folder)
    status, printed = run('predict', folder, '--out', folder)
    assert status == 1 and '2 images in' in printed and '3 failed:' in printed
    for name in ('a.png.mask.png', 'b.png.json'):
        assert f"'{name}' exists in '{folder}' and was not written by" in printed
    assert 'its outputs cannot be written: Is a directory' in printed
    after = written(folder)
    assert {name: after[name] for name in before} == before
    assert 'c.png.json' in after and 'a.png.mask.png.mask.png' in after


def test_a_name_that_no_stream_can_encode_is_printed(images, tmp_path, monkeypatch):
    (path,) = images.glob('a.*')
    folder = tmp_path / 'in'
    folder.mkdir()
    shutil.copy(path, folder / os.fsdecode(b'-\xff\xc3\xa9.png'))
    monkeypatch.chdir(folder)
    stream = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    monkeypatch.setattr(sys, 'stdout', stream)
    assert main(['predict', '--out', str(tmp_path / 'out'), '--', '-*.png']) == 0
    stream.flush()
    assert stream.buffer.getvalue().startswith(rb'-\xff\xe9.png: score')
