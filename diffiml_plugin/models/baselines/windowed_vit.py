"""Plain vision transformer with windowed attention (ViTDet, Li et al. 2022; IML-ViT)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmengine.runner.checkpoint import CheckpointLoader, load_state_dict
from mmseg.registry import MODELS
from torch import Tensor, nn


class RelativeAttention(nn.Module):
    """Multi-head attention on a grid of tokens with decomposed relative positions.

    Args:
        dims (int): Number of channels.
        heads (int): Number of attention heads.
        size (int): Side of the grid for which positions are learned; they are interpolated for
            grids of other sizes.
    """

    def __init__(self, dims: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dims, 3 * dims)
        self.proj = nn.Linear(dims, dims)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, dims // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, dims // heads))

    @staticmethod
    def _positions(table: Tensor, side: int) -> Tensor:
        """Look up the (side, side, C) embeddings of the positions of query minus key."""
        if len(table) != 2 * side - 1:
            table = F.interpolate(table.T[None], 2 * side - 1, mode='linear')[0].T
        index = torch.arange(side, device=table.device)
        return table[index[:, None] - index + side - 1]

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend over (B, H, W, C) tokens."""
        height, width = tokens.shape[1:3]
        qkv = self.qkv(tokens).flatten(1, 2).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        grid = query.unflatten(2, (height, width))
        down = torch.einsum(
            'bnhwc,hkc->bnhwk', grid, self._positions(self.rel_pos_h, height).to(query)
        )
        right = torch.einsum(
            'bnhwc,wkc->bnhwk', grid, self._positions(self.rel_pos_w, width).to(query)
        )
        bias = (down.unsqueeze(-1) + right.unsqueeze(-2)).flatten(4).flatten(2, 3)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape(len(tokens), height, width, -1))


class WindowedBlock(nn.Module):
    """Transformer block; ``window`` 0 attends over the whole grid."""

    def __init__(
        self, dims: int, heads: int, size: int, window: int, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dims, eps=1e-6)
        self.attn = RelativeAttention(dims, heads, window or size)
        self.norm2 = nn.LayerNorm(dims, eps=1e-6)
        hidden = int(dims * mlp_ratio)
        self.mlp = nn.Sequential()
        self.mlp.add_module('fc1', nn.Linear(dims, hidden))
        self.mlp.add_module('act', nn.GELU())
        self.mlp.add_module('fc2', nn.Linear(hidden, dims))
        self.drop_path = DropPath(drop_path)

    def _attend(self, tokens: Tensor) -> Tensor:
        if not self.window:
            return self.attn(tokens)
        side = self.window
        _batch, height, width, _ = tokens.shape
        padded = F.pad(tokens, (0, 0, 0, -width % side, 0, -height % side))
        grid = padded.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        out = self.attn(grid.flatten(0, 2)).unflatten(0, grid.shape[:3])
        return out.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :height, :width]

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform (B, H, W, C) tokens into tokens of the same shape."""
        tokens = tokens + self.drop_path(self._attend(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


@MODELS.register_module()
class WindowedViT(BaseModule):
    """ViT-B/16 whose blocks attend within windows, except for some that attend globally.

    MAE's checkpoints fit except for the relative positions; ``init_cfg`` of type 'Pretrained'
    loads them as published, with the weights under the key ``model``.

    Args:
        img_size (int): Side of the input for which relative positions of the global blocks are
            learned. Defaults to 1024.
        patch_size (int): Side of a patch in pixels. Defaults to 16.
        embed_dims (int): Channels of a token. Defaults to 768.
        num_layers (int): Number of blocks. Defaults to 12.
        num_heads (int): Number of attention heads per block. Defaults to 12.
        mlp_ratio (float): Ratio of the MLP's hidden channels to ``embed_dims``. Defaults to 4.
        window_size (int): Side of a window in tokens. Defaults to 14.
        global_layers (Sequence[int]): Indices of the blocks that attend globally. Defaults to
            (2, 5, 8, 11).
        pretrain_img_size (int): Side for which absolute positions are learned. Defaults to 224.
        drop_path_rate (float): Drop path rate of the last block. Defaults to 0.1.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self,
        img_size: int = 1024,
        patch_size: int = 16,
        embed_dims: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        window_size: int = 14,
        global_layers: Sequence[int] = (2, 5, 8, 11),
        pretrain_img_size: int = 224,
        drop_path_rate: float = 0.1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.patch_embed = nn.Sequential()
        self.patch_embed.add_module('proj', nn.Conv2d(3, embed_dims, patch_size, patch_size))
        side = pretrain_img_size // patch_size
        # One more for the class token of the checkpoints; it is not used.
        self.pos_embed = nn.Parameter(torch.zeros(1, side**2 + 1, embed_dims))
        trunc_normal_(self.pos_embed, std=0.02)
        rates = torch.linspace(0, drop_path_rate, num_layers).tolist()
        self.blocks = nn.ModuleList(
            WindowedBlock(
                embed_dims,
                num_heads,
                img_size // patch_size,
                0 if index in global_layers else window_size,
                mlp_ratio,
                rate,
            )
            for index, rate in enumerate(rates)
        )

    def init_weights(self) -> None:
        """Load the checkpoint of ``init_cfg``."""
        if (self.init_cfg or {}).get('type') != 'Pretrained':
            super().init_weights()
            return
        weights = CheckpointLoader.load_checkpoint(self.init_cfg['checkpoint'], map_location='cpu')
        # MMEngine only looks for 'state_dict' and would load nothing.
        weights = weights.get('model', weights.get('state_dict', weights))
        load_state_dict(self, weights, strict=False, logger='current')

    def _positions(self, height: int, width: int) -> Tensor:
        grid = self.pos_embed[:, 1:]
        side = int(grid.shape[1] ** 0.5)
        grid = grid.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        if grid.shape[-2:] != (height, width):
            grid = F.interpolate(grid, (height, width), mode='bicubic', align_corners=False)
        return grid.permute(0, 2, 3, 1)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return one (B, C, H / 16, W / 16) map."""
        tokens = self.patch_embed(images).permute(0, 2, 3, 1)
        tokens = tokens + self._positions(*tokens.shape[1:3])
        for block in self.blocks:
            tokens = block(tokens)
        return (tokens.permute(0, 3, 1, 2),)
