"""Planted faults, all of which must be found."""

import json
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from diffiml_plugin.datasets.checking import ERRORS, WARNINGS

SIZE = (96, 128)
TOOL = 'tools/check_dataset.py'


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def mask() -> np.ndarray:
    empty = np.zeros(SIZE, np.uint8)
    empty[20:50, 30:80] = 255
    return empty


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def make(root: Path, names: str, first_seed: int) -> Path:
    for number, name in enumerate(names):
        write(root / f'Tp/{name}.jpg', picture(first_seed + number))
        write(root / f'Gt/{name}.png', mask())
    write(root / 'Au/authentic.jpg', picture(first_seed + 50))
    return root


def test_an_intact_set_has_no_faults(tmp_path, run_tool):
    printed = run_tool(TOOL, make(tmp_path / 'a', 'abc', 0))
    assert '4 images, 3 tampered' in printed and 'no faults found' in printed


def huge() -> bytes:
    """Write a PNG whose header promises more pixels than Pillow's limit."""
    header = struct.pack('>IIBBBBB', 20_000, 20_000, 8, 0, 0, 0, 0)
    chunks = ((b'IHDR', header), (b'IDAT', zlib.compress(b'')), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        for name, data in chunks
    )


def plant(test: Path, train: Path) -> set[tuple[str, str]]:
    """Plant one fault per file; return the faults."""
    (test / 'Gt/a.png').unlink()
    write(test / 'Gt/lonely.png', mask())
    write(test / 'Tp/b.png', picture(7))
    write(test / 'Gt/c.png', mask()[:50])
    (test / 'Tp/d.jpg').write_bytes(b'no image')
    whole = (test / 'Tp/e.jpg').read_bytes()
    (test / 'Tp/e.jpg').write_bytes(whole[: len(whole) // 2])
    write(test / 'Gt/f.png', mask() * 0)
    write(test / 'Gt/g.png', mask() * 0 + 255)
    write(test / 'Gt/h.png', 255 - mask())
    write(test / 'Gt/i.png', (np.linspace(0, 255, SIZE[1]) * np.ones(SIZE)).astype(np.uint8))
    shutil.copy(test / 'Tp/c.jpg', test / 'Tp/j.jpg')
    shutil.copy(train / 'Tp/x.jpg', test / 'Tp/k.jpg')
    near = cv2.imread(str(train / 'Tp/y.jpg'))
    write(test / 'Tp/l.png', cv2.resize(near, (140, 100)) // 2 + 30)
    (test / 'Tp/l.jpg').unlink()
    write(test / 'Gt/l.png', cv2.resize(mask(), (140, 100), interpolation=cv2.INTER_NEAREST))
    (test / 'Gt/m.png').write_bytes(b'')
    (test / 'Au/photo.heic').write_bytes(b'not read here')
    for hidden in ('Tp/._a.jpg', 'Gt/.DS_Store', 'Au/Thumbs.db', 'Au/.cache/x.jpg'):
        (test / hidden).parent.mkdir(exist_ok=True)
        (test / hidden).write_bytes(b'left behind')
    write(test / 'Gt/n.png', mask() // 255 * 2 + np.eye(*SIZE, dtype=np.uint8))
    (test / 'Tp/o.jpg').unlink()
    (test / 'Tp/o.png').write_bytes(huge())
    return {
        ('unpaired', 'Tp/a.jpg'),
        ('unpaired', 'Gt/lonely.png'),
        ('same stem', 'Tp/b.png'),
        ('size mismatch', 'Gt/c.png'),
        ('unreadable', 'Tp/d.jpg'),
        ('truncated', 'Tp/e.jpg'),
        ('empty mask', 'Gt/f.png'),
        ('full mask', 'Gt/g.png'),
        ('inverted-looking mask', 'Gt/h.png'),
        ('mask not binary', 'Gt/i.png'),
        ('duplicate', 'Tp/j.jpg'),
        ('leak', 'Tp/k.jpg'),
        ('near leak', 'Tp/l.png'),
        ('unreadable', 'Gt/m.png'),
        ('not an image', 'Au/photo.heic'),
        ('mask not understood', 'Gt/n.png'),
        ('too large', 'Tp/o.png'),
    }


@pytest.mark.parametrize('by_config', [False, True])
def test_every_planted_fault_is_found(by_config, tmp_path, run_tool):
    train = make(tmp_path / 'train', 'xyz', 100)
    test = make(tmp_path / 'test', 'abcdefghijklmno', 200)
    planted = plant(test, train)
    out = tmp_path / 'findings.json'
    if by_config:
        config = tmp_path / 'config.py'
        roots = dict(train=str(train), test=str(test))
        config.write_text(
            ''.join(
                f"{role}_dataloader = dict(dataset=dict(type='IMLDataset', data_root={root!r}))\n"
                for role, root in roots.items()
            )
        )
        args = (config,)
    else:
        args = (test, '--train', train)
    printed = run_tool(TOOL, *args, '--json', out, status=1)
    sets = json.loads(out.read_text())
    findings = sets[f'test: {test}' if by_config else str(test)]['findings']
    found = {(f['kind'], str(Path(f['path']).relative_to(test))) for f in findings}
    assert found == planted
    kinds = {kind for kind, _ in found}
    # Only an index or a whole set can cause the others.
    assert kinds == {*ERRORS, *WARNINGS} - {'missing', 'unusable', 'inverted masks'}
    assert all(f'x {kind}' in printed for kind in kinds)


@pytest.mark.parametrize('as_published', [True, False])
def test_a_set_of_inverted_masks_fails(as_published, tmp_path, run_tool):
    """Masks as published with DSO-1: black cut-outs of people on white."""
    root = make(tmp_path / 'a', 'abcdef', 0)
    for number, name in enumerate('abcdef'):
        person = np.zeros(SIZE, np.uint8)
        # The region touches the lower border.
        person[96 - 12 * (number + 2) :, 30 : 50 + 3 * number] = 255
        write(root / f'Gt/{name}.png', 255 - person if as_published else person)
    printed = run_tool(TOOL, root, status=int(as_published))
    assert ('ERROR: 1 x inverted masks' in printed) == as_published
    assert ('6 of 6 masks mark most of the image' in printed) == as_published
    printed = run_tool(TOOL, root, '--inverted', status=int(not as_published))
    assert ('inverted masks' in printed) == (not as_published)


def test_large_regions_are_not_inverted_masks(tmp_path, run_tool):
    root = make(tmp_path / 'a', 'abcdef', 0)
    for number, name in enumerate('abcdef'):
        # Regions of two thirds of the image, as in generative edits; one new background.
        region = np.zeros(SIZE, np.uint8)
        region[8:90, 8:118] = 255
        write(root / f'Gt/{name}.png', 255 - mask() if number < 2 else region)
    printed = run_tool(TOOL, root)
    assert '2 x inverted-looking mask' in printed and 'inverted masks' not in printed


def test_an_index_of_files_that_are_not_there(tmp_path, run_tool):
    root = make(tmp_path / 'a', 'ab', 0)
    (root / 'list.txt').write_text('Tp/a.jpg Gt/a.png 1\nTp/gone.jpg Gt/b.png 1\n')
    config = tmp_path / 'config.py'
    config.write_text(
        f"test_dataloader = dict(dataset=dict(type='IMLDataset', ann_file='list.txt'))\n"
        f"test_cfg = dict(test_sets=dict(a='{root}'))\n"
    )
    printed = run_tool(TOOL, config, status=1)
    assert '1 x unusable' in printed and '1 of the 4 files' in printed and 'gone.jpg' in printed


def test_a_config_s_other_sets_are_checked_where_one_is_missing(tmp_path, run_tool):
    root = make(tmp_path / 'a', 'ab', 0)
    config = tmp_path / 'config.py'
    config.write_text(
        ''.join(
            f"{role}_dataloader = dict(dataset=dict(type='IMLDataset', data_root='{path}'))\n"
            for role, path in dict(train=tmp_path / 'nowhere', test=root).items()
        )
    )
    printed = run_tool(TOOL, config, status=1)
    assert '1 x missing' in printed and 'nowhere' in printed
    assert f'test: {root}: 3 images, 2 tampered\n  no faults found' in printed


def test_wrong_sources_are_named(tmp_path, run_tool):
    assert 'neither a config nor a folder' in run_tool(TOOL, tmp_path / 'none', status=1)
    assert 'no images in Tp/' in run_tool(TOOL, tmp_path, status=1)


OWN = """
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module(force=True)
class TwoFolders(BaseSegDataset):
    METAINFO = dict(classes=('authentic', 'tampered'), palette=[[0] * 3, [255] * 3])
"""


def test_a_user_s_own_data_set(tmp_path, run_tool, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'own_data.py').write_text(OWN)
    for role, seed in dict(train=0, val=10).items():
        for number in range(3):
            write(tmp_path / f'images/{role}/{number}.jpg', picture(seed + number))
            # The authentic image has an empty mask, as in mmseg.
            write(tmp_path / f'masks/{role}/{number}.png', mask() // 255 * (number > 0))
    write(tmp_path / 'masks/val/2.png', mask() // 255 * 2 + np.eye(*SIZE, dtype=np.uint8))
    config = tmp_path / 'config.py'
    config.write_text(
        "custom_imports = dict(imports=['own_data'])\n"
        + ''.join(
            f"{role}_dataloader = dict(dataset=dict(type='TwoFolders', data_root='{tmp_path}', "
            f"data_prefix=dict(img_path='images/{role}', seg_map_path='masks/{role}'), "
            "pipeline=[dict(type='LoadAnnotations')]))\n"
            for role in ('train', 'val')
        )
        + 'test_dataloader = val_dataloader\n'
    )
    printed = run_tool(TOOL, config, status=1)
    assert f'train: {tmp_path} images/train masks/train: 3 images' in printed
    assert printed.count('3 images') == 2 and printed.count('no faults found') == 1
    assert 'ERROR: 1 x mask not understood' in printed and 'masks/val/2.png' in printed
    assert 'holds 4 values (0, 1, 2, 3)' in printed


def test_masks_of_one_value_where_they_are_allowed(tmp_path, run_tool):
    root = make(tmp_path / 'a', 'ab', 0)
    write(root / 'Gt/a.png', mask() * 0)
    assert '1 x empty mask' in run_tool(TOOL, root, status=1)
    config = tmp_path / 'config.py'
    config.write_text(
        f"test_dataloader = dict(dataset=dict(type='IMLDataset', data_root='{root}', "
        'allow_uniform_masks=True))\n'
    )
    assert 'no faults found' in run_tool(TOOL, config)
