import hashlib

import pytest
import torch
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.sampler import SolverSettings

DEMO = 'configs/diffiml/diffiml_demo.py'


def samples(names: list[str], size: int = 64) -> list[SegDataSample]:
    meta = dict(ori_shape=(size, size), img_shape=(size, size))
    return [SegDataSample(metainfo=meta | dict(img_path=f'/any/{name}')) for name in names]


@pytest.fixture
def model(build):
    return build(DEMO).eval()


def test_prediction_does_not_depend_on_the_batch(model):
    images = torch.randn(3, 3, 64, 64)
    together = model.predict(images, samples(['a.png', 'b.png', 'c.png']))
    turned = model.predict(images.flip(0), samples(['c.png', 'b.png', 'a.png']))
    alone = model.predict(images[1:2], samples(['b.png']))[0]
    for one, other in zip(together, turned[::-1], strict=True):
        assert torch.allclose(one.seg_logits.data, other.seg_logits.data, atol=1e-5)
    assert torch.allclose(together[1].seg_logits.data, alone.seg_logits.data, atol=1e-5)


@torch.inference_mode()
def test_noise_depends_on_the_pixels_only(model, monkeypatch):
    """Independent of name, batch, padding and step; different for another image."""
    first, second = torch.randint(0, 256, (2, 3, 56, 64), dtype=torch.uint8)
    digests = [
        hashlib.sha256(b'torch.uint8 (3, 56, 64)' + image.numpy().tobytes()).hexdigest()
        for image in (first, second)
    ]
    identities, sample = [], model.decode_head.solver.sample

    def recorded(denoise, condition, channels, names):
        identities.append(names)
        return sample(denoise, condition, channels, names)

    monkeypatch.setattr(model.decode_head.solver, 'sample', recorded)
    meta = dict(ori_shape=(56, 64), img_shape=(56, 64))
    named = [SegDataSample(metainfo=meta | dict(img_path=name)) for name in ('a.png', 'b.png')]
    model.test_step(dict(inputs=[first, second], data_samples=named))
    model.val_step(dict(inputs=[second, first], data_samples=named))
    model.test_step(dict(inputs=first[None]))
    model.data_preprocessor.test_cfg = dict(size_divisor=64)
    model.test_step(dict(inputs=[second]))
    # The mirror image, as in test-time augmentation, counts as another image.
    model.test_step(dict(inputs=[first.flip(-1)]))
    assert identities[:4] == [digests, digests[::-1], digests[:1], digests[1:]]
    assert identities[4][0] not in digests


@torch.inference_mode()
def test_fields_of_a_predicted_sample(model):
    meta = dict(ori_shape=(50, 70), img_shape=(64, 64))
    with model.decode_head.with_settings(SolverSettings(ensemble_size=2)):
        sample = model.predict(torch.randn(1, 3, 64, 64), [SegDataSample(metainfo=meta)])[0]
    for name in ('seg_logits', 'pred_sem_seg', 'pred_edge', 'uncertainty'):
        data = sample.get(name).data
        assert data.shape == (1, 50, 70) and data.min() >= 0 and data.max() <= 1
    assert sample.pred_score == pytest.approx(float(sample.seg_logits.data.max()))
    assert sample.uncertainty.data.max() > 0


def test_another_head_is_refused(build):
    with pytest.raises(UserError, match='DiffusionHead'):
        build('configs/twin/twin_demo.py', **{'model.type': 'DiffIML'})
