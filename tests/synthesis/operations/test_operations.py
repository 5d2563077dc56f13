"""What every operation must hold."""

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from scipy.ndimage import distance_transform_edt

import diffiml_plugin.synthesis.operations  # noqa: F401
from diffiml_plugin.errors import UserError
from diffiml_plugin.synthesis.operations.local_retouch import KINDS
from diffiml_plugin.synthesis.operations.removal import METHODS

CONFIGS = [
    dict(type='Splice'),
    dict(type='CopyMove'),
    *(dict(type='Removal', methods={method: 1}) for method in METHODS),
    *(dict(type='LocalRetouch', kinds={kind: 1}) for kind in KINDS),
    dict(type='PastedText'),
    dict(type='PastedGraphics'),
]


def _results(source, seed):
    host, donor = source.photographs[0], source.photographs[1]
    return dict(
        img=host.image.copy(),
        objects=host.objects,
        rng=np.random.default_rng(seed),
        draw_donor=lambda: (donor.image, donor.objects),
    )


@pytest.mark.parametrize('config', CONFIGS, ids=str)
def test_the_mask_is_what_changed(config, source):
    operation = TRANSFORMS.build(dict(config))
    done = 0
    for seed in range(25):
        host = source.photographs[0].image
        results = operation.transform(_results(source, seed))
        if results is None:
            continue
        done += 1
        change = np.abs(results['img'].astype(int) - host).max(2)
        mask = results['gt_seg_map']
        assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
        assert 0.0015 <= mask.mean() <= 0.7
        # Specks are dropped and holes closed, no more.
        is_changed = change >= 6
        assert mask[is_changed].mean() > 0.9
        assert (distance_transform_edt(~is_changed)[mask > 0] <= 6).all()
        assert change[mask > 0].mean() >= 5
        assert results['operation'] == operation.name
    assert done >= 5


@pytest.mark.parametrize('config', CONFIGS, ids=str)
def test_equal_state_equal_bytes_and_the_host_stays(config, source):
    operation = TRANSFORMS.build(dict(config))
    results = [_results(source, 4) for _ in range(2)]
    hosts = [result['img'] for result in results]
    results = [operation.transform(result) for result in results]
    assert (hosts[0] == source.photographs[0].image).all()
    if results[0] is not None:
        assert (results[0]['img'] == results[1]['img']).all()
        assert (results[0]['gt_seg_map'] == results[1]['gt_seg_map']).all()


@pytest.mark.parametrize('kind', ['CopyMove', 'Removal', 'LocalRetouch'])
def test_edits_that_do_not_show_are_refused(kind, source):
    operation = TRANSFORMS.build(dict(type=kind))
    if kind == 'LocalRetouch':
        operation = TRANSFORMS.build(dict(type=kind, kinds={'blur': 1}))
    results = _results(source, 0)
    results.update(img=np.full((100, 100, 3), 90, np.uint8), objects=[])
    assert operation.transform(results) is None


def test_a_copy_is_found_elsewhere_in_the_image(source):
    config = dict(hard=1)
    operation = TRANSFORMS.build(
        dict(type='CopyMove', unchanged_share=1, compositing=dict(edges=config, match_share=0))
    )
    results = operation.transform(_results(source, 2))
    disc = source.photographs[0].objects[0] > 0
    wanted = np.sort(source.photographs[0].image[disc].sum(1))
    pasted = np.sort(results['img'][results['gt_seg_map'] > 0].sum(1))
    assert abs(np.median(wanted) - np.median(pasted)) < 20


@pytest.mark.parametrize(
    'config, said',
    [
        (dict(type='Splice', scales=(2, 1)), 'Splice: scales must be two numbers'),
        (dict(type='Splice', areas=(0, 0.4)), 'Splice: areas must be two numbers in 0.0005..0.9'),
        (dict(type='CopyMove', unchanged_share=-1), 'unchanged_share must lie in 0..1'),
        (dict(type='Removal', methods={'magic': 1}), 'unknown methods magic'),
        (dict(type='LocalRetouch', kinds={}), 'weights of kinds'),
        (dict(type='PastedText', opacity=(0, 1)), 'PastedText: opacity'),
    ],
)
def test_bad_settings(config, said):
    with pytest.raises(UserError, match=said):
        TRANSFORMS.build(config)
