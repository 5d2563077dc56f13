import pytest
import torch
from mmseg.registry import DATASETS, MODELS

from diffiml_plugin.evaluation.functional import pixel_figures
from diffiml_plugin.models.edges import mask_to_edge


@pytest.mark.parametrize('size, mask_f1, edge_f1', [(512, 0.99, 0.95), (128, 0.97, 0.90)])
@torch.inference_mode()
def test_shipped_weights_reconstruct_held_out_masks(size, mask_f1, edge_f1):
    vae = MODELS.build(dict(type='MaskVAE', weights='shipped')).eval()
    data = DATASETS.build(dict(type='ProceduralMaskDataset', size=size, length=24, seed=77))
    masks = torch.stack([sample['inputs'] for sample in map(data.__getitem__, range(24))])
    for maps, least in ((masks, mask_f1), (mask_to_edge(masks), edge_f1)):
        probs = vae(maps * 2 - 1)[0].sigmoid()
        scores = [
            pixel_figures(p[0], m[0])['f1'] for p, m in zip(probs, maps, strict=True) if m.any()
        ]
        assert sum(scores) / len(scores) >= least


@torch.inference_mode()
def test_shipped_latents_have_about_unit_variance():
    vae = MODELS.build(dict(type='MaskVAE', weights='shipped')).eval()
    data = DATASETS.build(dict(type='ProceduralMaskDataset', size=128, length=32, seed=78))
    masks = torch.stack([data[i]['inputs'] for i in range(32)])
    maps = torch.cat([masks, mask_to_edge(masks)]) * 2 - 1
    std = vae.encode(maps).std(dim=(0, 2, 3))
    assert torch.allclose(std, torch.ones(4), atol=0.4)


def brute_force_edge(mask: torch.Tensor, width: int) -> torch.Tensor:
    height, columns = mask.shape
    half = width // 2
    edge = torch.zeros_like(mask)
    for y in range(height):
        for x in range(columns):
            arms = [(y + d, x) for d in range(-half, half + 1)]
            arms += [(y, x + d) for d in range(-half, half + 1)]
            seen = {float(mask[a, b]) for a, b in arms if 0 <= a < height and 0 <= b < columns}
            edge[y, x] = float(seen == {0.0, 1.0})
    return edge


@pytest.mark.parametrize('width', [1, 3, 7])
def test_edges_against_brute_force(width):
    mask = (torch.rand(3, 1, 19, 23) > 0.9).float()
    mask[1, 0, 5:15, 4:20] = 1
    for found, one in zip(mask_to_edge(mask, width), mask, strict=True):
        assert torch.equal(found[0], brute_force_edge(one[0], width))


def test_even_edge_width_is_refused():
    with pytest.raises(ValueError, match='odd'):
        mask_to_edge(torch.zeros(1, 1, 8, 8), 4)
