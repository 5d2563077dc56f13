"""What exported files say about themselves, and what damaged ones may not say."""

import json
from dataclasses import asdict, replace

import pytest
from mmcv.image.geometric import rescale_size

from diffiml_plugin.errors import UserError
from diffiml_plugin.onnx import Description
from diffiml_plugin.onnx.description import FORMAT, KEY, read_description

GOOD = Description(
    name='test', threshold=0.5, score_is_probability=True, resize='within', resize_to=(1024, 800),
    size_divisor=8, latent_channels=32, latent_stride=8, ensemble_size=1, num_inference_steps=1,
    noise_scale=0.25, seed=0, weights_sha256='a', config_sha256='b',
)  # fmt: skip


def test_descriptions_survive_the_file():
    assert read_description({KEY: GOOD.text()}, 'a.onnx') == GOOD


@pytest.mark.parametrize(
    'change',
    [
        dict(threshold=2), dict(threshold=None), dict(resize='any'), dict(resize_to=[1]),
        dict(resize_to=[0, 10]), dict(resize_to=None), dict(size_divisor=0),
        dict(latent_channels=10**9), dict(latent_stride=True), dict(ensemble_size='2'),
        dict(seed=0.5), dict(noise_scale='x'), dict(name=None), dict(score_is_probability=1),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_values_are_refused(change):
    text = json.dumps(asdict(GOOD) | change)
    with pytest.raises(UserError, match="description of 'a.onnx' is damaged"):
        read_description({KEY: text}, 'a.onnx')


def test_other_files_and_formats_are_refused():
    with pytest.raises(UserError, match='was not written by `diffiml export`'):
        read_description({}, 'a.onnx')
    for text in ('', '[]', '{}', '[' * 100_000):
        with pytest.raises(UserError, match='is damaged'):
            read_description({KEY: text}, 'a.onnx')
    other = json.dumps(asdict(GOOD) | dict(format=FORMAT + 1))
    with pytest.raises(UserError, match=f'has format {FORMAT + 1}, this version reads {FORMAT}'):
        read_description({KEY: other}, 'a.onnx')


def test_sizes_are_those_of_mmcv():
    for height, width in ((800, 1000), (1025, 10), (801, 801), (3000, 4000), (4000, 3001)):
        wide, tall = rescale_size((width, height), (800, 1024))
        expected = (height, width) if height <= 1024 and width <= 800 else (tall, wide)
        assert GOOD.input_size(height, width) == expected
        assert replace(GOOD, resize='ratio').input_size(height, width) == (tall, wide)
    assert GOOD.input_size(5, 10_000) == (1, 1024)
    assert replace(GOOD, resize='exact').input_size(3, 4) == (1024, 800)
    assert replace(GOOD, resize=None).input_size(3000, 4) == (3000, 4)
    assert GOOD.noise_shape(9, 8) == (32, 2, 1)
    assert replace(GOOD, size_divisor=32).noise_shape(9, 8) == (32, 4, 4)
