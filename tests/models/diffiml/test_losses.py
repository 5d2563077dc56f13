import pytest
import torch
from mmseg.registry import MODELS


def test_latent_loss_is_the_weighted_mse_of_each_half():
    pred, target = torch.randn(2, 3, 8, 5, 5)
    loss = MODELS.build(dict(type='LatentMSELoss', mask_weight=0.2, edge_weight=0.8))
    error = (pred - target) ** 2
    found = loss(pred, target)
    assert found['loss_mask_latent'] == pytest.approx(0.2 * error[:, :4].mean())
    assert found['loss_edge_latent'] == pytest.approx(0.8 * error[:, 4:].mean())
