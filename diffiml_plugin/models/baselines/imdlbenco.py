"""Models of IMDL-BenCo as mmseg segmentors."""

import torch
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...errors import UserError
from ..edges import mask_to_edge
from ..labels import TAMPERED, refuse_ignored, stack_labels
from ..localizer import named_samples
from .imdlbenco_zoo import ZOO, ZooModel, build_zoo_model


@MODELS.register_module()
class IMDLBenCoModel(BaseSegmentor):
    """Trains and tests a model of the ``imdlbenco`` package as an mmseg segmentor.

    Such a model is called with ``image``, ``mask``, ``edge_mask``, ``label`` and ``shape`` in
    training and in testing alike (in testing with an empty mask) and returns a dict with
    ``backward_loss``, ``pred_mask``, ``pred_label`` and ``visual_loss``. A predicted sample
    carries ``seg_logits`` and ``pred_sem_seg`` as in :class:`Localizer`, and ``pred_score``: the
    model's ``pred_label`` if it returns one, else the highest probability.

    Args:
        name (str): Name under which IMDL-BenCo has registered the model, such as 'IML_ViT'.
        pred_mask (str): Kind of values in the model's ``pred_mask``: 'probability' or 'logits'.
            Defaults to 'probability', which all models of the package's zoo return.
        random_weights (bool): Whether to start from random weights where the model would read or
            download files of weights. Defaults to False.
        edge_width (int): Width of the edge band in pixels. Defaults to 7.
        threshold (float): Threshold of the probability. Defaults to 0.5.
        data_preprocessor (dict, optional): Config of the data preprocessor.
        init_cfg (dict, optional): MMEngine initialization config.
        **kwargs: Passed to the model.

    Raises:
        UserError: If ``imdlbenco`` is not installed or has no such model, the model needs a file
            of weights or another size of images, or its output is not as described; in training,
            if a mask has ignored pixels but none at its border. Ignored pixels of other masks,
            such as padding, count as authentic.
    """

    _MASKS = ('probability', 'logits')

    def __init__(
        self,
        name: str,
        pred_mask: str = 'probability',
        random_weights: bool = False,
        edge_width: int = 7,
        threshold: float = 0.5,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if pred_mask not in self._MASKS:
            raise UserError(
                f"IMDLBenCoModel pred_mask must be 'probability' or 'logits', got {pred_mask!r}"
            )
        self.name = name
        self.size = ZOO.get(name, ZooModel()).size_for(kwargs)
        self.model = build_zoo_model(name, kwargs, random_weights)
        self.pred_mask = pred_mask
        self.edge_width = edge_width
        self.threshold = threshold
        # The base class needs it to resize to the original image.
        self.align_corners = False

    def _call(self, images: Tensor, masks: Tensor) -> dict:
        height, width = images.shape[-2:]
        if self.size and (height, width) != (self.size, self.size):
            raise UserError(
                f'IMDLBenCoModel: {self.name} needs images of {self.size} x {self.size} pixels, '
                f'got {height} x {width}: set the size of training crops, data_preprocessor and '
                'test pipeline'
            )
        size = torch.tensor(images.shape[-2:], device=images.device)
        outputs = self.model(
            image=images,
            mask=masks,
            edge_mask=mask_to_edge(masks, self.edge_width),
            label=masks.flatten(1).amax(1).long(),
            shape=size.expand(len(images), 2),
        )
        missing = {'backward_loss', 'pred_mask'} - set(outputs)
        if missing:
            raise UserError(f'IMDLBenCoModel: {self.name} returns no {", ".join(sorted(missing))}')
        return outputs

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Return the images, since the model computes its features itself."""
        return inputs

    def encode_decode(self, inputs: Tensor, batch_data_samples: list[dict]) -> Tensor:
        """Return (B, 1, H, W) logits."""
        return self._localize(inputs)[0]

    def _localize(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (B, 1, H, W) logits and, if the model returns a label, (B,) image scores."""
        outputs = self._call(inputs, torch.zeros_like(inputs[:, :1]))
        mask = outputs['pred_mask'].float()
        if self.pred_mask == 'probability':
            if mask.min() < 0 or mask.max() > 1:
                raise UserError(
                    f'IMDLBenCoModel: the pred_mask of {self.name} lies outside 0..1: set '
                    "pred_mask='logits'"
                )
            mask = mask.logit(eps=1e-6)
        label = outputs.get('pred_label')
        return mask, None if label is None else label.float().flatten()

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Return the model's ``backward_loss`` as ``loss``, and its ``visual_loss`` for the log."""
        labels = stack_labels(data_samples)
        refuse_ignored(labels, data_samples, f'IMDLBenCoModel {self.name}')
        outputs = self._call(inputs, (labels == TAMPERED).to(inputs))
        # MMEngine sums all entries whose name contains "loss".
        shown = {
            f'shown/{key.replace("loss", "value")}': torch.as_tensor(value).detach()
            for key, value in (outputs.get('visual_loss') or {}).items()
        }
        return dict(loss=outputs['backward_loss']) | shown

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Localize tampering in (B, 3, H, W) normalized images."""
        logits, scores = self._localize(inputs)
        samples = named_samples(self, logits, data_samples, ('logits',), self.threshold)
        if scores is not None:
            for sample, score in zip(samples, scores.tolist(), strict=True):
                sample.set_field(score, 'pred_score')
        return samples

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        """Return the output of :meth:`encode_decode`."""
        return self.encode_decode(inputs, [])
