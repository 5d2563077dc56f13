"""One exported file against PyTorch: in Python without torch, and on the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.apis import DiffIMLInferencer, OnnxInferencer, onnx_export
from diffiml_plugin.cli import main
from diffiml_plugin.errors import UserError
from diffiml_plugin.onnx import Localizer
from diffiml_plugin.onnx.description import KEY

pytest.importorskip('onnxruntime', reason='the extra `onnx` is not installed')
pytest.importorskip('onnxscript', reason='the extra `onnx` is not installed')

# The import of these packages fails in the subprocess.
BLOCKED = (
    'torch', 'mmengine', 'mmcv', 'mmseg', 'diffusers', 'cv2', 'scipy', 'skimage', 'sklearn',
    'matplotlib', 'rich', 'safetensors', 'onnxscript',
)  # fmt: skip
LIGHT = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition('.')[0]
        if top in {BLOCKED}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=top)

sys.meta_path.insert(0, Blocker())
import numpy as np
from diffiml_plugin.onnx import Localizer

result = Localizer(sys.argv[1], threads=1)(sys.argv[2])
np.savez(sys.argv[3], probability=result.probability, edge=result.edge, score=result.score)
try:
    import diffiml_plugin.apis
except ModuleNotFoundError as error:
    print(error.name in {BLOCKED})
"""


@pytest.fixture(scope='module')
def onnx_file(tmp_path_factory) -> Path:
    """The shipped model, exported by the command."""
    path = tmp_path_factory.mktemp('onnx') / 'shipped.onnx'
    assert main(['export', str(path), '--name', 'shipped']) == 0
    return path


@pytest.fixture(scope='module')
def localizer(onnx_file) -> Localizer:
    return Localizer(onnx_file, threads=1)


@pytest.fixture(scope='module')
def inferencer() -> DiffIMLInferencer:
    return DiffIMLInferencer(device='cpu', show_progress=False)


def drawn(height: int, width: int) -> np.ndarray:
    """Draw an (H, W, 3) RGB image with structure at several scales, and a smoother square."""
    rng = np.random.default_rng(height * width)
    image = rng.normal(0, 8, (height, width, 3))
    for side in (3, 9, 31):
        coarse = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        image += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) / 3
    image[height // 4 : height // 2, width // 4 : width // 2] = 90
    return image.clip(0, 255).astype(np.uint8)


# Odd sizes, less than one latent pixel, larger than the box of the test pipeline, and tiles.
@pytest.mark.parametrize(
    'size, options',
    [
        ((128, 128), {}),
        ((97, 131), dict(seed=5)),
        ((5, 9), {}),
        ((250, 1041), {}),
        ((150, 203), dict(tile=64)),
        ((130, 90), dict(tile=96, overlap=8)),
        ((200, 700), dict(tile=300)),
        ((100, 700), dict(tile=650, full_resolution=True)),
    ],
)
def test_maps_and_score_are_those_of_pytorch(localizer, inferencer, size, options):
    image = drawn(*size)
    (expected,) = inferencer(image, channel_order='rgb', **options)['predictions']
    actual = localizer(image, **options)
    for name in ('probability', 'edge', 'uncertainty'):
        ours, theirs = getattr(actual, name), getattr(expected, name)
        assert ours.dtype == np.float32 and ours.shape == theirs.shape == size
        assert np.abs(ours - theirs).max() < 1e-4, name
    assert actual.score == pytest.approx(expected.score, abs=1e-4)
    assert actual.threshold == expected.threshold
    # A tile's score is not calibrated.
    assert actual.score_is_probability == expected.score_is_probability == ('tile' not in options)
    assert (actual.mask == (actual.probability > actual.threshold)).all()


def test_noise_follows_the_seed_and_the_pixels(localizer):
    image = drawn(64, 80)
    first = localizer(image)
    assert (localizer(Image.fromarray(image)).probability == first.probability).all()
    assert (localizer(image, seed=1).probability != first.probability).any()
    low = localizer(image, threshold=0.01)
    assert (low.mask == (first.probability > 0.01)).all() and low.threshold == 0.01


def test_it_runs_without_torch(localizer, onnx_file, tmp_path, run_env):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(drawn(72, 100)).save(tmp_path / 'a.jpg', exif=exif)
    command = [sys.executable, '-c', LIGHT, onnx_file, tmp_path / 'a.jpg', tmp_path / 'out.npz']
    done = subprocess.run(command, env=run_env, capture_output=True, text=True)
    assert done.stdout.strip() == 'True' and done.returncode == 0, done.stderr
    expected, actual = localizer(tmp_path / 'a.jpg'), np.load(tmp_path / 'out.npz')
    assert actual['probability'].shape == (100, 72)
    for name in ('probability', 'edge', 'score'):
        assert np.abs(actual[name] - getattr(expected, name)).max() < 1e-6


def test_the_command_writes_what_it_writes_with_pytorch(onnx_file, tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 8
    photo = tmp_path / 'a.png'
    Image.fromarray(drawn(90, 120)).save(photo, exif=exif)
    options = [str(photo), '--overlay', '--csv', '--max-size', '100', '--seed', '3', '--out']
    assert main(['predict', *options, str(tmp_path / 'torch'), '--device', 'cpu']) == 0
    model = ['--model', str(onnx_file), '--backend', 'onnx']
    assert main(['predict', *options, str(tmp_path / 'onnx'), *model]) == 0
    torch, onnx = (
        {path.name: path for path in (tmp_path / name).iterdir()} for name in ('torch', 'onnx')
    )
    assert torch.keys() == onnx.keys() and len(onnx) == 6
    for name in onnx:
        if name.endswith(('mask.png', 'probability.png', 'overlay.png')):
            ours, theirs = (
                np.asarray(Image.open(files[name])).astype(int) for files in (torch, onnx)
            )
            assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= 1
    ours, theirs = (json.loads(files['a.png.json'].read_text()) for files in (onnx, torch))
    assert ours.keys() == theirs.keys()
    assert ours['score'] == pytest.approx(theirs['score'], abs=1e-4)
    known, other = ours['provenance'], theirs['provenance']
    assert known['weights_sha256'] == other['model_sha256']
    for key in ('input_sha256', 'config_sha256', 'seed', 'settings'):
        assert known[key] == other[key], key
    capsys.readouterr()
    assert main(['predict', *options, str(tmp_path / 'onnx'), *model, '--skip-existing']) == 0
    assert 'skipped 1 image: outputs already exist' in capsys.readouterr().out


@pytest.mark.parametrize(
    'options, words',
    [
        (['--steps', '2'], '--steps does not go with an ONNX file'),
        (['--ensemble-size', '2'], '--ensemble-size does not go with an ONNX file'),
        (['--trajectory'], '--trajectory does not go with an ONNX file'),
        (['--weights', 'a.pth'], '--weights does not go with an ONNX file'),
        (['--device', 'cuda'], 'runs on the CPU'),
        (['--backend', 'torch'], 'cannot run an ONNX file'),
        (['--threshold', '2'], 'threshold must lie in 0..1'),
        (['--model', 'none.onnx'], "'none.onnx' does not exist"),
        (['--model', 'none', '--backend', 'onnx'], '--backend onnx needs --model FILE.onnx'),
    ],
)
def test_wrong_combinations_are_refused(onnx_file, tmp_path, capsys, options, words):
    command = ['predict', 'a.jpg', '--out', str(tmp_path / 'out'), '--model', str(onnx_file)]
    assert main([*command, *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_python_gets_failures_and_refuses_fixed_settings(onnx_file, tmp_path):
    inferencer = OnnxInferencer(onnx_file, threads=1)
    with pytest.raises(UserError, match='num_inference_steps cannot be changed'):
        inferencer.stream([], num_inference_steps=2)
    outcomes = list(inferencer.stream([tmp_path / 'no.jpg', drawn(40, 48)]))
    assert outcomes[0].reason == "'no.jpg' does not exist"
    assert outcomes[1].probability.shape == (40, 48) and outcomes[1].name == 'image'


def test_other_files_are_refused(onnx_file, tmp_path):
    import onnx

    (tmp_path / 'text.onnx').write_text('no model')
    model = onnx.load(onnx_file)
    (entry,) = (entry for entry in model.metadata_props if entry.key == KEY)
    assert json.loads(entry.value)['name'] == 'shipped'
    model.metadata_props.remove(entry)
    onnx.save(model, tmp_path / 'foreign.onnx')
    for name, words in {
        'none.onnx': 'does not exist',
        'text.onnx': "'text.onnx' cannot be read as ONNX",
        'foreign.onnx': 'was not written by `diffiml export`',
    }.items():
        with pytest.raises(UserError, match=words):
            Localizer(tmp_path / name)
    with pytest.raises(UserError, match='threads must be at least 1'):
        Localizer(onnx_file, threads=0)


def test_what_cannot_be_exported_is_said(tmp_path, capsys):
    assert main(['export', str(tmp_path / 'a.txt')]) == 2
    assert 'must end in .onnx' in capsys.readouterr().err
    within = dict(type='FitWithin', scale=(20, 10))
    assert onnx_export._resizing([within]) == ('within', (10, 20))
    exact = dict(type='Resize', scale=(20, 10), keep_ratio=False)
    assert onnx_export._resizing([exact, dict(type='PackSegInputs')]) == ('exact', (10, 20))
    assert onnx_export._resizing([exact | dict(keep_ratio=True)]) == ('ratio', (10, 20))
    assert onnx_export._resizing([dict(type='LoadImageFromFile')]) == (None, (0, 0))
    other = exact | dict(interpolation='nearest')
    for steps in ([dict(type='Perturb')], [within, within], [other]):
        with pytest.raises(UserError, match='of the test pipeline cannot be exported'):
            onnx_export._resizing(steps)
