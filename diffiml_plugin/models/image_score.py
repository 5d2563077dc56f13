"""Scores of whole images."""

from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from .calibration import UNCALIBRATED, Calibration, read_calibration


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

    def __call__(self, prob: Tensor) -> float:
        """Score an image by its (1, H, W) probabilities, 0..1.

        Returns:
            float: Score, 0..1.
        """
        return float(self.tensor(prob))

    def tensor(self, prob: Tensor) -> Tensor:
        """Return the score of (1, H, W) probabilities as a scalar tensor, for exported graphs."""
        if self.window > 1:
            pad = self.window // 2
            prob = F.avg_pool2d(prob, self.window, 1, pad, count_include_pad=False)
        peak = prob.max()
        if self.is_probability:
            peak = self.calibration(peak.double().logit(eps=1e-6)).sigmoid()
        return peak


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
