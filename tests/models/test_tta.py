import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError


@pytest.mark.parametrize('merge, expected', [('max', 0.9), ('mean', 0.6)])
def test_probabilities_are_merged(build, merge, expected):
    tta = MODELS.build(
        dict(type='IMLTTAModel', merge=merge, module=build('configs/diffiml/diffiml_demo.py'))
    )
    versions = []
    for prob in (0.3, 0.9):
        sample = SegDataSample(seg_logits=PixelData(data=torch.full((1, 4, 4), prob)))
        sample.set_field(prob, 'pred_score')
        versions.append(sample)
    merged = tta.merge_preds([versions])[0]
    assert torch.allclose(merged.seg_logits.data, torch.tensor(expected))
    assert merged.pred_score == pytest.approx(expected)
    assert bool(merged.pred_sem_seg.data.all())


def test_unknown_merge_is_named(build):
    with pytest.raises(UserError, match="'max' or 'mean'"):
        MODELS.build(
            dict(type='IMLTTAModel', merge='sum', module=build('configs/diffiml/diffiml_demo.py'))
        )


@torch.inference_mode()
def test_scales_and_flips_through_mmseg_s_own_pipeline(build, demo_data):
    """Six versions of an image, resized to its size and merged."""
    scales = [dict(type='Resize', scale_factor=factor) for factor in (0.75, 1.0, 1.25)]
    flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
    steps = [scales, flips, [dict(type='LoadTamperingMask')], [dict(type='PackSegInputs')]]
    pipeline = [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=steps)]
    data = DATASETS.build(
        dict(type='IMLDataset', data_root=str(demo_data / 'test_seen'), pipeline=pipeline)
    )
    model = build('configs/diffiml/diffiml_demo.py').eval()
    batch = pseudo_collate([data[3]])
    assert len(batch['inputs']) == 6
    merged = MODELS.build(dict(type='IMLTTAModel', module=model)).test_step(batch)[0]
    each = [
        model.test_step(dict(inputs=inputs, data_samples=samples))[0].seg_logits.data
        for inputs, samples in zip(batch['inputs'], batch['data_samples'], strict=True)
    ]
    assert len({tuple(inputs[0].shape) for inputs in batch['inputs']}) == 3
    assert merged.seg_logits.data.shape == merged.gt_sem_seg.data.shape
    assert torch.allclose(merged.seg_logits.data, torch.stack(each).amax(0), atol=1e-4)


@torch.inference_mode()
def test_versions_of_one_size_are_predicted_in_one_batch(build):
    model = build('configs/diffiml/diffiml_demo.py').eval()
    images = torch.randint(0, 256, (2, 3, 40, 56), dtype=torch.uint8)
    calls = []
    model.backbone.register_forward_hook(lambda module, inputs, out: calls.append(len(inputs[0])))

    def predict(**settings):
        calls.clear()
        versions = []
        for flip in (False, True):
            meta = dict(ori_shape=(40, 56), img_shape=(40, 56), flip=flip)
            meta |= dict(flip_direction='horizontal' if flip else None)
            versions.append([SegDataSample(metainfo=meta | dict(img_path=n)) for n in 'ab'])
        inputs = [list(images), list(images.flip(-1))]
        tta = MODELS.build(dict(type='IMLTTAModel', module=model, **settings))
        found = tta.test_step(dict(inputs=inputs, data_samples=versions))
        return torch.stack([sample.seg_logits.data for sample in found]), list(calls)

    together, one_call = predict()
    apart, two_calls = predict(batch_versions=False)
    assert (one_call, two_calls) == ([4], [2, 2])
    assert torch.allclose(together, apart, atol=1e-5)
    assert together.amax() - together.amin() > 1e-3
