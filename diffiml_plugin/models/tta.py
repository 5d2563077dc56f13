"""Test-time augmentation of localizers."""

from collections import defaultdict

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from ..errors import UserError


@MODELS.register_module()
class IMLTTAModel(BaseTTAModel):
    """Merges the probability maps of an image's augmented versions.

    mmseg's ``SegTTAModel`` applies a sigmoid to the output of one-channel heads, which is already
    a probability, and drops the merged map that threshold-free metrics need; this class does
    neither.

    Args:
        merge (str): Way of merging, 'max' (published) or 'mean'. Defaults to 'max'.
        batch_versions (bool): Whether versions of the same size, such as an image and its mirror
            image, run as one batch; running them one by one takes less memory. Defaults to True.
        **kwargs: Passed to ``BaseTTAModel``.

    Raises:
        UserError: If ``merge`` is unknown.
    """

    def __init__(self, merge: str = 'max', batch_versions: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        if merge not in ('max', 'mean'):
            raise UserError(f"IMLTTAModel merge must be 'max' or 'mean', got {merge!r}")
        self.merge = merge
        self.batch_versions = batch_versions

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Predict and merge all versions of a batch of images.

        Args:
            data (dict): ``inputs`` and ``data_samples``, each a list over versions of lists over
                images.
        """
        inputs, samples = data['inputs'], data['data_samples']
        groups = defaultdict(list)
        for index, images in enumerate(inputs):
            shapes = tuple(image.shape for image in images)
            groups[shapes if self.batch_versions else index].append(index)
        predictions = {}
        for members in groups.values():
            together = dict(
                inputs=[image for i in members for image in inputs[i]],
                data_samples=[sample for i in members for sample in samples[i]],
            )
            samples_of_group = self.module.test_step(together)
            count = len(inputs[0])
            for position, index in enumerate(members):
                predictions[index] = samples_of_group[position * count : (position + 1) * count]
        ordered = [predictions[index] for index in range(len(inputs))]
        return self.merge_preds([list(versions) for versions in zip(*ordered, strict=True)])

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """Merge the (already flipped back and resized) predictions of each image."""
        merged = []
        for versions in data_samples_list:
            logits = torch.stack([version.seg_logits.data for version in versions])
            probs = logits if logits.shape[1] == 1 else logits.softmax(1)[:, 1:]
            prob = probs.amax(0) if self.merge == 'max' else probs.mean(0)
            sample = versions[0]
            # Every evaluator here reads one channel as a probability.
            sample.seg_logits = PixelData(data=prob)
            threshold = self.module.decode_head.threshold
            pred = prob > (0.5 if threshold is None else threshold)
            sample.pred_sem_seg = PixelData(data=pred.to(prob))
            if 'pred_score' in sample:
                scores = [float(version.pred_score) for version in versions]
                score = max(scores) if self.merge == 'max' else sum(scores) / len(scores)
                sample.set_field(score, 'pred_score')
            merged.append(sample)
        return merged
