"""Test-time augmentation of localizers."""

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from ...errors import UserError


@MODELS.register_module()
class IMLTTAModel(BaseTTAModel):
    """Merges the probability maps of an image's augmented versions.

    mmseg's ``SegTTAModel`` takes the sigmoid of what is already a probability in a one-channel
    head and drops the merged map that threshold-free metrics need; this one does neither.

    Args:
        merge (str): 'max' (published) or 'mean'. Defaults to 'max'.
        **kwargs: Of ``BaseTTAModel``.

    Raises:
        UserError: If ``merge`` is unknown.
    """

    def __init__(self, merge: str = 'max', **kwargs) -> None:
        super().__init__(**kwargs)
        if merge not in ('max', 'mean'):
            raise UserError(f"IMLTTAModel merge must be 'max' or 'mean', got {merge!r}")
        self.merge = merge

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """Merge the (already flipped back and resized) predictions of each image."""
        merged = []
        for versions in data_samples_list:
            logits = torch.stack([version.seg_logits.data for version in versions])
            probs = logits if logits.shape[1] == 1 else logits.softmax(1)[:, 1:]
            prob = probs.amax(0) if self.merge == 'max' else probs.mean(0)
            sample = versions[0]
            # One channel is a probability to every evaluator here.
            sample.seg_logits = PixelData(data=prob)
            threshold = self.module.decode_head.threshold
            pred = prob > (0.5 if threshold is None else threshold)
            sample.pred_sem_seg = PixelData(data=pred.to(prob))
            if 'pred_score' in sample:
                sample.set_field(float(prob.max()), 'pred_score')
            merged.append(sample)
        return merged
