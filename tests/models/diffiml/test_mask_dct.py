import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS, MODELS
from scipy.fft import dctn

from diffiml_plugin.errors import UserError
from diffiml_plugin.evaluation.functional import confusion, f1
from diffiml_plugin.models.diffiml.mask_dct import MaskDCT
from diffiml_plugin.models.edges import mask_to_edge


def drawn_masks(size: int, count: int = 24) -> torch.Tensor:
    data = DATASETS.build(dict(type='ProceduralMaskDataset', size=size, length=count, seed=77))
    return torch.stack([data[i]['inputs'] for i in range(count)])


def test_coefficients_are_those_of_scipy():
    dct = MaskDCT(latent_channels=64)
    maps = drawn_masks(32, 2) * 2 - 1
    latents = dct.encode(maps) * dct.latent_std + dct.latent_mean
    block = maps[1, 0, 8:16, 16:24].double().numpy()
    expected = dctn(block, norm='ortho')
    assert np.allclose(np.sort(latents[1, :, 1, 2].numpy()), np.sort(expected.ravel()), atol=1e-5)
    assert latents[1, 0, 1, 2] == pytest.approx(expected[0, 0], abs=1e-5)
    assert {round(float(v), 4) for v in latents[1, 1:3, 1, 2]} == {
        round(float(expected[i, j]), 4) for i, j in ((0, 1), (1, 0))
    }


@pytest.mark.parametrize('size, mask_f1, edge_f1', [(256, 0.995, 0.985), (100, 0.985, 0.97)])
@torch.inference_mode()
def test_held_out_masks_come_back(size, mask_f1, edge_f1):
    dct = MODELS.build(dict(type='MaskDCT'))
    masks = drawn_masks(size)
    for maps, least in ((masks, mask_f1), (mask_to_edge(masks), edge_f1)):
        probs = dct(maps * 2 - 1)[0].sigmoid()
        scores = [
            f1(confusion(p.numpy() > 0.5, m.numpy() > 0))
            for p, m in zip(probs, maps, strict=True)
            if m.any()
        ]
        assert sum(scores) / len(scores) >= least


@torch.inference_mode()
def test_mixtures_of_latents_are_mixtures_of_masks():
    dct = MaskDCT()
    first, other = drawn_masks(128).chunk(2)
    for weight in (0.1, 0.35, 0.8):
        mixed = weight * dct.encode(first * 2 - 1) + (1 - weight) * dct.encode(other * 2 - 1)
        error = (dct.decode(mixed).sigmoid() - weight * first - (1 - weight) * other).abs()
        assert error[first != other].mean() < 0.05


@torch.inference_mode()
def test_order_is_kept_where_maps_leave_the_range_of_probabilities():
    dct = MaskDCT(latent_channels=1)
    levels = torch.linspace(-3, 3, 61).view(-1, 1, 1, 1)
    logits = dct.decode((8 * levels - dct.latent_mean) / dct.latent_std)[:, 0, 0, 0]
    assert (logits.diff() > 0).all() and torch.allclose(logits, -logits.flip(0), atol=1e-3)
    inside = levels.flatten().abs() < 0.9
    assert torch.allclose(logits[inside].sigmoid(), (levels.flatten()[inside] + 1) / 2, atol=1e-5)


def test_nothing_is_stored_or_trained():
    dct = MaskDCT()
    assert not dct.state_dict() and not list(dct.parameters())


@pytest.mark.parametrize('channels', [0, 65])
def test_impossible_channels_are_refused(channels):
    with pytest.raises(UserError, match=r'must lie in 1\.\.64'):
        MaskDCT(channels)
