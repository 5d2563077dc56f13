"""Scores of whole images."""

from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from .calibration import UNCALIBRATED, Calibration, read_calibration

# Logit of a probability of 1e-6 below 1.
_SURE = 13.8155


class ImageScore(NamedTuple):
    """Score that an image is tampered at all: the highest local mean of its probabilities.

    Attributes:
        window (int): Side of the square window of the local mean in pixels of the network's input,
            odd; 1 for the pixel itself.
        calibration (Calibration): Calibration of the score's logit. With it, the score is the
            probability that an image of the kind it was fitted on is tampered.
    """

    window: int = 1
    calibration: Calibration = UNCALIBRATED

    @property
    def is_probability(self) -> bool:
        """Whether the score is calibrated."""
        return self.calibration != UNCALIBRATED

    def __call__(self, logits: Tensor) -> float:
        """Score an image by the (1, H, W) logits of its pixels.

        Returns:
            float: Score, 0..1.
        """
        return float(self.tensor(logits))

    def tensor(self, logits: Tensor) -> Tensor:
        """Return the score of (1, H, W) logits as a scalar tensor, for exported graphs."""
        if self.window > 1:
            peak = self._local_mean(logits.sigmoid()).max().double().logit()
        else:
            # Not by way of probabilities: single precision knows few near 1.
            peak = logits.max().double()
        if self.is_probability:
            # Linear decoders' logits go far beyond what they can be sure of.
            peak = self.calibration(peak.clamp(-_SURE, _SURE))
        return peak.sigmoid()

    def _local_mean(self, prob: Tensor) -> Tensor:
        # Rows, then columns: the mean of the square, in 2 / window of the time.
        size, pad = self.window, self.window // 2
        for shape, padding in (((1, size), (0, pad)), ((size, 1), (pad, 0))):
            prob = F.avg_pool2d(prob, shape, 1, padding, count_include_pad=False)
        return prob


# The highest probability of any pixel.
HIGHEST = ImageScore()


def read_image_score(settings: Mapping[str, float], label: str) -> ImageScore:
    """Read an image score from a config.

    Args:
        settings (Mapping[str, float]): ``window``, and ``scale`` and ``bias`` of the calibration;
            what is left out has its default.
        label (str): Class and argument that the settings belong to, for messages.

    Raises:
        UserError: If there is another setting, ``window`` is not an odd number of at least 1, or
            the calibration is not two numbers, the scale above 0.
    """
    rest = dict(settings)
    window = rest.pop('window', 1)
    if not isinstance(window, int) or isinstance(window, bool) or window < 1 or window % 2 == 0:
        raise UserError(f'{label}: window must be an odd number of pixels, got {window!r}')
    return ImageScore(window, read_calibration(rest, label, ('scale', 'bias')))
