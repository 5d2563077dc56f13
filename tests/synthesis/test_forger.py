"""Forgeries from photographs."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from diffiml_plugin.errors import UserError
from diffiml_plugin.synthesis.forger import Forger
from diffiml_plugin.synthesis.window import Window, WindowedObjects

SIZE = (72, 96)


def _forge(forger, source, seed, index=0):
    return forger.forge(source, index, np.random.default_rng(seed))


def test_equal_state_equal_bytes(source):
    forger = Forger(size=SIZE)
    first = [_forge(forger, source, seed) for seed in range(12)]
    second = [_forge(Forger(size=SIZE), source, seed) for seed in reversed(range(12))][::-1]
    for one, other in zip(first, second, strict=True):
        assert (one['img'] == other['img']).all()
        assert (one['gt_seg_map'] == other['gt_seg_map']).all()
        assert one['operation'] == other['operation']
    assert (first[0]['img'] != first[1]['img']).any()


def test_shapes_and_shares(source):
    forger = Forger(size=SIZE)
    kinds = Counter()
    for seed in range(150):
        result = _forge(forger, source, seed, seed % 4)
        assert set(result) == {'img', 'gt_seg_map', 'operation'}
        assert result['img'].shape == (*SIZE, 3) and result['img'].dtype == np.uint8
        assert result['gt_seg_map'].shape == SIZE
        assert result['gt_seg_map'].any() == (result['operation'] != 'authentic')
        kinds[result['operation']] += 1
    assert 20 <= kinds['authentic'] <= 55
    assert kinds['splice'] > kinds['removal'] > kinds['pasted_text'] >= 0
    assert kinds['copy_move'] and kinds['local_retouch']


def test_weights_choose_and_shares_end_at_none_and_all(source):
    forger = Forger([dict(type='CopyMove'), dict(type='Splice', weight=0)], 64, 0.0)
    assert {_forge(forger, source, seed)['operation'] for seed in range(8)} == {'copy_move'}
    forger = Forger(size=64, authentic_share=1.0)
    assert {_forge(forger, source, seed)['operation'] for seed in range(8)} == {'authentic'}


def test_authentic_images_read_no_donor(source):
    _forge(Forger(size=64, authentic_share=1.0), source, 0)
    assert source.loads == 1


def test_a_photograph_too_small_is_enlarged(source):
    assert _forge(Forger(size=256), source, 1)['img'].shape == (256, 256, 3)


def test_empty_photographs_end_with_a_sentence():
    class Empty:
        def __len__(self):
            return 2

        def load(self, index):
            return SimpleNamespace(image=np.zeros((90, 90, 3), np.uint8), objects=[])

    forger = Forger([dict(type='CopyMove')], 64, 0.0)
    with pytest.raises(UserError, match='could be edited so that it shows'):
        _forge(forger, Empty(), 0)


def test_windows_lie_inside_and_objects_follow(source):
    photograph = source.load(1)
    for seed in range(30):
        window = Window.draw((150, 180), (60, 60), 0.4, np.random.default_rng(seed))
        piece = window.cut(photograph.image)
        assert 60 <= piece.shape[0] <= 150 and abs(piece.shape[0] - piece.shape[1]) <= 1
        mask = WindowedObjects(photograph.objects, window)[0]
        share = photograph.objects[0][window.rows, window.columns].mean()
        assert mask.shape == (60, 60) and mask.mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(
    'settings, said',
    [
        (dict(operations=[dict(type='Nothing')]), "'Nothing' is not an operation: take Splice"),
        (dict(operations=[dict(type='RandomFlip', prob=0.5)]), "'RandomFlip' is not an operation"),
        (dict(operations=[dict(weight=1)]), 'None is not an operation'),
        (dict(camera_history=dict(type='RandomFlip')), 'cannot be built'),
        (dict(operations=[dict(type='Splice', scale=1)]), 'cannot be built'),
        (dict(operations=[]), 'operations need at least one'),
        (dict(size=8), 'size must be a side'),
        (dict(authentic_share=1.5), 'authentic_share must lie in 0..1'),
        (dict(final_history=dict(scales=1)), 'cannot be built'),
    ],
)
def test_bad_settings(settings, said):
    with pytest.raises(UserError, match=said):
        Forger(**settings)
