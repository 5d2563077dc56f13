"""The output of localizing heads."""

from typing import NamedTuple

from torch import Tensor


class Localization(NamedTuple):
    """Output of a localizing head for a batch of B images; a head names its maps in ``maps``.

    A data sample later holds the first map as ``seg_logits``. The name is mmseg's, but the value
    is the *probability* of tampering, (1, H, W) in 0..1, as mmseg stores it for every head with one
    channel.

    Attributes:
        logits (Tensor): (B, 1, h, w) logits of tampering.
        edge_logits (Tensor, optional): (B, 1, h, w) logits of the region's boundary.
        uncertainty (Tensor, optional): (B, 1, h, w) standard deviation of an ensemble's
            probabilities, 0..0.5.
        confidence_logits (Tensor, optional): (B, 1, h, w) logits that the localization is right.
        score (Tensor, optional): (B,) probabilities that the image is tampered at all.
    """

    logits: Tensor
    edge_logits: Tensor | None = None
    uncertainty: Tensor | None = None
    confidence_logits: Tensor | None = None
    score: Tensor | None = None
