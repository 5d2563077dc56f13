"""Where the noise of a call comes from."""

from collections.abc import Sequence
from itertools import product

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ..errors import UserError
from ..models.diffiml.sampler import DiffusionSampler


class NoiseSource:
    """Gives the solver its noise: given latents, generators, or the seed and an image's pixels.

    Args:
        solver (DiffusionSampler): Solver, with seed and ensemble size.
        latents (Tensor | Sequence[Tensor], optional): Standard normal noise: one (N, C, h, w)
            tensor of the N members per image, or all of them in a (B N, C, h, w) tensor, image by
            image.
        generator (torch.Generator | Sequence[torch.Generator], optional): Generator from which the
            images draw one after the other, or one generator per image.
        images (int): Number B of images.

    Raises:
        UserError: If latents or generators are not as described.
    """

    def __init__(
        self,
        solver: DiffusionSampler,
        latents: Tensor | Sequence[Tensor] | None,
        generator: torch.Generator | Sequence[torch.Generator] | None,
        images: int,
    ) -> None:
        self.solver = solver
        self.members = solver.settings.ensemble_size
        self._latents = None if latents is None else self._per_image(latents, images)
        self._generators = None if generator is None else _generators(generator, images)

    def _per_image(self, latents: Tensor | Sequence[Tensor], images: int) -> list[Tensor]:
        if isinstance(latents, Tensor):
            if latents.ndim != 4 or len(latents) != images * self.members:
                raise UserError(
                    f'latents must be ({images * self.members}, C, h, w) for {images} images and '
                    f'{self.members} members, got {tuple(latents.shape)}'
                )
            return list(latents.split(self.members))
        if len(latents) != images or not all(isinstance(one, Tensor) for one in latents):
            raise UserError(
                f'latents must be one tensor per image: {len(latents)} for {images} images'
            )
        return list(latents)

    def draw(
        self, images: Sequence[int], identities: Sequence[str], shape: Sequence[int]
    ) -> Tensor:
        """Return the (N B, *shape) standard normal noise of a batch, member by member.

        Args:
            images (Sequence[int]): Number of the image of each input in the batch.
            identities (Sequence[str]): Identity of each input.
            shape (Sequence[int]): Shape of the noise of one input and member.

        Raises:
            UserError: If the given latents have another shape.
        """
        wanted = (self.members, *shape)
        if self._latents is not None:
            noise = [self._latents[image] for image in images]
            if wrong := [tuple(one.shape) for one in noise if one.shape != wanted]:
                raise UserError(f'latents of an image must be {wanted}, got {wrong[0]}')
        elif self._generators is not None:
            # Each input draws by itself, so that a batch equals its images one by one.
            noise = [
                randn_tensor(wanted, generator=one, device=one.device)
                for one in (self._generators[image] for image in images)
            ]
        else:
            return self.solver.draw_noise(identities, shape)
        return torch.stack(noise, dim=1).flatten(0, 1)

    def generators(self, images: Sequence[int], identities: Sequence[str]) -> list[torch.Generator]:
        """Return the generator of each latent, member by member, for stochastic solvers."""
        if self._generators is not None:
            return [self._generators[image] for _ in range(self.members) for image in images]
        return self.solver.generators(list(product(range(self.members), identities)))


def _generators(
    generator: torch.Generator | Sequence[torch.Generator], images: int
) -> list[torch.Generator]:
    if isinstance(generator, torch.Generator):
        return [generator] * images
    generators = list(generator) if isinstance(generator, Sequence) else [generator]
    wrong = [type(one).__name__ for one in generators if not isinstance(one, torch.Generator)]
    if wrong:
        raise UserError(f'generator must be torch.Generators, got {wrong[0]}')
    if len(generators) != images:
        raise UserError(f'{len(generators)} generators for {images} images: give one per image')
    return generators
