"""Filters and a pooling layer that only baselines need."""

import math

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...errors import UserError


class SobelGate(nn.Module):
    """Gates features by the sigmoid of their own Sobel gradient (MVSS-Net, section 3.1).

    Args:
        channels (int): Channels of the features, whose gradient is that of their sum.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        self.channels = channels
        self.register_buffer(
            'kernels', torch.stack([across, across.T]).unsqueeze(1), persistent=False
        )
        self.norm = nn.BatchNorm2d(2)

    def forward(self, features: Tensor) -> Tensor:
        """Gate (B, C, h, w) features."""
        gradient = F.conv2d(features.sum(1, keepdim=True), self.kernels, padding=1)
        # The gradient of a square root is infinite at 0.
        magnitude = (self.norm(gradient).square().sum(1, keepdim=True) + 1e-12).sqrt()
        return magnitude.sigmoid() * features


@MODELS.register_module()
class DCTPass(nn.Module):
    """Keeps high or low frequencies of the image's discrete cosine transform (Mesorch).

    Each filtered image is scaled to 0..1 by its own minimum and maximum.

    Args:
        band (str): Frequencies to keep. 'high' sets coefficients to zero if both of their
            frequencies are among the lowest ``share``, 'low' if both are among the highest.
        share (float, optional): Share of the frequencies of each direction, above 0 and below 1.
            Published and default: 0.05 for 'high', 0.95 for 'low'.

    Raises:
        UserError: If a setting lies outside its range.
    """

    _SHARES = dict(high=0.05, low=0.95)

    def __init__(self, band: str, share: float | None = None) -> None:
        super().__init__()
        if band not in self._SHARES:
            raise UserError(f"DCTPass band must be 'high' or 'low', got {band!r}")
        share = self._SHARES[band] if share is None else share
        if not 0 < share < 1:
            raise UserError(f'DCTPass share must lie between 0 and 1, got {share}')
        self.band = band
        self.share = share

    def forward(self, images: Tensor) -> Tensor:
        """Filter (B, C, H, W) images; the size stays."""
        # Half precision would leave little of the faint band beside the strong one.
        with torch.autocast(images.device.type, enabled=False):
            return self._filter(images.float())

    def _filter(self, images: Tensor) -> Tensor:
        down, right = (_dct_matrix(side, images.device) for side in images.shape[-2:])
        spectrum = down @ images @ right.T
        height, width = (int(self.share * side) for side in images.shape[-2:])
        mask = torch.ones(images.shape[-2:], device=images.device)
        if self.band == 'high':
            mask[:height, :width] = 0
        else:
            mask[images.shape[-2] - height :, images.shape[-1] - width :] = 0
        kept = down.T @ (spectrum * mask) @ right
        low, high = (bound.view(-1, 1, 1, 1) for bound in kept.flatten(1).aminmax(dim=1))
        return (kept - low) / (high - low).clamp_min(1e-6)


def _dct_matrix(side: int, device: torch.device) -> Tensor:
    """Return the (side, side) orthonormal matrix of the DCT-II."""
    index = torch.arange(side, device=device, dtype=torch.float32)
    matrix = torch.cos(math.pi / side * index.unsqueeze(1) * (index + 0.5)) * (2 / side) ** 0.5
    matrix[0] = side**-0.5
    return matrix


class GeMPool(nn.Module):
    """Generalized mean of a map with a learned exponent (Radenovic et al. 2019).

    Args:
        exponent (float): Initial exponent; 1 is the mean, infinity the maximum. Defaults to 3.
    """

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, maps: Tensor) -> Tensor:
        """Pool (B, C, H, W) maps of non-negative values to (B, C)."""
        powers = maps.clamp_min(1e-6).pow(self.exponent)
        return powers.mean((-2, -1)).pow(1 / self.exponent)
