"""What localizing heads return."""

from typing import NamedTuple

from torch import Tensor


class Localization(NamedTuple):
    """Maps of a batch of images, each (B, 1, h, w); a head names in ``maps`` which it has.

    ``logits`` of tampering are there always. ``edge_logits`` are those of its boundary,
    ``uncertainty`` is a standard deviation of probability, ``members`` how many an ensemble had,
    ``confidence_logits`` those that the localization is right, and ``score`` the probability,
    (B, 1, 1, 1), that the image is tampered at all.
    """

    logits: Tensor
    edge_logits: Tensor | None = None
    uncertainty: Tensor | None = None
    members: Tensor | None = None
    confidence_logits: Tensor | None = None
    score: Tensor | None = None
