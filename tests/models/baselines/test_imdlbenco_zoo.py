"""Each model of IMDL-BenCo: one training step and a prediction; run by `make test-imdlbenco`."""

import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.baselines.imdlbenco_zoo import ZOO

needs_package = [
    pytest.mark.imdlbenco,
    pytest.mark.skipif(
        importlib.util.find_spec('IMDLBenCo') is None, reason='imdlbenco is not installed'
    ),
]
USABLE = [name for name, wants in ZOO.items() if not wants.refusal]
# Sizes of models that take any; a side of 1024 would need 9 GB.
SMALL = 128
ARGUMENTS = {'IML_ViT': dict(input_size=256)}


def samples(size: int) -> list[SegDataSample]:
    found = []
    for tampered in (True, False):
        mask = torch.zeros(1, size, size, dtype=torch.long)
        mask[:, 20:60, 30:80] = int(tampered)
        meta = dict(ori_shape=(size, size), img_shape=(size, size), pad_shape=(size, size))
        found.append(SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=mask)))
    return found


def settings_of(name: str) -> dict:
    if name != 'Trufor':
        return ARGUMENTS.get(name, {})
    package = Path(importlib.util.find_spec('IMDLBenCo').origin).parent
    return dict(config_path=str(package / 'statics/model_zoo/configs/trufor.yaml'))


class TestZoo:
    pytestmark = needs_package

    def test_every_registered_model_is_described(self):
        from diffiml_plugin.models.baselines.imdlbenco_zoo import import_imdlbenco

        registered = set(import_imdlbenco().module_dict) - {'DiffIML'}
        assert registered == ZOO.keys()

    @pytest.mark.parametrize('name', USABLE)
    def test_model_trains_one_step_and_predicts(self, name):
        settings = settings_of(name)
        cfg = dict(type='IMDLBenCoModel', name=name, random_weights=True, **settings)
        model = MODELS.build(cfg)
        size = model.size or SMALL
        images = torch.randn(2, 3, size, size)
        trainable = [weight for weight in model.parameters() if weight.requires_grad]
        before = [weight.detach().clone() for weight in trainable]
        optimizer = torch.optim.SGD(trainable, lr=1e-2)
        loss, _ = model.train().parse_losses(model(images, samples(size), mode='loss'))
        loss.backward()
        optimizer.step()
        assert loss.isfinite() and loss > 0
        changed = sum(not torch.equal(old, new) for old, new in zip(before, trainable, strict=True))
        # Residual branches that start at zero, as those of timm's ResNet, pass on no gradient yet.
        assert changed > len(trainable) / (5 if 'resnet' in name else 2)
        with torch.inference_mode():
            predicted = model.eval()(images, samples(size), mode='predict')
        for sample in predicted:
            prob = sample.seg_logits.data
            assert prob.shape == (1, size, size) and 0 <= prob.min() <= prob.max() <= 1
            assert 0 <= sample.pred_score <= 1

    @pytest.mark.parametrize(
        'name, said',
        [
            (
                'SPAN',
                'reads the features of ManTra-Net, IMTFEv4.pt: give the path of this file as ',
            ),
            ('MSCDI_Net', 'reads ImageNet weights of SegFormer, mit_b4.pth'),
            ('segformer', r'mit_b2.pth.* as pretrain_pth_path .*or set random_weights=True'),
            ('Trufor', 'reads trufor.yaml, which `benco init model_zoo` copies'),
            ('Cat_Net', 'cannot be used here: it needs a GPU'),
            ('unet', 'cannot be used here: it downloads and runs a program'),
            ('Mesorhc', "is not registered in IMDL-BenCo: did you mean 'Mesorch'?"),
        ],
    )
    def test_missing_files_are_named(self, name, said):
        with pytest.raises(UserError, match=said):
            MODELS.build(dict(type='IMDLBenCoModel', name=name))

    def test_a_failed_download_is_explained(self, monkeypatch):
        def fail(*_, **__):
            raise OSError('no network')

        monkeypatch.setattr(torch.utils.model_zoo, 'load_url', fail)
        with pytest.raises(UserError, match=r'resnet50-19c8e357.pth.*\(no network\): copy them'):
            MODELS.build(dict(type='IMDLBenCoModel', name='MVSSNet'))

    def test_other_sizes_are_refused(self):
        model = MODELS.build(dict(type='IMDLBenCoModel', name='ObjectFormer'))
        with pytest.raises(
            UserError, match='ObjectFormer needs images of 224 x 224 pixels, got 64'
        ):
            model(torch.randn(2, 3, 64, 64), samples(64), mode='loss')

    def test_torch_loads_weights_again_afterwards(self, tmp_path):
        torch.save(dict(a=1), tmp_path / 'saved.pth')
        MODELS.build(dict(type='IMDLBenCoModel', name='PSCC_Net', random_weights=True))
        assert torch.load(tmp_path / 'saved.pth') == dict(a=1)
        layer = torch.nn.Linear(1, 1)
        layer.load_state_dict(dict(weight=torch.ones(1, 1), bias=torch.ones(1)))
        assert layer.weight.item() == 1
