"""Output of the pipeline."""

from dataclasses import dataclass

from diffusers.utils import BaseOutput


@dataclass
class DiffIMLPipelineOutput(BaseOutput):
    """Predictions of the pipeline, with one entry per image in each list.

    Attributes:
        probabilities (list): Probabilities of tampering: (H, W) float32 arrays in 0..1; gray
            Pillow images or (H, W) tensors with ``output_type`` 'pil' or 'pt'.
        masks (list): Masks of the same types, with 0 and 1 (uint8), or black and white.
        edges (list): Probabilities of the region's boundary, of the same types as
            ``probabilities``.
        uncertainties (list): Standard deviations of the probability, 0..0.5, of the same types as
            ``probabilities``.
        scores (list[float]): Scores that the image is tampered at all, 0..1.
    """

    probabilities: list
    masks: list
    edges: list
    uncertainties: list
    scores: list
