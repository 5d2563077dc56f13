import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError


@pytest.mark.parametrize('merge, expected', [('max', 0.9), ('mean', 0.6)])
def test_probabilities_are_merged(build, merge, expected):
    tta = MODELS.build(
        dict(type='IMLTTAModel', merge=merge, module=build('configs/diffiml_demo.py'))
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
        MODELS.build(dict(type='IMLTTAModel', merge='sum', module=build('configs/diffiml_demo.py')))
