"""Labels that heads accept: 0 (authentic), 1 (tampered) and 255 (ignored)."""

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.baselines.pscc import balanced_cross_entropy
from diffiml_plugin.models.edges import label_edges, mask_to_edge
from diffiml_plugin.structures import Localization

SIZE = (40, 48)
FORENSIC = dict(
    IMLViTHead=dict(in_channels=[4, 4], channels=4),
    MVSSHead=dict(in_channels=[8, 8, 8], channels=8),
    TruForHead=dict(in_channels=[4, 4, 4, 4], channels=4),
)


def samples(*masks: torch.Tensor) -> list[SegDataSample]:
    return [
        SegDataSample(
            metainfo=dict(img_path=f'{i}.jpg', img_shape=SIZE),
            gt_sem_seg=PixelData(data=mask.long().view(1, *SIZE)),
        )
        for i, mask in enumerate(masks)
    ]


def labels() -> torch.Tensor:
    mask = torch.zeros(2, 1, *SIZE, dtype=torch.long)
    mask[0, :, 10:24, 12:30] = 1
    mask[0, :, 8:14, 20:36] = 255
    mask[1, :, 30:] = 255
    return mask


def test_edges_are_known_where_ignored_pixels_make_no_difference():
    torch.manual_seed(0)
    mask = (torch.rand(1, 1, 9, 11) < 0.5).long()
    mask = mask.repeat_interleave(4, 2).repeat_interleave(4, 3)
    ignored = torch.rand(mask.shape) < 0.01
    found = label_edges(mask.masked_fill(ignored, 255), width=5)
    guesses = [
        mask_to_edge(torch.where(ignored, torch.rand(mask.shape) < share, mask).float(), 5)
        for share in (0, 0, *[0.5] * 60, 1)
    ]
    low, high = torch.stack(guesses).amin(0), torch.stack(guesses).amax(0)
    expected = torch.where(ignored | (low != high), 255, low.long())
    assert 0 < ignored.sum() < (expected == 255).sum() < mask.numel() / 3
    assert torch.equal(found, expected)
    assert torch.equal(label_edges(mask, 5), mask_to_edge(mask.float(), 5).long())


@pytest.mark.parametrize('name', FORENSIC)
def test_ignored_pixels_draw_no_gradient(name):
    head = MODELS.build(dict(type=name, **FORENSIC[name]))
    known = labels()
    maps = {
        key: torch.randn(2, 1, *SIZE, requires_grad=True)
        for key in ('logits', 'edge_logits', 'confidence_logits')
    }
    found = Localization(**maps, score=torch.full((2,), 0.5, requires_grad=True))
    losses = head.loss_by_localization(found, known)
    sum(losses.values()).backward()
    reached = [one.grad for one in maps.values() if one.grad is not None]
    assert reached
    for gradient in reached:
        assert not gradient[known == 255].any() and gradient[known != 255].any()


def test_ignored_pixels_draw_no_gradient_of_the_twin_and_pscc(build):
    head = build('configs/twin/twin_demo.py').decode_head
    known = labels()
    edge = torch.randn(2, 1, *SIZE, requires_grad=True)
    head.conv_edge.forward = lambda features: edge
    inputs = [torch.randn(2, c, *SIZE) for c in head.in_channels]
    head.loss(inputs, samples(*known), None)['loss_edge'].backward()
    assert not edge.grad[known == 255].any() and edge.grad[known != 255].any()
    logits = torch.randn(2, 1, *SIZE, requires_grad=True)
    target, valid = (known == 1).float(), known != 255
    loss = balanced_cross_entropy(logits, target, valid)
    loss.backward()
    assert not logits.grad[known == 255].any()
    # Selecting the valid pixels first gives the same loss.
    assert torch.allclose(loss, balanced_cross_entropy(logits[valid], target[valid]))


def test_latents_that_have_seen_ignored_pixels_do_not_count(build):
    head = build('configs/diffiml/diffiml_demo.py').decode_head.train()
    known = labels()
    edges = label_edges(known, head.codec.edge_width)
    valid = head.codec.valid(known)
    generator = torch.Generator().manual_seed(0)

    def encode(chosen: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return head.vae.encode((chosen == 1).float() * 2 - 1)

    # Valid latents do not depend on the true labels of ignored pixels.
    changed = torch.zeros_like(valid)
    for half, truth in enumerate((known, edges)):
        plain = encode(truth)
        for share in (0.5, 1):
            guess = torch.rand(truth.shape, generator=generator) < share
            other = encode(torch.where(truth == 255, guess.long(), truth))
            changed[:, half] |= (other != plain).any(1)
    assert changed.any() and not (changed & valid).any()
    assert valid.any() and (~valid).sum() <= changed.sum() * 1.3

    pred, target = torch.randn(2, 2, 8, *valid.shape[-2:])
    wrong = pred + 100 * (~valid).repeat_interleave(4, 1)
    loss = head.loss_latent
    assert loss(pred, target, valid=valid) == loss(wrong, target, valid=valid)
    everything = loss(pred, target, valid=torch.ones_like(valid))
    assert {k: float(v) for k, v in everything.items()} == pytest.approx(
        {k: float(v) for k, v in loss(pred, target).items()}
    )


def test_training_passes_the_valid_latents_on(build, monkeypatch):
    head = build('configs/diffiml/diffiml_demo.py').decode_head
    seen = []
    forward = type(head.loss_latent).forward
    monkeypatch.setattr(
        type(head.loss_latent),
        'forward',
        lambda self, *args, **kwargs: (seen.append(kwargs), forward(self, *args, **kwargs))[1],
    )
    inputs = [
        torch.randn(2, c, -(-SIZE[0] // s), -(-SIZE[1] // s))
        for c, s in zip(head.in_channels, (4, 8, 16, 32), strict=True)
    ]
    head.loss(inputs, samples(*labels()), None)
    head.loss(inputs, samples(*labels().clamp(max=1)), None)
    assert seen[0]['valid'].shape == (2, 2, 5, 6) and seen[1] == {}


@pytest.mark.parametrize('kind', ['l1', 'bce'])
def test_stage_1_does_not_judge_ignored_pixels(kind):
    model = MODELS.build(
        dict(
            type='MaskAutoencoder',
            vae=dict(type='MaskVAE', weights='shipped'),
            loss_recon=kind,
            data_preprocessor=dict(type='BaseDataPreprocessor'),
        )
    )
    known = labels()
    logits = torch.randn(4, 1, *SIZE, requires_grad=True)
    model.vae.decoder.forward = lambda latents: logits
    model(torch.zeros(2, 1, *SIZE), samples(*known), mode='loss')['loss_recon'].backward()
    both = torch.cat([known, label_edges(known)])
    assert not logits.grad[both == 255].any() and logits.grad[both != 255].any()


HEADS = dict(
    DiffusionHead='configs/diffiml/diffiml_demo.py',
    EdgeFCNHead='configs/twin/twin_demo.py',
    MVSSHead='configs/mvss_net/mvssnet_demo.py',
)


@pytest.mark.parametrize('name', HEADS)
def test_other_labels_and_classes_are_refused(name, build):
    cfg = Config.fromfile(HEADS[name])
    for key, value in dict(num_classes=150, out_channels=2).items():
        with pytest.raises(UserError, match=f'{name} {key} must be [12], got {value}'):
            MODELS.build(cfg.model.decode_head | {key: value})
    head = build(HEADS[name]).decode_head
    objects = labels()[0].clamp(max=1) * 7
    with pytest.raises(UserError, match="mask of '1.jpg' holds 7, but .*type='LoadTamperingMask'"):
        head._stack_batch_gt(samples(labels()[0], objects))
    # With 0 and 255 nothing would be learned: all tampered pixels are ignored.
    gray = labels()[0].clamp(max=1) * 255
    with pytest.raises(UserError, match="'0.jpg' holds 0 and 255 .*and no 1.*LoadTamperingMask"):
        head._stack_batch_gt(samples(gray, labels()[1]))
    # Padding and crops of valid masks may have a single label.
    head._stack_batch_gt(samples(labels()[1]))
    head._stack_batch_gt(samples(labels()[0]))
    head._stack_batch_gt(samples(gray))
