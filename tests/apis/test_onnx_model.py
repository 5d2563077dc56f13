"""The function that is exported, against the segmentor; tests/onnx covers the exported file."""

import pytest
import torch
from mmengine.config import Config

from diffiml_plugin.apis.onnx_export import OnnxModel, export_onnx
from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.sampler import SolverSettings, identity_noise, pixel_hash

DEMO = 'configs/diffiml/diffiml_demo.py'


@torch.inference_mode()
@pytest.mark.parametrize('settings', [{}, dict(num_inference_steps=2, ensemble_size=3)])
@pytest.mark.parametrize(
    'changes', [dict(ensemble_space='logit'), dict(calibration=dict(bias=0.5, peak=0.7))]
)
def test_it_computes_what_the_segmentor_predicts(build, settings, changes):
    changes = {f'model.decode_head.{key}': value for key, value in changes.items()}
    model = build(DEMO, **changes).eval()
    head = model.decode_head
    bgr = torch.randint(0, 256, (3, 45, 70), dtype=torch.uint8)
    with head.with_settings(SolverSettings(**settings)):
        (sample,) = model.test_step(dict(inputs=[bgr]))
        network = OnnxModel(model)
        image = bgr.flip(0)[None]
        shape = (head.codec.channels, *network.condition(network.prepare(image)).shape[-2:])
        members = range(head.solver.settings.ensemble_size)
        noise = [identity_noise([pixel_hash(bgr)], shape, 0, member) for member in members]
        mask, edge, uncertainty, score, *_ = network(image, torch.cat(noise))
    assert torch.allclose(mask[0], sample.seg_logits.data, atol=1e-5)
    assert torch.allclose(edge[0], sample.pred_edge.data, atol=1e-5)
    assert torch.allclose(uncertainty[0], sample.uncertainty.data, atol=1e-5)
    assert float(score) == pytest.approx(sample.pred_score, abs=1e-5)


def test_other_models_are_refused(build):
    with pytest.raises(UserError, match='it is not a DiffIML'):
        export_onnx(build('configs/twin/twin_demo.py'), Config(), 'none.pth')
    model = build(DEMO)
    model.test_cfg = dict(mode='slide')
    with pytest.raises(UserError, match='sliding windows'):
        OnnxModel(model)
    model.test_cfg, model.data_preprocessor.test_cfg = dict(mode='whole'), dict(size=(64, 64))
    with pytest.raises(UserError, match='fixed size'):
        OnnxModel(model)
