"""Filters that bring out traces of manipulation."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

# ITU-R BT.601, for red, green and blue.
_LUMA = (0.299, 0.587, 0.114)


@MODELS.register_module()
class BayarConv2d(nn.Module):
    """Convolution constrained to prediction errors (Bayar and Stamm 2018, equation 4).

    The center weight of each kernel is -1 and the others sum to 1, which removes everything that
    can be predicted from a pixel's neighbors: the content. As in MVSS-Net, an image of three
    channels can be converted to gray first.

    Args:
        in_channels (int): Number of input channels. Defaults to 1.
        out_channels (int): Number of output channels. Defaults to 3.
        kernel_size (int): Odd side of the kernels in pixels. Defaults to 5.
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


# The three of the 30 filters of the spatial rich model that Zhou et al. 2018 (RGB-N) found to be
# enough: second difference along a line, of a 3x3 square, of a 5x5 square.
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
        in_channels (int): Number of input channels; all three filters apply to each. Defaults to
            3.
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


def _local_mean(images: Tensor, size: int) -> Tensor:
    half = size // 2
    sums = F.pad(images, (half, half, half, half), mode='reflect')
    # Sums of shifted maps: on a CPU avg_pool2d takes several times as long.
    for dim in (-2, -1):
        length = sums.shape[dim] - size + 1
        total = sums.narrow(dim, 0, length).clone()
        for start in range(1, size):
            total += sums.narrow(dim, start, length)
        sums = total
    return sums / size**2


@MODELS.register_module()
class HighPass(nn.Module):
    """The image's high-pass residual, and the residual's local level.

    The residual is the image minus its 3x3 mean, times a gain: noise and compression traces,
    which a network trained from scratch would take long to find under the content. Its level is
    the logarithm of its mean square around each pixel, which shows where an image is smoother or
    noisier than elsewhere. Four channels in all: 3 + 1.

    Args:
        gain (float): Factor of the residual. Defaults to 16.
        level_window (int): Odd side of the level's window in pixels. Defaults to 7.
        limit (float, optional): Bound to whose negative and positive value the returned residual
            is clamped, so that edges of objects do not drown the rest. Defaults to None: no
            bound.
    """

    def __init__(
        self, gain: float = 16.0, level_window: int = 7, limit: float | None = None
    ) -> None:
        super().__init__()
        self.gain = gain
        self.level_window = level_window
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        """Filter (B, 3, H, W) images to (B, 4, H, W)."""
        residual = (images - _local_mean(images, 3)) * self.gain
        energy = _local_mean(residual.square().mean(1, keepdim=True), self.level_window)
        level = torch.log(energy + 1e-2)
        if self.limit is not None:
            residual = residual.clamp(-self.limit, self.limit)
        return torch.cat([residual, level], dim=1)
