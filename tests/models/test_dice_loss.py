import pytest
import torch
from mmseg.registry import MODELS


def test_dice_by_hand():
    label = torch.tensor([[[1, 1], [0, 255]]])
    logits = torch.tensor([[[[0.0, 100.0], [-100.0, 100.0]]]])
    loss = MODELS.build(dict(type='BinaryDiceLoss', loss_weight=2.0, eps=1.0))
    # Probabilities .5 and 1 on two tampered pixels; the ignored pixel does not count.
    assert loss(logits, label) == pytest.approx(2 * (1 - (2 * 1.5 + 1) / (1.5 + 2 + 1)))
