"""``diffiml synthesize``."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from diffiml_plugin.cli import synthesize
from diffiml_plugin.datasets import synthetic_tampering_dataset
from diffiml_plugin.errors import UserError
from diffiml_plugin.synthesis import forger


class PatchForger:
    """Stands for a Forger: its operations paint a square in one color each."""

    COLORS = dict(Red=(0, 0, 255), Green=(0, 255, 0))
    ALL = (dict(type='Red'), dict(type='Green'))

    def __init__(self, operations=ALL, size=24, authentic_share=0.25) -> None:
        for operation in operations:
            if operation['type'] not in self.COLORS:
                raise UserError(f'unknown operation {operation["type"]}')
        self.operations, self.size = operations, size
        self.authentic_share = authentic_share

    def forge(self, source, index, rng) -> dict:
        image = source.load(index).image[: self.size, : self.size].copy()
        mask = np.zeros(image.shape[:2], np.uint8)
        name = 'authentic'
        if rng.random() >= self.authentic_share:
            name = self.operations[rng.integers(len(self.operations))]['type']
            mask[8:16, 8:16] = 1
            image[mask > 0] = self.COLORS[name]
        return dict(img=image, gt_seg_map=mask, operation=name.lower())


@pytest.fixture(autouse=True)
def _forger(monkeypatch):
    monkeypatch.setattr(forger, 'Forger', PatchForger)
    monkeypatch.setattr(forger, 'OPERATIONS', PatchForger.ALL)
    monkeypatch.setattr(synthetic_tampering_dataset, 'Forger', PatchForger)


@pytest.fixture
def photographs(tmp_path) -> Path:
    folder = tmp_path / 'photographs'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in 'ab':
        noise = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f'{name}.png')
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob('*') if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_files_are_the_samples_of_a_training(run, photographs, tmp_path):
    out = tmp_path / 'out'
    status, printed = run('synthesize', '--photographs', photographs, '--out', out, '--num', 12)
    assert status == 0 and f'12 images in {out} (' in printed and 'a second)' in printed
    data = DATASETS.build(dict(
        type='SyntheticTamperingDataset', sources=[dict(photographs=str(photographs))],
        forger={}, length=12,
    ))  # fmt: skip
    for index in range(12):
        sample = data[index]
        name = f'{index:06d}_{sample["operation"]}.png'
        authentic = sample['operation'] == 'authentic'
        assert (cv2.imread(str(out / ('Au' if authentic else 'Tp') / name)) == sample['img']).all()
        mask = cv2.imread(str(out / 'Gt' / name), cv2.IMREAD_UNCHANGED)
        assert authentic == (mask is None)
        assert authentic or (mask == 255 * sample['gt_seg_map']).all()
    read = DATASETS.build(dict(type='IMLDataset', data_root=str(out), pipeline=[]))
    assert len(read) == 12


def test_an_interrupted_run_is_resumed(run, photographs, tmp_path, monkeypatch):
    command = ('synthesize', '--photographs', photographs, '--num', 9, '--seed', 4, '--out')
    assert run(*command, tmp_path / 'whole')[0] == 0
    part = tmp_path / 'part'
    forge = PatchForger.forge

    def interrupted(self, source, index, rng):
        if len(contents(part)) > 8:
            raise KeyboardInterrupt
        return forge(self, source, index, rng)

    with monkeypatch.context() as patch:
        patch.setattr(PatchForger, 'forge', interrupted)
        assert run(*command, part)[0] == 130
    assert 0 < len(list(part.glob('[TA]*/*'))) < 9
    # A mask whose image is missing.
    next(part.glob('Tp/*')).unlink()
    status, printed = run(*command, part)
    assert status == 0 and 'of them were there' in printed
    assert contents(part) == contents(tmp_path / 'whole')
    # More of the same go to the same folder; others do not.
    assert run(*command[:4], 11, *command[5:], part)[0] == 0
    assert len(list(part.glob('[TA]*/*'))) == 11
    status, printed = run(*command, part, '--size', 32)
    assert status == 2 and 'other settings made the images in' in printed
    shutil.copy(photographs / 'a.png', photographs / 'c.png')
    assert run(*command, part)[0] == 2
    (part / 'synthesis.json').unlink()
    status, printed = run(*command, part)
    assert status == 2 and 'something else wrote' in printed


def test_settings_by_option_and_by_config(run, photographs, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(f"""train_dataloader = dict(dataset=dict(
        type='SyntheticTamperingDataset', sources=[dict(photographs={str(photographs)!r})],
        forger=dict(size=16, operations=[dict(type='Red')], authentic_share=0.0), length=5,
        seed=3))""")
    by_config, by_options, mixed = tmp_path / 'a', tmp_path / 'b', tmp_path / 'c'
    assert run('synthesize', '--config', config, '--num', 5, '--out', by_config)[0] == 0
    options = ('--size', 16, '--operations', 'Red', '--authentic-share', 0, '--seed', 3)
    command = ('synthesize', '--photographs', photographs, '--num', 5, *options, '--out')
    assert run(*command, by_options)[0] == 0
    images = [{n: c for n, c in contents(one).items() if n.endswith('png')}
              for one in (by_config, by_options)]  # fmt: skip
    assert images[0] == images[1] and len(images[0]) == 10
    command = ('synthesize', '--config', config, '--operations', 'Green', '--num', 5)
    assert run(*command, '--out', mixed)[0] == 0
    assert all('green' in path.name for path in mixed.glob('Tp/*'))


def test_the_contact_sheet(run, photographs, tmp_path):
    sheet = tmp_path / 'sheet.png'
    status, printed = run('synthesize', '--photographs', photographs, '--sheet', sheet)
    assert status == 0 and f'2 operations in {sheet}' in printed
    pixels = np.asarray(Image.open(sheet).convert('RGB')).reshape(-1, 3)
    for color in ((255, 0, 0), (0, 255, 0), (255, 0, 255)):
        assert (pixels == color).all(1).sum() > 300
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'args, words',
    [
        (('--out', 'OUT'), '--photographs is missing'),
        (('--photographs', 'IN'), 'nothing to do'),
        (('--photographs', 'IN/gone', '--out', 'OUT'), 'does not exist'),
        (('--photographs', 'IN', '--masks', 'IN/m.json', '--out', 'OUT'), 'do not exist'),
        (('--photographs', 'IN', '--sheet', 'OUT.xyz'), 'must end in .png'),
        (('--photographs', 'IN', '--out', 'OUT', '--nums', '2'), 'synthesize: error: unrecognized'),
        (('--photographs', 'IN', '--out', 'OUT', '--num', '0'), 'must be a positive integer'),
        (('--photographs', 'IN', '--out', 'OUT', '--seed', '-1'), 'whole number from 0 on'),
        (('--photographs', 'IN', '--out', 'OUT', '--operations', 'X'), 'unknown operation X'),
        (('--photographs', 'IN', '--out', 'OUT', '--prompt', 'X'), 'needs --inpainting-pipeline'),
        (('--config', 'configs/diffiml/diffiml_demo.py', '--out', 'OUT'), "trains on 'IMLDataset'"),
        (('--photographs', 'IN', '--config', 'gone.py', '--out', 'OUT'), 'does not exist'),
    ],
)
def test_wrong_usage(run, photographs, tmp_path, args, words):
    out = tmp_path / 'out'
    args = [arg.replace('IN', str(photographs)).replace('OUT', str(out)) for arg in args]
    status, printed = run('synthesize', *args)
    assert status == 2 and words in printed and not out.exists()


def test_a_folder_that_cannot_be_written_to(run, photographs):
    status, printed = run('synthesize', '--photographs', photographs, '--out', '/proc/diffiml')
    assert status == 1 and '/proc/diffiml' in printed and 'Traceback' not in printed


def test_a_file_in_place_of_the_folder(run, photographs):
    file = photographs / 'a.png'
    status, printed = run('synthesize', '--photographs', photographs, '--out', file)
    assert status == 1 and f"'{file}' is a file: give a folder" in printed
    status, printed = run('demo-data', '--out', file, '--num', 1, '--num-test', 1)
    assert status == 1 and str(file) in printed and 'Errno' not in printed


def test_a_generative_fill_is_one_more_operation(photographs):
    args = SimpleNamespace(
        config=None, photographs=photographs, masks=None, operations=None, prompt='a dog',
        inpainting_pipeline=Path('pipeline'), size=None, seed=None, authentic_share=0.5,
    )  # fmt: skip
    assert synthesize._settings(args)['forger'] == dict(
        operations=[dict(type='GenerativeFill', pipeline='pipeline', prompts=['a dog'])],
        authentic_share=0.5,
    )
