"""Light denoising UNet, conditioned on image features."""

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DenoisingUNet(BaseModule):
    """A diffusers ``UNet2DModel`` whose first feature map is merged with a condition.

    The condition is concatenated to the output of ``conv_in`` and merged by a 3x3 convolution
    before the down blocks (DiffIML). The published size is the default: 3.49 M parameters of the
    UNet and 0.29 M of the merging convolution.

    Args:
        in_channels (int): Channels of the noisy latent and of the output; 8 = 4 of the mask and
            4 of the edge. Defaults to 8.
        condition_channels (int): Channels of the condition. Defaults to 128.
        block_out_channels (tuple[int, ...]): Widths of the UNet's levels. Defaults to (128,).
        layers_per_block (int): Number of residual layers per block. Defaults to 2.
        norm_num_groups (int): Number of groups of the group norms. Defaults to 32.
        attention_head_dim (int | None): Channels per attention head in the mid block. Defaults
            to 8.
        add_attention (bool): Whether the mid block has attention. Defaults to True.
        dropout (float): Dropout rate of the residual layers. Defaults to 0.
        with_cp (bool): Whether training computes the blocks' activations again in the backward
            pass instead of keeping them. Defaults to False.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self,
        in_channels: int = 8,
        condition_channels: int = 128,
        block_out_channels: tuple[int, ...] = (128,),
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        attention_head_dim: int | None = 8,
        add_attention: bool = True,
        dropout: float = 0.0,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.condition_channels = condition_channels
        levels = len(block_out_channels)
        self.unet = UNet2DModel(
            in_channels=in_channels,
            out_channels=in_channels,
            block_out_channels=tuple(block_out_channels),
            down_block_types=('DownBlock2D',) * levels,
            up_block_types=('UpBlock2D',) * levels,
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            attention_head_dim=attention_head_dim,
            add_attention=add_attention,
            dropout=dropout,
        )
        if with_cp:
            self.unet.enable_gradient_checkpointing()
        width = block_out_channels[0]
        self.merge = nn.Conv2d(width + condition_channels, width, 3, padding=1, bias=False)
        # On CPUs this layout reduces the time of an evaluation to 4/5.
        self.to(memory_format=torch.channels_last)

    def project(self, condition: Tensor) -> Tensor:
        """Compute the condition's part of the merging, which all steps and members share.

        Args:
            condition (Tensor): (B, condition_channels, h, w) image features.

        Returns:
            Tensor: (B, width, h, w) condition for :meth:`forward` with ``projected=True``.
        """
        weight = self.merge.weight[:, self.unet.conv_in.out_channels :]
        return F.conv2d(condition, weight, padding=1)

    def _merge(self, hidden: Tensor, condition: Tensor, projected: bool) -> Tensor:
        if not projected:
            return self.merge(torch.cat([hidden, condition], dim=1))
        hidden = F.conv2d(hidden, self.merge.weight[:, : hidden.shape[1]], padding=1)
        # Broadcast over the members: the condition is neither convolved nor copied for each.
        return (hidden.unflatten(0, (-1, len(condition))) + condition).flatten(0, 1)

    def forward(
        self, latents: Tensor, timesteps: Tensor, condition: Tensor, projected: bool = False
    ) -> Tensor:
        """Run one evaluation.

        Args:
            latents (Tensor): (B, C, h, w) noisy latents; (N B, C, h, w) of N members, member by
                member, if the condition is projected.
            timesteps (Tensor): (B,) timesteps or a scalar, 0..T-1.
            condition (Tensor): (B, condition_channels, h, w) image features, or the output of
                :meth:`project` for them.
            projected (bool): Whether ``condition`` is the output of :meth:`project`. Defaults to
                False.

        Returns:
            Tensor: Output in the latents' shape and the parameterization that the network is
            trained in.
        """
        unet = self.unet
        timesteps = timesteps.expand(len(latents))
        embedding = unet.time_embedding(unet.time_proj(timesteps).to(latents.dtype))
        hidden = self._merge(unet.conv_in(latents), condition, projected)
        residuals = [hidden]
        for block in unet.down_blocks:
            hidden, skips = block(hidden, embedding)
            residuals += skips
        hidden = unet.mid_block(hidden, embedding)
        for block in unet.up_blocks:
            count = len(block.resnets)
            # An odd level is one pixel larger after upsampling.
            hidden = hidden[..., : residuals[-1].shape[-2], : residuals[-1].shape[-1]]
            hidden = block(hidden, tuple(residuals[-count:]), embedding)
            residuals = residuals[:-count]
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
