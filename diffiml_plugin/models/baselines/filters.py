"""Filters that bring out traces of manipulation, and a pooling of maps."""

import math

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...errors import UserError

# ITU-R BT.601, for red, green and blue.
_LUMA = (0.299, 0.587, 0.114)


@MODELS.register_module()
class BayarConv2d(nn.Module):
    """Convolution constrained to prediction errors (Bayar and Stamm 2018, equation 4).

    The weight of each kernel's center is -1 and the others sum to 1, so that what can be
    predicted from the neighbors, the content, vanishes. As in MVSS-Net, an image of three
    channels can be turned to gray before.

    Args:
        in_channels (int): Defaults to 1.
        out_channels (int): Defaults to 3.
        kernel_size (int): Odd. Defaults to 5.
        grey (bool): Whether (B, 3, H, W) images in RGB order become (B, 1, H, W) first.
            Defaults to True.
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 3, kernel_size: int = 5, grey: bool = True
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.grey = grey
        self.weight = nn.Parameter(torch.rand(out_channels, in_channels, kernel_size**2 - 1))
        self.register_buffer('luma', torch.tensor(_LUMA).view(1, 3, 1, 1), persistent=False)

    def kernel(self) -> Tensor:
        """Return the (out, in, k, k) kernel under the constraint."""
        total = self.weight.sum(-1, keepdim=True)
        total = torch.where(total.abs() < 1e-6, torch.full_like(total, 1e-6), total)
        before, after = (self.weight / total).chunk(2, dim=-1)
        kernel = torch.cat([before, -torch.ones_like(total), after], dim=-1)
        return kernel.unflatten(-1, (self.kernel_size, self.kernel_size))

    def forward(self, images: Tensor) -> Tensor:
        """Filter (B, C, H, W) images; the size stays."""
        if self.grey:
            images = (images * self.luma).sum(1, keepdim=True)
        return F.conv2d(images, self.kernel(), padding=self.kernel_size // 2)


# Of the 30 filters of the spatial rich model, the three that Zhou et al. 2018 (RGB-N) found to
# be enough: second difference along a line, of a 3x3 square, of a 5x5 square.
_SRM = [
    ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0)),
    ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2),
     (-1, 2, -2, 2, -1)),
]  # fmt: skip
_SRM_DIVISORS = (2, 4, 12)


@MODELS.register_module()
class SRMConv2d(nn.Module):
    """Fixed high-pass filters of the spatial rich model (Fridrich and Kodovsky 2012).

    Args:
        in_channels (int): Each gets all three filters. Defaults to 3.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        kernels = torch.tensor(_SRM, dtype=torch.float32)
        kernels = kernels / torch.tensor(_SRM_DIVISORS).view(3, 1, 1)
        kernels = kernels.unsqueeze(1).repeat(in_channels, 1, 1, 1)
        self.register_buffer('kernels', kernels, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Filter (B, C, H, W) images to (B, 3 C, H, W) residuals."""
        return F.conv2d(images, self.kernels, padding=2, groups=self.in_channels)


class SobelGate(nn.Module):
    """Gates features by the sigmoid of their own Sobel gradient (MVSS-Net, section 3.1).

    Args:
        channels (int): Channels of the features; their sum is what is differentiated.
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

    Each image of the result is brought to 0..1 by its own minimum and maximum.

    Args:
        band (str): 'high' zeroes the lowest ``share`` of frequencies, 'low' the highest
            ``share``, where both of a coefficient's frequencies belong to it.
        share (float, optional): Above 0 and below 1. Published and default: 0.05 for 'high',
            0.95 for 'low'.

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
    """Orthonormal matrix of the DCT-II, (side, side)."""
    index = torch.arange(side, device=device, dtype=torch.float32)
    matrix = torch.cos(math.pi / side * index.unsqueeze(1) * (index + 0.5)) * (2 / side) ** 0.5
    matrix[0] = side**-0.5
    return matrix


class GeMPool(nn.Module):
    """Generalized mean of a map with a learned exponent (Radenovic et al. 2019).

    Args:
        exponent (float): To begin with; 1 is the mean, infinity the maximum. Defaults to 3.
    """

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, maps: Tensor) -> Tensor:
        """Pool (B, C, H, W) maps of 0 and above to (B, C)."""
        powers = maps.clamp_min(1e-6).pow(self.exponent)
        return powers.mean((-2, -1)).pow(1 / self.exponent)
