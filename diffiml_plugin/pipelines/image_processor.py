"""Images before and after the network."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from mmengine.dataset import pseudo_collate
from PIL import Image
from torch import Tensor, nn

from ..apis.batching import View, make_batches, preparation
from ..apis.photo_search import find_photos
from ..apis.photos import PhotoSource, read_photo
from ..apis.prediction import Failure
from ..errors import UserError
from ..tiling import Cutting

PipelineImage: TypeAlias = Image.Image | np.ndarray | Tensor | str | Path
OUTPUT_TYPES = ('np', 'pil', 'pt')


class DiffIMLImageProcessor(VaeImageProcessor):
    """Turns images into the encoder's inputs, and maps into what users asked for.

    Args:
        data_preprocessor (nn.Module): Normalization and padding of MMSegmentation.
        test_pipeline (Sequence[dict]): Configs of the test transforms.
        vae_scale_factor (int): Stride of the latents. Defaults to 8.
    """

    def __init__(
        self,
        data_preprocessor: nn.Module,
        test_pipeline: Sequence[dict],
        vae_scale_factor: int = 8,
    ) -> None:
        super().__init__(do_resize=False, do_normalize=False, vae_scale_factor=vae_scale_factor)
        self.data_preprocessor = data_preprocessor
        self.prepare = preparation(test_pipeline)

    def load(self, image: PipelineImage | Sequence[PipelineImage]) -> list[PhotoSource]:
        """Return single images: files, uint8 RGB arrays and Pillow images.

        Args:
            image: Image or images, as for the pipeline.

        Raises:
            UserError: If a tensor has another shape, floats do not lie in 0..1, or a folder or a
                pattern has no image.
        """
        return [source for source, _ in find_photos(_as_list(image))]

    def preprocess(self, image: PipelineImage | Sequence[PipelineImage], **_: Any) -> Tensor:
        """Turn images of one size into the encoder's input.

        Args:
            image: Image or images, as for the pipeline.

        Returns:
            Tensor: (B, 3, H, W) normalized images.

        Raises:
            UserError: If an image cannot be read, or the images differ in size.
        """
        photos = [read_photo(source, 'rgb') for source in self.load(image)]
        data = [self.prepare(photo.pixels) for photo in photos]
        if len({tuple(one['inputs'].shape) for one in data}) != 1:
            raise UserError('preprocess needs images of one size: give them one by one')
        return self.data_preprocessor(pseudo_collate(data), False)['inputs']

    def batches(
        self, sources: Sequence[PhotoSource], cutting: Cutting, batch_size: int
    ) -> Iterator[list[View]]:
        """Cut images into views of the network's size, and batch views of one size.

        Args:
            sources (Sequence): Single images.
            cutting (Cutting): Size of the tiles.
            batch_size (int): Largest number of views in a batch.

        Raises:
            UserError: If an image cannot be read, or a number is out of range.
        """
        if batch_size < 1:
            raise UserError(f'batch_size must be at least 1, got {batch_size}')
        read = partial(read_photo, channel_order='rgb')
        for views in make_batches(sources, read, self.prepare, cutting, batch_size):
            if isinstance(views, Failure):
                raise UserError(views.reason)
            yield views

    def postprocess(
        self, image: Tensor, output_type: str = 'np', do_denormalize: list[bool] | None = None
    ) -> list:
        """Turn (B, 1, H, W) maps into B (H, W) arrays or tensors, or gray Pillow images.

        Args:
            image (Tensor): (B, 1, H, W) maps in 0..1.
            output_type (str): 'np', 'pil' or 'pt'. Defaults to 'np'.
            do_denormalize (list[bool], optional): As in diffusers. Defaults to no.

        Raises:
            UserError: If ``output_type`` is another one.
        """
        if output_type not in OUTPUT_TYPES:
            raise UserError(
                f'output_type must be one of {", ".join(OUTPUT_TYPES)}, got {output_type!r}'
            )
        maps = super().postprocess(image, output_type, do_denormalize)
        if output_type == 'pil':
            return maps
        if output_type == 'pt':
            return list(maps[:, 0])
        # diffusers returns floats; masks are integers.
        return list(maps[..., 0].astype(np.uint8 if image.dtype == torch.uint8 else np.float32))


def _as_list(image: Any) -> list:
    """Convert the pipeline's input to a list of single images."""
    if isinstance(image, Tensor):
        image = image[None] if image.ndim == 3 else image
        if image.ndim != 4 or image.shape[1] != 3:
            raise UserError(f'a tensor must be (3, H, W) or (B, 3, H, W), got {tuple(image.shape)}')
        return [_as_uint8(one.permute(1, 2, 0).float().cpu().numpy()) for one in image]
    if isinstance(image, np.ndarray):
        images = image if image.ndim == 4 else image[None]
        return [_as_uint8(one) for one in images]
    if isinstance(image, Sequence) and not isinstance(image, str):
        return [one for part in image for one in _as_list(part)]
    return [image]


def _as_uint8(array: np.ndarray) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    if array.min() < 0 or array.max() > 1:
        raise UserError(
            f'floats must lie in 0..1, got {array.min():g} to {array.max():g}: 0..255 is for uint8'
        )
    return (255 * array).round().astype(np.uint8)
