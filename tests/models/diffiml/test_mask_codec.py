import torch
from mmseg.registry import MODELS

from diffiml_plugin.models.diffiml.mask_codec import MaskCodec
from diffiml_plugin.models.edges import mask_to_edge

DEMO = 'configs/diffiml/diffiml_demo.py'


@torch.inference_mode()
def test_without_edge_supervision_the_edge_is_the_mask_s(build):
    changes = {'edge_supervision': False, 'denoiser.in_channels': 16}
    head = build(
        DEMO,
        **{f'model.decode_head.{k}': v for k, v in changes.items()},
    ).decode_head.eval()
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 8:24] = 1
    logits, edge = head.codec.decode(head.codec.encode(mask), (32, 32))
    assert torch.equal(edge > 0, mask_to_edge((logits > 0).float()) > 0)


@torch.inference_mode()
def test_masks_and_edges_come_back():
    codec = MaskCodec(MODELS.build(dict(type='MaskVAE', weights='shipped')).eval())
    masks = torch.zeros(2, 1, 60, 44)
    masks[0, :, 8:40, 8:24] = 1
    masks[1, :, 30:50, 4:40] = 1
    latents = codec.encode(masks)
    assert latents.shape == (2, codec.channels, 8, 6)
    # The mask's channels come first.
    assert torch.equal(latents[:, :4], codec.vae.encode(masks * 2 - 1))
    mask, edge = codec.decode(latents, (60, 44))
    assert ((mask > 0) == masks.bool()).float().mean() > 0.99
    assert ((edge > 0) == mask_to_edge(masks).bool()).float().mean() > 0.93
    assert torch.allclose(codec.decode_mask(latents, (60, 44)), mask, atol=1e-5)


def test_only_the_padding_by_strides_is_cropped():
    codec = MaskCodec(MODELS.build(dict(type='MaskVAE')))
    latents = torch.zeros(1, 8, 8, 6)
    assert codec.cropped_size(latents, (60, 48)) == (60, 48)
    assert codec.cropped_size(latents, (50, 100)) == (64, 48)
