"""What users of diffusers expect of any pipeline."""

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import ModelCard

from diffiml_plugin.apis import DiffIMLInferencer
from diffiml_plugin.apis.model import RELEASE
from diffiml_plugin.errors import UserError
from diffiml_plugin.pipelines import DiffIMLPipeline, diffiml_pipeline

METRICS = dict(CASIAv1=dict(pixel_f1=0.36913))


def assert_same(pipe, other, image) -> None:
    difference = pipe(image).probabilities[0] - other(image).probabilities[0]
    assert np.abs(difference).max() <= 1e-5


@pytest.mark.parametrize('whole', [False, True])
def test_the_base_class_finds_the_pipeline(whole, folder, pipe, small):
    loaded = DiffusionPipeline.from_pretrained(RELEASE if whole else folder)
    assert type(loaded) is DiffIMLPipeline
    assert loaded.config.segmentor == pipe.config.segmentor
    assert_same(loaded, pipe, small)


def test_importing_the_package_is_enough(folder, run_offline):
    """In a new process, from another folder, without a network."""
    code = (
        'import sys, numpy, diffiml_plugin\n'
        'from diffusers import DiffusionPipeline\n'
        'assert "diffiml_plugin.pipelines" not in sys.modules\n'
        f'pipe = DiffusionPipeline.from_pretrained({str(folder)!r})\n'
        'print(type(pipe).__name__, pipe(numpy.zeros((40, 50, 3), numpy.uint8)).masks[0].shape)'
    )
    assert 'DiffIMLPipeline (40, 50)' in run_offline(code)


def test_other_names_are_looked_up_as_before():
    import diffusers

    assert diffusers.DDIMScheduler.__name__ == 'DDIMScheduler'
    assert not hasattr(diffusers, 'NoSuchPipeline')


def test_components_and_config(pipe):
    assert sorted(pipe.components) == ['encoder', 'scheduler', 'unet', 'vae']
    assert pipe.parameters == dict(segmentor=pipe.config.segmentor)
    again = DiffIMLPipeline.from_pipe(pipe)
    assert again.unet is pipe.unet and again.config.segmentor == pipe.config.segmentor
    # Settings that were fitted to all components together stay with the pipeline.
    assert DiffIMLPipeline(**pipe.components).config.segmentor == pipe.config.segmentor


def test_the_progress_bar_counts_steps(pipe, small, capsys):
    pipe.set_progress_bar_config(desc='solving')
    try:
        pipe(small, num_inference_steps=3)
        assert '3/3' in (shown := capsys.readouterr().err) and 'solving' in shown
        pipe.set_progress_bar_config(disable=True)
        pipe(small, num_inference_steps=3)
        assert '3/3' not in capsys.readouterr().err
    finally:
        pipe.set_progress_bar_config()


def test_sliding_windows_and_parts_of_a_batch(pipe, small):
    """Settings of the segmentor that are not in the shipped model."""
    segmentor = dict(pipe.config.segmentor)
    segmentor['test_cfg'] = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    sampler = dict(segmentor['decode_head']['sampler'], ensemble_size=3, max_batch=2)
    segmentor['decode_head'] = dict(segmentor['decode_head'], sampler=sampler)
    own = DiffIMLPipeline(**pipe.components, segmentor=segmentor)
    output = own(small, noise_scale=1.0)
    own.network.cfg = DiffIMLInferencer(device='cpu').cfg
    inferencer = DiffIMLInferencer(own.network, show_progress=False)
    bgr = np.ascontiguousarray(small[..., ::-1])
    (expected,) = inferencer(bgr, noise_scale=1.0)['predictions']
    assert np.abs(output.probabilities[0] - expected.probability).max() <= 1e-5
    assert np.abs(output.uncertainties[0] - expected.uncertainty).max() <= 1e-5
    # The components took the settings of this pipeline.
    pipe.encoder.segmentor = pipe.config.segmentor


@pytest.mark.parametrize('full_resolution', [False, True])
def test_tiles_equal_those_of_the_inferencer(pipe, small, full_resolution):
    # Larger than what the network sees, so that both kinds of tiles differ.
    picture = np.tile(small, (10, 10, 1)) if full_resolution else small
    cut = dict(tile=320 if full_resolution else 32, full_resolution=full_resolution)
    inferencer = DiffIMLInferencer(device='cpu', show_progress=False)
    (expected,) = inferencer(np.ascontiguousarray(picture[..., ::-1]), **cut)['predictions']
    output = pipe(picture, batch_size=4, **cut)
    assert np.abs(output.probabilities[0] - expected.probability).max() <= 1e-5
    assert output.scores[0] == pytest.approx(expected.score, abs=1e-5)
    if full_resolution:
        reduced = pipe(picture, tile=320).probabilities[0]
        assert np.abs(output.probabilities[0] - reduced).max() > 0.01


def test_full_resolution_needs_tiles(pipe, small):
    with pytest.raises(UserError, match='full_resolution needs a size of tiles'):
        pipe(small, full_resolution=True)


def test_images_of_different_sizes_cannot_be_one_tensor(pipe, small):
    assert pipe.image_processor.preprocess([small, small]).shape == (2, 3, 48, 64)
    with pytest.raises(UserError, match='images of one size'):
        pipe.image_processor.preprocess([small, small[:40]])


@pytest.fixture
def uploads(monkeypatch, tmp_path):
    """Copy uploads to a folder instead of the Hub."""
    import shutil
    from types import SimpleNamespace

    def create(repo_id, **_):
        return SimpleNamespace(repo_id=f'user/{repo_id}')

    def upload(repo_id, folder_path, **options):
        shutil.copytree(folder_path, tmp_path / 'hub' / repo_id)
        return str(options)

    monkeypatch.setattr(diffiml_pipeline, 'create_repo', create)
    monkeypatch.setattr('diffusers.utils.hub_utils.upload_folder', upload)
    return tmp_path / 'hub/user'


def test_an_upload_has_the_complete_card(pipe, uploads, tmp_path, small):
    options = pipe.push_to_hub('pushed', commit_message='First', metrics=METRICS)
    assert 'First' in options
    pipe.save_pretrained(tmp_path / 'saved', push_to_hub=True, repo_id='saved', metrics=METRICS)
    for name in ('pushed', 'saved'):
        card = ModelCard.load(uploads / name / 'README.md')
        assert card.data.library_name == 'diffusers' and card.data.license == 'apache-2.0'
        assert card.data.pipeline_tag == 'image-segmentation'
        (figure,) = card.data.eval_results
        assert figure.metric_value == 0.3691 and '| pixel_f1 | 0.3691 |' in card.text
        assert 'not evidence' in card.text and 'DiffIMLPipeline.from_pretrained' in card.text
        assert f'| `unet` | DenoisingUNet | {pipe.unet.num_parameters():,} |' in card.text
        assert 'Steps: 1' in card.text and 'DDIMScheduler' in card.text
        loaded = DiffIMLPipeline.from_pretrained(uploads / name)
        assert_same(loaded, pipe, small)


def test_a_card_is_kept_with_its_components(folder, other_unet, tmp_path):
    loaded = DiffIMLPipeline.from_pretrained(RELEASE)
    loaded.save_pretrained(tmp_path / 'same')
    text = (tmp_path / 'same/README.md').read_text()
    assert text == (RELEASE / 'README.md').read_text()
    # Its metrics are not those of other weights.
    loaded.unet = other_unet
    loaded.save_pretrained(tmp_path / 'other')
    assert 'Columbia' not in (tmp_path / 'other/README.md').read_text()
    loaded.save_pretrained(tmp_path / 'text', card='# Mine\n\nWords.')
    text = (tmp_path / 'text/README.md').read_text()
    assert '# Mine' in text and '## Components' in text


def test_a_name_on_the_hub_is_downloaded_without_programs(monkeypatch, folder, small, pipe):
    calls = []

    def snapshot(name, **options):
        calls.append((name, options))
        return str(folder)

    monkeypatch.setattr(diffiml_pipeline, 'snapshot_download', snapshot)
    loaded = DiffIMLPipeline.from_pretrained('user/model', revision='v1')
    assert_same(loaded, pipe, small)
    ((name, options),) = calls
    assert name == 'user/model' and options['revision'] == 'v1'
    assert not any('.py' in pattern for pattern in options['allow_patterns'])

    def fails(*_, **__):
        raise OSError('no network in tests')

    monkeypatch.setattr(diffiml_pipeline, 'snapshot_download', fails)
    with pytest.raises(UserError, match="'user/model' is neither a folder nor"):
        DiffIMLPipeline.from_pretrained('user/model')


def test_moving_the_pipeline_moves_all_parts(folder, small):
    loaded = DiffIMLPipeline.from_pretrained(folder)
    assert loaded.device == torch.device('cpu') and loaded.dtype == torch.float32
    loaded.to(torch.bfloat16)
    assert {loaded.encoder.dtype, loaded.unet.dtype, loaded.vae.dtype} == {torch.bfloat16}
    assert loaded(small, output_type='pt').probabilities[0].dtype == torch.float32
