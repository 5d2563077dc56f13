import torch

from diffiml_plugin.models.diffiml.mixtures import mix_masks


def test_mixtures_hold_the_mask_and_plausible_others():
    torch.manual_seed(0)
    masks = torch.zeros(64, 1, 32, 32)
    for i in range(64):
        masks[i, :, 4 : 8 + i % 20, 6 : 12 + i % 7] = 1
    parts, weights = mix_masks(masks, 3)
    assert parts.shape == (3, 64, 1, 32, 32) and weights.shape == (3, 64, 1, 1, 1)
    assert torch.equal(parts[0], masks)
    assert (weights >= 0).all() and torch.allclose(weights.sum(0), torch.ones(64, 1, 1, 1))
    alone = (weights[0] == 1).float().mean()
    assert 0.1 < alone < 0.45
    areas = masks.sum((1, 2, 3))
    empty = (parts[1].sum((1, 2, 3)) == 0).float().mean()
    same = (parts[1].sum((1, 2, 3)) == areas).float().mean()
    assert 0.1 < empty < 0.45 and same > 0.3


def test_one_mask_is_not_mixed():
    masks = torch.ones(2, 1, 8, 8)
    parts, weights = mix_masks(masks, 1)
    assert torch.equal(parts[0], masks) and (weights == 1).all()
