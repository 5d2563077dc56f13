"""Metric definitions as pure functions on tensors.

Everything here is computed for one image, or for one score an image; averaging over images is
left to the metric classes. Pixel figures have no meaning for an authentic image (it has no
positive pixel) and are ``nan`` there.
"""

import math

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc


def confusion(pred: Tensor, target: Tensor) -> tuple[int, int, int, int]:
    """Count (TP, FP, FN, TN) of two boolean tensors of the same shape."""
    tp = int((pred & target).sum())
    fp = int(pred.sum()) - tp
    fn = int(target.sum()) - tp
    return tp, fp, fn, pred.numel() - tp - fp - fn


def f1(tp: int, fp: int, fn: int) -> float:
    """F1 = 2 TP / (2 TP + FP + FN); ``nan`` without any positive."""
    total = 2 * tp + fp + fn
    return 2 * tp / total if total else math.nan


def iou(tp: int, fp: int, fn: int) -> float:
    """IoU = TP / (TP + FP + FN); ``nan`` without any positive."""
    total = tp + fp + fn
    return tp / total if total else math.nan


def auc(score: Tensor, target: Tensor) -> float:
    """Area under the ROC curve, ties counted half; ``nan`` unless both classes occur.

    Args:
        score (Tensor): (N,) probabilities, 0..1.
        target (Tensor): (N,) boolean.
    """
    positives = int(target.sum())
    if positives in (0, target.numel()):
        return math.nan
    # float64: in float32 the trapezoids of a megapixel image lose the fifth digit.
    return float(binary_auroc(score.double(), target.long()))


def boundary_f1(pred: Tensor, target: Tensor, tolerance: float | None = None) -> float:
    """F1 of boundaries: a boundary pixel counts where the other boundary is near enough.

    A boundary is the mask's own pixels that touch its outside; the image's border is none
    (Csurka et al. 2013).

    Args:
        pred (Tensor): (H, W) boolean.
        target (Tensor): (H, W) boolean.
        tolerance (float, optional): Euclidean distance in pixels. Defaults to 0.75 % of the
            image's diagonal, at least 1.

    Returns:
        float: 0..1; ``nan`` if neither has a boundary.
    """
    if tolerance is None:
        tolerance = max(0.0075 * math.hypot(*target.shape), 1.0)
    bounds = []
    for mask in (pred, target):
        mask = mask.cpu().numpy().astype(bool)
        bounds.append(mask & ~binary_erosion(mask, np.ones((3, 3), bool), border_value=1))
    counts = [int(bound.sum()) for bound in bounds]
    if not all(counts):
        return 0.0 if any(counts) else math.nan
    near = [
        (distance_transform_edt(~other)[bound] <= tolerance).mean()
        for bound, other in (bounds, bounds[::-1])
    ]
    return float(2 * near[0] * near[1] / sum(near)) if sum(near) else 0.0


def pixel_figures(
    prob: Tensor, target: Tensor, threshold: float = 0.5, ignore_index: int = 255
) -> dict[str, float]:
    """Figures of one image.

    Args:
        prob (Tensor): (H, W) probability of tampering, 0..1.
        target (Tensor): (H, W) of 0 (authentic), 1 (tampered) and ``ignore_index``.
        threshold (float): A pixel is predicted tampered above it. Defaults to 0.5.
        ignore_index (int): Target value left out of all counts. Defaults to 255.

    Returns:
        dict[str, float]: ``f1``, ``iou``, ``auc`` (``nan`` for an authentic image),
        ``pred_area`` (predicted share of valid pixels, 0..1) and ``tampered`` (0 or 1).

    Raises:
        ValueError: If the two shapes differ.
    """
    if prob.shape != target.shape:
        raise ValueError(
            f'probability map of shape {tuple(prob.shape)} against a mask of shape '
            f'{tuple(target.shape)}: both must be at the same resolution'
        )
    valid = target != ignore_index
    score, truth = prob[valid].float(), target[valid] == 1
    tp, fp, fn, _ = confusion(score > threshold, truth)
    tampered = bool(truth.any())
    return dict(
        f1=f1(tp, fp, fn) if tampered else math.nan,
        iou=iou(tp, fp, fn) if tampered else math.nan,
        auc=auc(score, truth) if tampered else math.nan,
        pred_area=(tp + fp) / max(score.numel(), 1),
        tampered=float(tampered),
    )


def image_figures(scores: Tensor, tampered: Tensor, threshold: float = 0.5) -> dict[str, float]:
    """Image-level figures of a data set.

    Args:
        scores (Tensor): (N,) image scores, 0..1.
        tampered (Tensor): (N,) boolean, whether the image is tampered.
        threshold (float): An image is called tampered above it. Defaults to 0.5.

    Returns:
        dict[str, float]: ``img_f1``, ``img_auc`` and ``img_acc``.
    """
    tp, fp, fn, tn = confusion(scores > threshold, tampered)
    return dict(
        img_f1=f1(tp, fp, fn),
        img_auc=auc(scores, tampered),
        img_acc=(tp + tn) / scores.numel() if scores.numel() else math.nan,
    )
