"""Export to ONNX, run with onnxruntime, against the inferencer."""

import numpy as np
import pytest
import torch

from diffiml_plugin.apis import DiffIMLInferencer
from diffiml_plugin.models.diffiml.sampler import identity_noise, pixel_hash

onnxruntime = pytest.importorskip('onnxruntime', reason='the extra `onnx` is not installed')
TOOL = 'tools/model_converters/to_onnx.py'
CONFIG = 'configs/diffiml/diffiml_demo.py'


def test_exported_files_predict_like_the_model(random_checkpoint, run_tool, tmp_path):
    weights = random_checkpoint(CONFIG)
    printed = run_tool(TOOL, CONFIG, weights, tmp_path)
    assert printed.count('largest difference from PyTorch') == 3
    run = {
        name: onnxruntime.InferenceSession(tmp_path / f'{name}.onnx').run
        for name in ('encoder', 'denoiser', 'decoder')
    }
    # A size that differs from that of the export.
    bgr = np.random.default_rng(0).integers(0, 256, (200, 160, 3), dtype=np.uint8)
    packed = torch.from_numpy(bgr).permute(2, 0, 1)
    image = packed.flip(0)[None].float().numpy()
    (condition,) = run['encoder'](None, dict(image=image))
    noise = identity_noise([pixel_hash(packed)], (32, *condition.shape[-2:]), 0, 0)
    # One DDIM step of a network that predicts the clean latents gives its prediction.
    inputs = dict(latents=0.25 * noise.numpy(), timestep=np.array([999]), condition=condition)
    (latents,) = run['denoiser'](None, inputs)
    inferencer = DiffIMLInferencer(CONFIG, weights, 'cpu', show_progress=False)
    (found,) = inferencer(bgr, ensemble_size=1)['predictions']
    for part, expected in ((latents[:, :16], found.probability), (latents[:, 16:], found.edge)):
        (logits,) = run['decoder'](None, dict(latents=part))
        assert np.abs(1 / (1 + np.exp(-logits[0, 0])) - expected).max() < 1e-4


def test_fixed_sizes_and_wrong_usage(random_checkpoint, run_tool, tmp_path):
    weights = random_checkpoint(CONFIG)
    run_tool(TOOL, CONFIG, weights, tmp_path, '--size', 64, 96)
    session = onnxruntime.InferenceSession(tmp_path / 'encoder.onnx')
    assert session.get_inputs()[0].shape == [1, 3, 64, 96]
    twin = 'configs/twin/twin_demo.py'
    printed = run_tool(TOOL, twin, random_checkpoint(twin), tmp_path / 'no', status=1)
    assert 'it is not a DiffIML' in printed
    assert 'multiples of 8' in run_tool(
        TOOL, CONFIG, weights, tmp_path / 'no', '--size', 65, 96, status=2
    )
    assert not (tmp_path / 'no').exists()
