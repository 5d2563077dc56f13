"""Latents and generators of a call."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.sampler import identity_noise, pixel_hash

OPTIONS = dict(ensemble_size=2, noise_scale=1.0)


def test_latents_replace_the_drawn_noise(pipe, small, noise):
    drawn = pipe(small, generator=torch.Generator().manual_seed(7), **OPTIONS)
    for latents in (noise(7, 2), [noise(7, 2)]):
        given = pipe(small, latents=latents, **OPTIONS)
        assert (given.probabilities[0] == drawn.probabilities[0]).all()
        assert (given.uncertainties[0] == drawn.uncertainties[0]).all()
    other = pipe(small, latents=noise(8, 2), **OPTIONS)
    assert (other.probabilities[0] != drawn.probabilities[0]).any()


def test_without_any_the_noise_depends_on_the_pixels(pipe, small):
    bgr = torch.from_numpy(np.ascontiguousarray(small[..., ::-1]).transpose(2, 0, 1).copy())
    shape = (pipe.network.decode_head.codec.channels, 6, 8)
    latents = torch.cat([identity_noise([pixel_hash(bgr)], shape, 3, member) for member in (0, 1)])
    expected = pipe(small, seed=3, **OPTIONS).probabilities[0]
    assert (pipe(small, latents=latents, **OPTIONS).probabilities[0] == expected).all()


@pytest.mark.parametrize('batch_size', [1, 2])
def test_a_batch_equals_its_images_one_by_one(pipe, small, noise, batch_size):
    images, seeds = [small, small[::-1].copy()], (7, 8)

    def generators(*seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    options = OPTIONS | dict(batch_size=batch_size)
    drawn = pipe(images, generator=generators(*seeds), **options).probabilities
    latents = torch.cat([noise(seed, 2) for seed in seeds])
    given = pipe(images, latents=latents, **options).probabilities
    for index, seed in enumerate(seeds):
        alone = pipe(images[index], generator=generators(seed), **OPTIONS).probabilities[0]
        assert np.abs(drawn[index] - alone).max() <= 1e-5
        assert np.abs(given[index] - alone).max() <= 1e-5


def test_one_generator_draws_for_one_image_after_the_other(pipe, small):
    images = [small, small[::-1].copy()]
    both = pipe(images, generator=torch.Generator().manual_seed(7), **OPTIONS).probabilities
    generator = torch.Generator().manual_seed(7)
    for image, expected in zip(images, both, strict=True):
        assert (pipe(image, generator=generator, **OPTIONS).probabilities[0] == expected).all()


def test_stochastic_solvers_draw_from_the_generators(pipe, small):
    usual = pipe.scheduler
    pipe.scheduler = DDPMScheduler.from_config(usual.config)
    try:

        def run(seed):
            generator = torch.Generator().manual_seed(seed)
            options = dict(num_inference_steps=3, latents=torch.zeros(1, 32, 6, 8))
            return pipe(small, generator=generator, **options).probabilities[0]

        assert (run(1) == run(1)).all() and (run(1) != run(2)).any()
    finally:
        pipe.scheduler = usual


@pytest.mark.parametrize(
    'latents, words',
    [
        (torch.zeros(3, 32, 6, 8), r'must be \(2, C, h, w\) for 1 images and 2 members'),
        ([torch.zeros(2, 32, 6, 8)] * 2, 'one tensor per image: 2 for 1'),
        (torch.zeros(2, 32, 6, 9), r'must be \(2, 32, 6, 8\), got \(2, 32, 6, 9\)'),
    ],
)
def test_latents_of_another_shape_are_refused(pipe, small, latents, words):
    with pytest.raises(UserError, match=words):
        pipe(small, latents=latents, **OPTIONS)
