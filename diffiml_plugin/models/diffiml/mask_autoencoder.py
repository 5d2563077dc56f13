"""Stage 1: training of the mask VAE."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...errors import UserError
from ..edges import label_edges
from ..labels import IGNORED, TAMPERED, mean_where, stack_labels
from .latent_teacher import LatentTeacher
from .mixtures import mix_masks


@MODELS.register_module()
class MaskAutoencoder(BaseModel):
    """Trains a :class:`MaskVAE` on masks and on their edge maps together.

    Only the ``gt_sem_seg`` of a sample is used, not its image. Prediction stores the probability
    of the reconstructed mask under ``seg_logits`` (as mmseg does for one channel) and that of the
    edge under ``pred_edge``, so that every segmentation metric scores the reconstruction.

    Args:
        vae (dict): Config of the mask VAE.
        loss_recon (str): Reconstruction loss, 'l1' (published) or 'bce'. Defaults to 'l1'.
        margin (float): Absolute value of the logits that are the targets of 'l1': at 5 the
            probabilities use 0.007..0.993, at the published 1 only 0.27..0.73. Defaults to 5.
        mixed_masks (int): Number of masks whose latents are mixed; the decoder then learns that
            decode(sum of w_k z_k) = sum of w_k m_k, so that the mean of the latents, which is
            what a denoiser returns, decodes to the probability of tampering. Values above 1
            require ``loss_recon='bce'``. 1, the default, mixes nothing, as published.
        freeze_encoder (bool): Whether only the decoder is trained, so that the latents and the
            models trained on them stay as they are. Defaults to False.
        edge_width (int): Width of the edge band in pixels. Defaults to 7.
        teacher (dict, optional): Distillation from a frozen diffusers ``AutoencoderKL``:
            ``pretrained`` (a local folder or a hub name; the paper's is
            'stabilityai/sd-vae-ft-mse'), ``loss_weight`` (published and default: 0.01) and
            ``scale`` of both latents (published and default: 0.18215). Defaults to None.
        data_preprocessor (dict, optional): Config of the data preprocessor.
        init_cfg (dict, optional): MMEngine initialization config.

    Raises:
        UserError: If ``loss_recon`` is unknown, ``mixed_masks`` does not fit it, or the teacher
            is not a dict or cannot be loaded.
    """

    _RECONSTRUCTION = ('bce', 'l1')

    def __init__(
        self,
        vae: dict,
        loss_recon: str = 'l1',
        margin: float = 5.0,
        mixed_masks: int = 1,
        freeze_encoder: bool = False,
        edge_width: int = 7,
        teacher: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if loss_recon not in self._RECONSTRUCTION:
            raise UserError(
                f'MaskAutoencoder loss_recon must be one of {", ".join(self._RECONSTRUCTION)}, '
                f'got {loss_recon!r}'
            )
        if mixed_masks < 1 or (mixed_masks > 1 and loss_recon != 'bce'):
            raise UserError(
                "MaskAutoencoder mixed_masks must be 1, or above with loss_recon='bce', "
                f'got {mixed_masks} with {loss_recon!r}'
            )
        if teacher is not None and not isinstance(teacher, dict):
            raise UserError(
                f'MaskAutoencoder teacher must be a dict, got {teacher!r}: on the command line, '
                '--cfg-options model.teacher.pretrained=FOLDER'
            )
        self.vae = MODELS.build(vae)
        self.loss_recon = loss_recon
        self.margin = margin
        self.mixed_masks = mixed_masks
        self.freeze_encoder = freeze_encoder
        if freeze_encoder:
            self.vae.encoder.requires_grad_(False)
        self.edge_width = edge_width
        self.teacher = LatentTeacher(**teacher) if teacher else None

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample],
        mode: str = 'loss',
    ) -> dict | list[SegDataSample] | tuple[Tensor, Tensor]:
        """Run one of the modes 'loss', 'predict' and 'tensor' (logits and latents).

        Args:
            inputs (Tensor): (B, 3, H, W) images; unused.
            data_samples (list[SegDataSample]): Samples with ``gt_sem_seg``.
            mode (str): One of these modes. Defaults to 'loss'.
        """
        labels = stack_labels(data_samples)
        if mode == 'loss':
            return self._loss(labels)
        maps = _to_maps(self._with_edges(labels))
        logits, latents = self.vae(maps)
        if mode == 'tensor':
            return logits, latents
        probs, edges = logits.sigmoid().chunk(2)
        for sample, prob, edge in zip(data_samples, probs, edges, strict=True):
            sample.seg_logits = PixelData(data=prob)
            sample.pred_sem_seg = PixelData(data=(prob > 0.5).to(prob))
            sample.pred_edge = PixelData(data=edge)
        return data_samples

    def train(self, mode: bool = True) -> 'MaskAutoencoder':
        """Switch to training; a frozen encoder's batch norms stay as they are."""
        super().train(mode)
        if self.freeze_encoder:
            self.vae.encoder.eval()
        return self

    def _with_edges(self, labels: Tensor) -> Tensor:
        return torch.cat([labels, label_edges(labels, self.edge_width)])

    def _loss(self, labels: Tensor) -> dict[str, Tensor]:
        parts, weights = mix_masks(labels, self.mixed_masks)
        labels = torch.stack([self._with_edges(part) for part in parts])
        weights = torch.cat([weights, weights], dim=1)
        maps = _to_maps(labels)
        # Scaling the latent and undoing it cancel out here: only the statistics are kept.
        latents = self.vae.encoder(maps.flatten(0, 1))
        losses = self.teacher.loss(maps.flatten(0, 1), latents) if self.teacher else {}
        if not self.freeze_encoder:
            self.vae.update_latent_statistics(latents.detach())
        logits = self.vae.decoder((weights * latents.unflatten(0, maps.shape[:2])).sum(0))
        target = (weights * maps).sum(0)
        if self.loss_recon == 'l1':
            each = F.l1_loss(logits / self.margin, target, reduction='none')
        else:
            each = F.binary_cross_entropy_with_logits(logits, (target + 1) / 2, reduction='none')
        return losses | dict(loss_recon=mean_where(each, (labels != IGNORED).all(0)))


def _to_maps(labels: Tensor) -> Tensor:
    # Ignored pixels need some value here, but their reconstruction does not count.
    return (labels == TAMPERED).float() * 2 - 1
