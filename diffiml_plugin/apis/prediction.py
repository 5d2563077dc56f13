"""A model's prediction, or failure, for one photograph."""

from dataclasses import dataclass, field

import numpy as np

from ..visualization import blend


@dataclass
class Prediction:
    """A model's prediction for one photograph, at its own size and turned upright as EXIF says.

    Attributes:
        name (str): File name of the photograph, or 'image' for an image from memory.
        image (np.ndarray): (H, W, 3) uint8 RGB image.
        probability (np.ndarray): (H, W) float32 probability of tampering, 0..1.
        mask (np.ndarray): (H, W) uint8 mask, 1 where the probability is above ``threshold``.
        score (float): Score that the image is tampered at all, 0..1.
        threshold (float): Threshold of the mask, 0..1.
        score_is_probability (bool): Whether the score is calibrated; if not, it only ranks
            images.
        edge (np.ndarray, optional): (H, W) float32 probability of the region's boundary, 0..1.
        uncertainty (np.ndarray, optional): (H, W) float32 standard deviation of the ensemble's
            probabilities, 0..0.5.
        confidence (np.ndarray, optional): (H, W) float32 confidence, 0..1, if the model estimates
            it.
        provenance (dict): Input, model, settings and versions, see :class:`DiffIMLInferencer`.
    """

    name: str
    image: np.ndarray
    probability: np.ndarray
    mask: np.ndarray
    score: float
    threshold: float
    score_is_probability: bool = False
    edge: np.ndarray | None = None
    uncertainty: np.ndarray | None = None
    confidence: np.ndarray | None = None
    provenance: dict = field(default_factory=dict)

    def overlay(self, opacity: float = 0.6) -> np.ndarray:
        """Draw the probability over the image, (H, W, 3) uint8 RGB.

        Args:
            opacity (float): Opacity of a probability of 1, 0..1; lower probabilities have a
                proportionally lower opacity. Defaults to 0.6.
        """
        return blend(self.image, self.probability, opacity)

    def panels(self) -> dict[str, np.ndarray]:
        """Collect the panels for ``draw_grid``, by title."""
        panels = {
            'image': self.image,
            'overlay': self.overlay(),
            'probability': self.probability,
            'mask': self.mask.astype(np.float32),
        }
        for title in ('edge', 'uncertainty', 'confidence'):
            if getattr(self, title) is not None:
                panels[title] = getattr(self, title)
        return panels

    def record(self) -> dict:
        """Summarize the prediction in numbers and text, as JSON values."""
        height, width = self.mask.shape
        return dict(
            name=self.name,
            width=width,
            height=height,
            score=round(self.score, 6),
            score_is_probability=self.score_is_probability,
            threshold=self.threshold,
            tampered_share=round(float(self.mask.mean()), 6),
            mean_uncertainty=(
                None if self.uncertainty is None else round(float(self.uncertainty.mean()), 6)
            ),
            provenance=self.provenance,
        )


@dataclass(frozen=True)
class Failure:
    """A photograph whose prediction failed, and the reason in one sentence."""

    name: str
    reason: str
