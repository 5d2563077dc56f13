"""Paths of predicted masks: one file per image, below the given folder."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from diffiml_plugin.datasets import IMLDataset
from diffiml_plugin.engine import SaveMasksHook
from diffiml_plugin.engine.conditions import name_of_set
from diffiml_plugin.errors import UserError


def make_set(root: Path, *names: str, index: bool = False, **kwargs) -> IMLDataset:
    """Write empty files, with a list or in the folder format."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    if index:
        (root / 'list.txt').write_text(''.join(f'{name}\tNone\t0\n' for name in names))
        kwargs['ann_file'] = 'list.txt'
    return IMLDataset(data_root=str(root), test_mode=True, **kwargs)


def predict(out: Path, *sets: IMLDataset) -> list[str]:
    """Run the hook over test sets; return the files that it wrote."""
    hook, loop = SaveMasksHook(str(out)), SimpleNamespace()
    loaders = {name_of_set(one): SimpleNamespace(dataset=one) for one in sets}
    loop.dataloader = SimpleNamespace(dataset=sets[0])
    if len(sets) > 1:
        loop.dataloaders = loaders
    runner = SimpleNamespace(test_loop=loop)
    hook.before_test(runner)
    for name, loader in loaders.items():
        loop.dataloader = loader
        if len(sets) > 1:
            loop.name = name
        infos = map(loader.dataset.get_data_info, range(len(loader.dataset)))
        for number, info in enumerate(infos):
            sample = SegDataSample(metainfo=dict(img_path=info['img_path']))
            sample.pred_sem_seg = PixelData(data=torch.full((1, 2, 3), number % 2))
            hook.after_test_iter(runner, 0, outputs=[sample])
            written = list(hook._images)[-1] if number + 1 == len(hook._images) else None
            if written:
                mask = cv2.imread(str(written), cv2.IMREAD_UNCHANGED)
                assert np.array_equal(mask, np.full((2, 3), 255 * (number % 2)))
    return sorted(path.relative_to(out).as_posix() for path in out.rglob('*') if path.is_file())


def test_the_place_below_the_root_is_kept(tmp_path):
    images = ('Tp/a.jpg', 'Tp/deep/a.jpg', 'Au/a.jpg', 'Au/b.v2.TIF')
    masks = ('Gt/a.png', 'Gt/deep/a.png')
    expected = ['SET/Au/a.png', 'SET/Au/b.v2.png', 'SET/Tp/a.png', 'SET/Tp/deep/a.png']
    data = make_set(tmp_path / 'data/SET', *images, *masks)
    assert predict(tmp_path / 'out', data) == expected
    # Also with a relative root and another spelling of it.
    listed = make_set(tmp_path / 'data/SET', *images, index=True)
    listed.data_root = f'{tmp_path}/data/../data/SET/'
    assert predict(tmp_path / 'again', listed) == expected


def test_images_outside_of_the_root_keep_their_whole_path(tmp_path):
    for name in ('other/a.jpg', 'else/a.jpg'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    names = (str(tmp_path / 'other/a.jpg'), '../else/a.jpg', 'a.jpg')
    data = make_set(tmp_path / 'SET', *names, index=True)
    whole = tmp_path.as_posix()
    assert predict(tmp_path / 'out', data) == sorted(
        ['SET/a.png', f'SET{whole}/other/a.png', f'SET{whole}/else/a.png']
    )


def test_sets_of_one_root_or_one_name(tmp_path):
    first = make_set(tmp_path / 'x/SET', 'a.jpg', index=True)
    second = make_set(tmp_path / 'y/SET', 'a.jpg', index=True)
    with pytest.raises(UserError, match="x/SET/a.jpg' and '.*y/SET/a.jpg' would both be"):
        predict(tmp_path / 'none', ConcatDataset([first, second]))
    assert not (tmp_path / 'none').exists()
    named = make_set(tmp_path / 'y/SET', 'a.jpg', index=True, metainfo=dict(dataset_name='other'))
    expected = ['SET/a.png', 'other/a.png']
    assert predict(tmp_path / 'out', first, named) == expected
    assert predict(tmp_path / 'joined', ConcatDataset([first, named], ignore_keys=['dataset_name'])
                   ) == expected  # fmt: skip


def test_a_collision_is_reported_before_anything_is_written(tmp_path):
    data = make_set(tmp_path / 'SET', 'Tp/b.jpg', 'Tp/a.jpg', 'Tp/a.png', index=True)
    with pytest.raises(UserError, match='Tp/a.jpg.*Tp/a.png.*would both be .*SET/Tp/a.png'):
        predict(tmp_path / 'out', data)
    assert not (tmp_path / 'out').exists()


def test_masks_never_replace_images(tmp_path):
    data = make_set(tmp_path / 'pictures/SET', 'a.png', index=True)
    for out in ('pictures', 'pictures/SET', 'pictures/SET/out'):
        with pytest.raises(UserError, match='among the images'):
            predict(tmp_path / out, data)
    # MMEngine takes a name that is a file or folder here, such as data, for the address of a list.
    named = dict(dataset_name='pictures')
    inner = make_set(tmp_path / 'pictures/SET', 'a.png', index=True, metainfo=named)
    with pytest.raises(UserError, match='among the images'):
        predict(tmp_path, inner)


@pytest.mark.parametrize('name', ['../up', '/abs', 'a/b', '..', 'a\\b', 'x\n', 101 * 'x'])
def test_names_of_sets_cannot_leave_the_folder(name):
    with pytest.raises(UserError, match='cannot name a folder'):
        name_of_set(SimpleNamespace(metainfo=dict(dataset_name=name)))


@pytest.mark.parametrize(
    'root, name', [('data/SET/', 'SET'), ('s3://bucket/SET', 'SET'), ('/', 'test')]
)
def test_the_name_comes_from_the_root(root, name):
    assert name_of_set(SimpleNamespace(metainfo={}, data_root=root)) == name
    here = name_of_set(SimpleNamespace(metainfo={}, data_root='.'))
    assert here == name_of_set(SimpleNamespace(data_root='docs/..')) == Path.cwd().name


def test_a_mask_that_cannot_be_written_is_named(tmp_path):
    data = make_set(tmp_path / 'SET', 'a.jpg', index=True)
    (tmp_path / 'out').touch()
    with pytest.raises(UserError, match='out/SET/a.png. cannot be written'):
        predict(tmp_path / 'out', data)
