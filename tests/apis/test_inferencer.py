"""The inferencer with the model that comes with the package, and with hand-made ones."""

import functools
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint
from mmengine.structures import PixelData
from mmseg.registry import MODELS, TRANSFORMS
from PIL import Image

from diffiml_plugin import tiling
from diffiml_plugin.apis.inferencer import DiffIMLInferencer
from diffiml_plugin.apis.model import RELEASE, find_model, load_model
from diffiml_plugin.apis.photos import read_photo
from diffiml_plugin.apis.prediction import Failure, Prediction
from diffiml_plugin.engine.acceleration_hook import has_bfloat16
from diffiml_plugin.engine.conditions import get_test_set
from diffiml_plugin.errors import UserError
from diffiml_plugin.models.calibration import UNCALIBRATED


@pytest.fixture(scope='module')
def shipped() -> DiffIMLInferencer:
    return DiffIMLInferencer(device='cpu', show_progress=False)


@pytest.fixture(scope='module')
def photo(demo_data) -> Path:
    """A spliced image of the demo's test set, whose sides are not multiples of any stride."""
    return sorted((demo_data / 'test_seen/Tp').glob('*splice*'))[0]


def one(inferencer: DiffIMLInferencer, source: object, **kwargs: object) -> Prediction:
    (found,) = inferencer(source, **kwargs)['predictions']
    return found


def assert_same(first: Prediction, second: Prediction, tolerance: float = 0) -> None:
    for name in ('probability', 'edge', 'uncertainty', 'mask'):
        a, b = getattr(first, name), getattr(second, name)
        assert a.shape == b.shape and np.abs(a.astype(float) - b).max() <= tolerance, name
    assert abs(first.score - second.score) <= tolerance


def test_the_shipped_model_finds_manipulated_regions(shipped, demo_data):
    scores = []
    # Without local noise, of which the model finds little.
    kinds = ('*splice*', '*removal*', '*blur*')
    for path in sorted(p for kind in kinds for p in (demo_data / 'test_seen/Tp').glob(kind)):
        truth = cv2.imread(str(demo_data / f'test_seen/Gt/{path.stem}.png'), 0) > 127
        found = one(shipped, path)
        assert found.mask.shape == truth.shape
        both = (found.mask > 0) & truth
        scores.append(2 * both.sum() / (found.mask.sum() + truth.sum()))
    assert np.mean(scores) > 0.5


def test_file_array_pillow_and_a_renamed_copy_give_the_same(shipped, photo, tmp_path):
    reference = one(shipped, photo)
    copy = tmp_path / f'other{photo.suffix}'
    shutil.copy(photo, copy)
    bgr = read_photo(photo).pixels
    for source in (str(photo), copy, bgr, Image.open(photo)):
        assert_same(one(shipped, source), reference)
    assert_same(one(shipped, bgr[..., ::-1], channel_order='rgb'), reference)
    assert (reference.image == bgr[..., ::-1]).all()
    assert (reference.mask == (reference.probability > 0.5)).all()
    assert set(np.unique(reference.mask)) <= {0, 1} and reference.mask.dtype == np.uint8


def test_predictions_equal_those_of_the_segmentor(shipped, photo):
    source = find_model()
    model, cfg = load_model(source.config, source.weights)
    data = dict(img_path=str(photo))
    for step in get_test_set(cfg)['pipeline']:
        if step['type'] != 'LoadTamperingMask':
            data = TRANSFORMS.build(step)(data)
    with torch.inference_mode():
        (sample,) = model.test_step(pseudo_collate([data]))
    found = one(shipped, photo)
    for mine, theirs in (
        (found.probability, sample.seg_logits.data[0]),
        (found.edge, sample.pred_edge.data[0]),
        (found.uncertainty, sample.uncertainty.data[0]),
    ):
        assert np.abs(mine - theirs.numpy()).max() <= 1e-5
    assert found.score == pytest.approx(sample.pred_score, abs=1e-5)


def test_batch_size_changes_results_by_rounding_only(shipped, demo_data):
    folder = demo_data / 'test_seen'
    alone = shipped(folder / 'Tp')['predictions']
    together = shipped(folder / 'Tp', batch_size=4)['predictions']
    assert len(alone) == len(list((folder / 'Tp').iterdir()))
    for first, second in zip(alone, together, strict=True):
        assert first.name == second.name
        assert np.abs(first.probability - second.probability).max() < 1e-4


def test_settings_of_the_solver_last_for_one_call(shipped, photo):
    usual = one(shipped, photo)
    other = one(shipped, photo, seed=5, num_inference_steps=3, ensemble_size=4)
    assert np.abs(usual.probability - other.probability).max() > 1e-3
    settings = other.provenance['settings']
    assert settings['num_inference_steps'] == 3 and settings['ensemble_size'] == 4
    assert other.provenance['seed'] == 5 and usual.provenance['seed'] == 0
    assert_same(one(shipped, photo), usual)
    assert_same(one(shipped, photo, seed=5, num_inference_steps=3, ensemble_size=4), other)
    assert one(shipped, photo, ensemble_size=1).uncertainty.max() == 0
    low, high = (one(shipped, photo, threshold=t).mask.sum() for t in (0.1, 0.9))
    assert low >= usual.mask.sum() >= high and low > high


@pytest.mark.parametrize(
    'settings, calibrated',
    [
        ({}, True),
        (dict(seed=7, ensemble_size=2), True),
        (dict(num_inference_steps=1, ensemble_size=1, threshold=0.3, batch_size=2), True),
        # A tile that is not needed.
        (dict(tile=512), True),
        (dict(num_inference_steps=2), False),
        (dict(noise_scale=1.0), False),
        (dict(scheduler=dict(type='DPMSolverMultistepScheduler')), False),
        (dict(tile=64), False),
        (dict(tile=64, full_resolution=True), False),
    ],
)
def test_the_score_is_calibrated_for_whole_images_and_the_configured_solver(
    settings, calibrated, shipped, photo
):
    assert one(shipped, photo, **settings).score_is_probability == calibrated
    assert shipped.score_is_probability


def test_provenance_describes_input_and_weights(shipped, photo, tmp_path):
    found = one(shipped, photo).provenance
    weights = RELEASE / 'model/diffusion_pytorch_model.safetensors'
    assert found['input_sha256'] == hashlib.sha256(photo.read_bytes()).hexdigest()
    assert found['model_sha256'] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert found['input'] == photo.name and str(photo.parent) not in json.dumps(found)
    record = one(shipped, photo).record()
    assert json.loads(json.dumps(record)) == record
    # A changed setting of the model changes the hash of the config.
    source = find_model()
    source.config.merge_from_dict({'model.decode_head.sampler.noise_scale': 0.5})
    other = DiffIMLInferencer(source.config, source.weights, 'cpu', show_progress=False)
    changed = one(other, photo).provenance
    assert changed['model_sha256'] == found['model_sha256']
    assert changed['config_sha256'] != found['config_sha256']


@pytest.mark.parametrize('size', [(1, 1), (1, 40), (3, 2), (7, 129), (31, 33), (9000, 100)])
def test_images_of_any_size(shipped, size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = one(shipped, picture)
    for name in ('probability', 'edge', 'uncertainty', 'mask'):
        values = getattr(found, name)
        assert values.shape == size and np.isfinite(values).all()
    assert found.image.shape == (*size, 3) and 0 <= found.score <= 1
    assert found.overlay().shape == (*size, 3)


def test_results_follow_exif_orientation(shipped, photo, tmp_path):
    image = Image.open(photo).convert('RGB').crop((0, 0, 120, 72))
    image.save(tmp_path / 'plain.png')
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn clockwise
    image.save(tmp_path / 'turned.png', exif=exif)
    plain, turned = (one(shipped, tmp_path / f'{n}.png') for n in ('plain', 'turned'))
    assert plain.mask.shape == (72, 120) and turned.mask.shape == (120, 72)
    for name in ('probability', 'edge', 'uncertainty', 'mask', 'image'):
        assert (np.rot90(getattr(plain, name), -1) == getattr(turned, name)).all(), name


def test_mixed_precision_changes_little(shipped, photo, monkeypatch):
    mixed = DiffIMLInferencer(device='cpu', show_progress=False, amp='bf16')
    for inferencer in (shipped, mixed):  # bare: a calibration stretches low probabilities
        monkeypatch.setattr(inferencer.model.decode_head, 'calibration', UNCALIBRATED)
    exact, rounded = one(shipped, photo), one(mixed, photo)
    difference = np.abs(exact.probability - rounded.probability)
    assert 0 < difference.max() < 0.1 and difference.mean() < 0.01
    assert rounded.provenance['precision'] == 'bf16'
    assert exact.provenance['precision'] == 'float32'
    auto = DiffIMLInferencer(device='cpu', show_progress=False, amp='auto')
    assert auto.amp == ('bf16' if has_bfloat16() else None)
    with pytest.raises(UserError, match="amp must be 'bf16', 'auto' or None"):
        DiffIMLInferencer(amp='fp16')


# Tiles ------------------------------------------------------------------------------------------


@pytest.fixture
def bright(brightness) -> DiffIMLInferencer:
    return DiffIMLInferencer(brightness(), show_progress=False)


@pytest.mark.parametrize('size', [(50, 70), (64, 64), (131, 200)])
def test_tiles_of_a_pointwise_model_are_the_whole(bright, size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    whole = one(bright, picture, tile=None)
    assert np.abs(whole.probability - picture.mean(2) / 255).max() < 1e-6
    bright.model.seen.clear()
    tiled = one(bright, picture, tile=64, overlap=20, batch_size=3)
    assert np.abs(tiled.probability - whole.probability).max() < 1e-6
    assert tiled.score == pytest.approx(whole.probability.max())
    # The model gets nothing larger than a tile, and no larger batch than requested.
    assert max(n for n, *_ in bright.model.seen) <= 3
    assert max(max(shape) for _, _, *shape in bright.model.seen) <= 64


def test_large_images_are_tiled_unless_told_otherwise(bright, monkeypatch):
    monkeypatch.setattr(tiling, 'MAX_WHOLE', 64 * 64)
    monkeypatch.setattr(tiling, 'AUTO_TILE', 32)
    small, large = (np.zeros((64, side, 3), np.uint8) for side in (64, 65))
    assert one(bright, small).provenance['settings']['tile'] is None
    expected = dict(tile=32, overlap=8, max_size=None, full_resolution=False)
    assert one(bright, large).provenance['settings'] == expected
    assert one(bright, large, tile=None).provenance['settings']['tile'] is None


def test_tiles_of_the_shipped_model(shipped, demo_data):
    paths = sorted((demo_data / 'test_seen/Tp').glob('*splice*'))[:2]
    photos = [cv2.resize(read_photo(path).pixels, (128, 128)) for path in paths]
    large = np.concatenate([np.concatenate(photos, 1), np.concatenate(photos[::-1], 1)])
    # A tile of the image's size equals the whole image, with the same noise.
    assert_same(one(shipped, large, tile=256), one(shipped, large))
    tiled, whole = (one(shipped, large, tile=t, noise_scale=0.0) for t in (192, None))
    assert (tiled.mask == whole.mask).mean() > 0.9
    assert np.corrcoef(tiled.probability.ravel(), whole.probability.ravel())[0, 1] > 0.8


def test_tiles_are_cut_where_the_model_looks(brightness):
    model = brightness()
    pipeline = model.cfg.test_dataloader.dataset.pipeline
    pipeline.insert(1, dict(type='FitWithin', scale=(60, 60)))
    reducing = DiffIMLInferencer(model, show_progress=False)
    picture = np.random.default_rng(0).integers(0, 256, (90, 240, 3), dtype=np.uint8)
    whole = one(reducing, picture)
    model.seen.clear()
    # The network's input has 23 x 60 pixels, and its tiles show what the whole shows.
    tiled = one(reducing, picture, tile=20, overlap=4)
    assert max(max(shape) for _, _, *shape in model.seen) == 20
    assert tiled.probability.shape == (90, 240)
    assert np.abs(tiled.probability - whole.probability).max() < 0.01
    model.seen.clear()
    assert (one(reducing, picture, tile=60).probability == whole.probability).all()
    assert len(model.seen) == 1
    # Tiles of the photograph show every pixel, which a reduced photograph does not.
    detailed = one(reducing, picture, tile=60, full_resolution=True)
    assert np.abs(detailed.probability - picture.mean(2) / 255).max() < 1e-6
    assert np.abs(detailed.probability - whole.probability).max() > 0.1
    with pytest.raises(UserError, match='full_resolution needs a size of tiles'):
        reducing.stream([], full_resolution=True)


def test_large_images_are_shrunk_on_request(bright):
    picture = np.zeros((40, 90, 3), np.uint8)
    picture[:, 45:] = 255
    found = one(bright, picture, max_size=30)
    assert bright.model.seen[-1] == (1, 3, 13, 30)
    assert found.probability.shape == (40, 90)
    assert found.probability[:, :40].max() < 0.1 and found.probability[:, 50:].min() > 0.9


# Failures ---------------------------------------------------------------------------------------


def test_failures_come_in_their_place(bright, tmp_path):
    (tmp_path / 'text.png').write_text('no picture')
    good = np.full((20, 20, 3), 200, np.uint8)
    bad = np.zeros((20, 13, 3), np.uint8)
    sources = [good, tmp_path / 'text.png', good, good, tmp_path / 'gone.jpg', bad, good]
    kinds = [type(found) for found in bright.stream(sources, batch_size=4)]
    assert kinds == [Prediction, Failure, Prediction, Prediction, Failure, Failure, Prediction]
    found = bright(sources, batch_size=4, skip_errors=True)
    assert len(found['predictions']) == 4
    assert [failure.name for failure in found['failures']] == ['text.png', 'gone.jpg', 'image5']
    assert 'kernel size' in found['failures'][2].reason
    with pytest.raises(UserError, match="'text.png' is not an image"):
        bright(sources)


def test_a_failing_image_does_not_affect_its_batch(bright):
    good, bad = np.full((20, 13, 3), 200, np.uint8), np.zeros((20, 13, 3), np.uint8)
    calls = []

    def picky(data: dict) -> list:
        calls.append(len(data['inputs']))
        if any(image.max() == 0 for image in data['inputs']):
            raise RuntimeError('too dark')
        for sample in data['data_samples']:
            sample.seg_logits = PixelData(data=torch.ones(1, 20, 13))
        return data['data_samples']

    bright.model.test_step = picky
    found = list(bright.stream([good, bad, good], batch_size=3))
    assert [type(f) for f in found] == [Prediction, Failure, Prediction]
    assert calls == [3, 1, 1, 1] and 'too dark' in found[1].reason
    # The failure of one tile is reported once, for its image.
    tall = np.full((90, 13, 3), 200, np.uint8)
    tall[40:] = 0
    found = list(bright.stream([tall, good], tile=20, overlap=0))
    assert [type(f) for f in found] == [Failure, Prediction]


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(tile=4), 'at least 8 pixels'),
        (dict(tile='large'), "'auto' or None"),
        (dict(overlap=4), 'set tile as well'),
        (dict(tile=64, overlap=40), 'must lie in 0..32'),
        (dict(max_size=0), 'max_size'),
        (dict(batch_size=0), 'batch_size'),
        (dict(threshold=2), 'threshold must lie in 0..1'),
        (dict(num_inference_steps=0), 'num_inference_steps'),
        (dict(ensemble_size=-1), 'ensemble_size'),
        (dict(channel_order='hsv'), 'channel_order'),
    ],
)
def test_settings_out_of_range(shipped, changes, words):
    with pytest.raises(UserError, match=words):
        shipped(np.zeros((16, 16, 3), np.uint8), **changes)


def test_unknown_settings_are_named(shipped):
    with pytest.raises(TypeError, match='size'):
        shipped(np.zeros((16, 16, 3), np.uint8), size=3)


# Models -----------------------------------------------------------------------------------------


def test_a_discriminative_model(random_checkpoint, photo):
    weights = random_checkpoint('configs/twin/twin_demo.py')
    twin = DiffIMLInferencer('configs/twin/twin_demo.py', weights, 'cpu', show_progress=False)
    found = one(twin, photo, seed=3)
    assert found.edge is None and found.uncertainty is None
    assert list(found.panels()) == ['image', 'overlay', 'probability', 'mask']
    assert found.probability.shape == found.mask.shape and found.record()['provenance']
    for changes in (dict(num_inference_steps=2), dict(ensemble_size=2)):
        with pytest.raises(UserError, match='no diffusion solver'):
            one(twin, photo, **changes)
    with pytest.raises(UserError, match='no trajectory'):
        twin.trajectory(photo)


def test_a_two_channel_model_that_resizes(photo):
    """Only parts of mmseg: two channels, raw logits, a resize in the pipeline."""
    cfg = Config.fromfile('configs/twin/twin_demo.py')
    head = dict(
        type='FCNHead', in_channels=256, channels=16, num_convs=1, num_classes=2, in_index=3
    )
    cfg.model.decode_head = head
    cfg.model.pop('auxiliary_head', None)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(64, 64), keep_ratio=False),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs'),
    ]
    model = MODELS.build(cfg.model)
    model.cfg = cfg
    found = one(DiffIMLInferencer(model, show_progress=False), photo)
    assert found.probability.shape == read_photo(photo).pixels.shape[:2]
    assert found.probability.min() > 0 and found.probability.max() < 1


def test_a_work_dir_holds_config_and_weights(random_checkpoint, photo, tmp_path):
    weights = random_checkpoint('configs/diffiml/diffiml_demo.py')
    with pytest.raises(UserError, match='holds no configs'):
        find_model(tmp_path)
    Config.fromfile('configs/diffiml/diffiml_demo.py').dump(tmp_path / 'diffiml_demo.py')
    with pytest.raises(UserError, match='holds no checkpoint'):
        find_model(tmp_path)
    shutil.copy(weights, tmp_path / 'iter_4.pth')
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/iter_4.pth')
    direct = DiffIMLInferencer(
        'configs/diffiml/diffiml_demo.py', weights, 'cpu', show_progress=False
    )
    assert_same(
        one(DiffIMLInferencer(tmp_path, device='cpu', show_progress=False), photo),
        one(direct, photo),
    )
    (tmp_path / 'other.py').write_text('')
    with pytest.raises(UserError, match='holds 2 configs'):
        find_model(tmp_path)


def test_sources_that_are_not_models_are_refused(tmp_path, random_checkpoint):
    weights = random_checkpoint('configs/diffiml/diffiml_demo.py')
    with pytest.raises(UserError, match='neither a config file nor a folder'):
        find_model('nowhere')
    with pytest.raises(UserError, match='needs weights'):
        find_model('configs/diffiml/diffiml_demo.py')
    with pytest.raises(UserError, match='is not a config'):
        find_model(weights)
    with pytest.raises(UserError, match='does not fit'):
        DiffIMLInferencer('configs/twin/twin_demo.py', weights, 'cpu')
    with pytest.raises(UserError, match='does not exist'):
        DiffIMLInferencer('configs/diffiml/diffiml_demo.py', 'gone.pth', 'cpu')
    with pytest.raises(UserError, match="device 'gpu9' cannot be used"):
        DiffIMLInferencer('configs/diffiml/diffiml_demo.py', weights, 'gpu9')
    (tmp_path / 'model_index.json').write_text('{}')
    with pytest.raises(UserError, match='is not what DiffIMLPipeline.save_pretrained writes'):
        find_model(tmp_path)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder; yields its address."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f'http://127.0.0.1:{server.server_port}'
        finally:
            server.shutdown()


@pytest.mark.parametrize('address', [False, True])
def test_a_runner_loads_the_shipped_weights(address, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    weights = RELEASE / 'model/diffusion_pytorch_model.safetensors'
    config = Config.fromfile('configs/diffiml/diffiml_release_fourth.py')
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model)
    with served(weights.parent) as server:
        source = f'{server}/{weights.name}?download=true' if address else str(weights)
        load_checkpoint(model, source, strict=True)
    expected = load_model(config, weights)[0].state_dict()
    found = model.state_dict()
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)
    assert all(t.dtype == torch.float for t in found.values() if t.is_floating_point())


def test_a_checkpoint_runs_no_code(tmp_path):
    mark = tmp_path / 'mark'

    class Evil:
        def __reduce__(self):
            return (Path.touch, (mark,))

    torch.save(dict(state_dict=dict(a=torch.ones(1)), meta=Evil()), tmp_path / 'evil.pth')
    with pytest.raises(UserError, match='more than weights and plain data'):
        DiffIMLInferencer('configs/diffiml/diffiml_demo.py', tmp_path / 'evil.pth', 'cpu')
    assert not mark.exists()


def test_weights_of_an_address_are_downloaded_once(random_checkpoint, tmp_path, monkeypatch):
    weights = random_checkpoint('configs/diffiml/diffiml_demo.py')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with served(weights.parent) as server:
        address = f'{server}/{weights.name}'
        with pytest.raises(UserError, match='cannot be downloaded: .*404'):
            find_model('configs/diffiml/diffiml_demo.py', f'{address}.gone')
        source = find_model('configs/diffiml/diffiml_demo.py', address)
    assert source.weights.read_bytes() == weights.read_bytes()
    # The server has stopped and is not needed again.
    found = DiffIMLInferencer('configs/diffiml/diffiml_demo.py', address, 'cpu')
    assert found.hashes['model_sha256'] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert [p.name for p in (tmp_path / 'hub/checkpoints').iterdir()] == [source.weights.name]


def test_the_trajectory_ends_in_the_prediction(shipped, photo):
    image, frames = shipped.trajectory(photo, num_inference_steps=4, seed=2)
    assert len(frames) == 5 and (image == one(shipped, photo).image).all()
    expected = one(shipped, photo, num_inference_steps=4, seed=2, ensemble_size=1)
    assert np.abs(frames[-1] - expected.probability).max() < 1e-5
    # Each step is closer to the result.
    away = [np.abs(frame - frames[-1]).mean() for frame in frames]
    assert away == sorted(away, reverse=True) and away[0] > 1.1 * away[-2] > 0
    large = np.zeros((700, 300, 3), np.uint8)
    image, frames = shipped.trajectory(large, max_size=128)
    assert image.shape == (128, 55, 3) and frames[0].shape == (128, 55)


def test_overlays_show_the_image_where_nothing_is_found(shipped, photo):
    found = shipped(photo, return_vis=True, opacity=0.0)
    assert (found['visualization'][0] == found['predictions'][0].image).all()
    drawn = shipped(photo, return_vis=True, opacity=1.0)
    prediction = drawn['predictions'][0]
    sure = prediction.probability > 0.99
    assert sure.any()
    # The color map's brightest yellow.
    assert np.abs(drawn['visualization'][0][sure].astype(int) - (254, 232, 56)).max() < 10
    untouched = prediction.probability < 1e-4
    difference = drawn['visualization'][0].astype(int) - prediction.image
    assert np.abs(difference[untouched]).max(initial=0) <= 1


@pytest.mark.parametrize('field', ['seg_logits', 'uncertainty', 'pred_score'])
def test_a_prediction_of_nan_is_a_failure_of_its_image(field, shipped, demo_data, monkeypatch):
    photos = sorted((demo_data / 'test_seen/Au').iterdir())[:1]
    photos += sorted((demo_data / 'test_seen/Tp').iterdir())[:2]
    original, calls = type(shipped.model).test_step, []

    def test_step(self, data):
        samples = original(self, data)
        calls.append(len(samples))
        if len(calls) == 2:
            if field == 'pred_score':
                samples[0].set_field(float('inf'), field)
            else:
                samples[0].get(field).data[0, 3, 3] = float('nan')
        return samples

    monkeypatch.setattr(type(shipped.model), 'test_step', test_step)
    found = list(shipped.stream(photos))
    assert [type(one) for one in found] == [Prediction, Failure, Prediction]
    assert f'{photos[1].name!r}: the model predicts nan or infinity ({field})' in found[1].reason
    for prediction in (found[0], found[2]):
        json.dumps(prediction.record(), allow_nan=False)
