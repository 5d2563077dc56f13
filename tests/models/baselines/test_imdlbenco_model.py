"""Models of IMDL-BenCo, with a stand-in that has its calling convention."""

import sys
import types

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.edges import mask_to_edge


class StandIn(torch.nn.Module):
    def __init__(self, labels: bool = True, logits: bool = False, missing: bool = False) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 1, 1)
        self.labels, self.logits, self.missing = labels, logits, missing

    def forward(self, image, mask, edge_mask, label, shape):
        self.seen = dict(mask=mask, edge_mask=edge_mask, label=label, shape=shape)
        found = self.conv(image)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(found, mask)
        result = dict(
            backward_loss=loss,
            pred_mask=found if self.logits else found.sigmoid(),
            pred_label=found.flatten(1).mean(1).sigmoid() if self.labels else None,
            visual_loss=dict(predict_loss=loss, combined_loss=2 * loss),
        )
        if self.missing:
            del result['pred_mask']
        return result


@pytest.fixture
def _package(monkeypatch):
    class Registry:
        module_dict = dict(StandIn=StandIn)

        def has(self, name):
            return name in self.module_dict

        def get(self, name):
            return self.module_dict[name]

    registry = types.ModuleType('IMDLBenCo.registry')
    registry.MODELS = Registry()
    for name in ('IMDLBenCo', 'IMDLBenCo.model_zoo'):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, 'IMDLBenCo.registry', registry)


def samples() -> list[SegDataSample]:
    found = []
    for i in range(2):
        mask = torch.zeros(1, 24, 32, dtype=torch.long)
        mask[:, 4 : 4 + 8 * i, 6:20] = 1
        mask[:, -2:] = 255
        meta = dict(ori_shape=(48, 64), img_shape=(24, 32), pad_shape=(24, 32))
        found.append(SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=mask)))
    return found


@pytest.mark.usefixtures('_package')
def test_training_passes_the_inputs_that_the_model_needs():
    model = MODELS.build(dict(type='IMDLBenCoModel', name='StandIn'))
    images = torch.randn(2, 3, 24, 32)
    loss, logged = model.parse_losses(model(images, samples(), mode='loss'))
    seen = model.model.seen
    assert seen['label'].tolist() == [0, 1] and seen['shape'].tolist() == [[24, 32]] * 2
    assert seen['mask'].unique().tolist() == [0.0, 1.0] and seen['mask'][1].sum() == 8 * 14
    assert torch.equal(seen['edge_mask'], mask_to_edge(seen['mask'], 7))
    # Parts of the loss are logged, not added.
    assert torch.equal(loss, logged['loss'])
    assert logged['shown/combined_value'] == pytest.approx(2 * float(loss))
    loss.backward()
    assert model.model.conv.weight.grad.abs().sum() > 0


@pytest.mark.usefixtures('_package')
@pytest.mark.parametrize('labels', [True, False])
@pytest.mark.parametrize('logits', [True, False])
@torch.inference_mode()
def test_prediction(labels, logits):
    kind = 'logits' if logits else 'probability'
    cfg = dict(type='IMDLBenCoModel', name='StandIn', labels=labels, logits=logits, pred_mask=kind)
    model = MODELS.build(cfg).eval()
    images = torch.randn(2, 3, 24, 32)
    found = model(images, samples(), mode='predict')
    raw = model.model.conv(images)
    large = torch.nn.functional.interpolate(raw, (48, 64), mode='bilinear').sigmoid()
    scores = raw.flatten(1).mean(1) if labels else raw.flatten(1).amax(1)
    for sample, prob, score in zip(found, large, scores.sigmoid(), strict=True):
        assert torch.allclose(sample.seg_logits.data, prob, atol=1e-4)
        assert torch.equal(sample.pred_sem_seg.data, (sample.seg_logits.data > 0.5).float())
        assert sample.pred_score == pytest.approx(float(score), abs=1e-4)
    assert model.model.seen['mask'].sum() == 0


@pytest.mark.usefixtures('_package')
def test_models_that_do_not_fit_are_reported_in_one_sentence():
    def build(**settings):
        return MODELS.build(dict(type='IMDLBenCoModel', name='StandIn') | settings)

    with pytest.raises(UserError, match="'Nobody' is not registered in IMDL-BenCo: it has StandIn"):
        build(name='Nobody')
    with pytest.raises(UserError, match="'probability' or 'logits'"):
        build(pred_mask='mask')
    with pytest.raises(UserError, match='returns no pred_mask'):
        build(missing=True)(torch.randn(2, 3, 24, 32), samples(), mode='loss')
    with pytest.raises(UserError, match="set pred_mask='logits'"):
        build(logits=True)(100 * torch.randn(2, 3, 24, 32), samples(), mode='predict')


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'IMDLBenCo', None)
    with pytest.raises(UserError, match='imdlbenco cannot be imported'):
        MODELS.build(dict(type='IMDLBenCoModel', name='Mesorch'))
