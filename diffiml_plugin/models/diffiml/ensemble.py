"""Merging of an ensemble's members."""

import torch
from torch import Tensor

from ..calibration import UNCALIBRATED, Calibration
from .mask_codec import MaskCodec

SPACES = ('latent', 'logit')


def merge_members(
    members: Tensor,
    codec: MaskCodec,
    size: tuple[int, int],
    space: str = 'latent',
    calibration: Calibration = UNCALIBRATED,
) -> tuple[Tensor, Tensor, Tensor]:
    """Merge the members of each image.

    Args:
        members (Tensor): (N, B, C, h, w) solved latents.
        codec (MaskCodec): Codec that decodes them.
        size (tuple[int, int]): (H, W) of the decoded maps.
        space (str): Space in which members are averaged, one of ``SPACES``. Defaults to
            'latent', as published.
        calibration (Calibration): Calibration of the mask logits, of members as of their mean.
            Defaults to none.

    Returns:
        tuple[Tensor, Tensor, Tensor]: (B, 1, H, W) mask logits, edge logits and standard
        deviation of the members' probability, 0 for one member.
    """
    count = len(members)
    if count == 1:
        mask, edge = codec.decode(members[0], size)
        return calibration(mask), edge, torch.zeros_like(mask)
    if space == 'latent':
        masks = codec.decode_mask(members.flatten(0, 1), size)
        mask, edge = codec.decode(members.mean(0), size)
    else:
        masks, edges = codec.decode(members.flatten(0, 1), size)
        mask, edge = (maps.unflatten(0, (count, -1)).mean(0) for maps in (masks, edges))
    probs = calibration(masks).sigmoid().unflatten(0, (count, -1))
    return calibration(mask), edge, probs.std(0, correction=0)
