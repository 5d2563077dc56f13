"""DiffIML as a diffusers pipeline, against the MMSegmentation path."""

import json

import diffusers
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from diffiml_plugin.apis import DiffIMLInferencer
from diffiml_plugin.errors import UserError
from diffiml_plugin.pipelines import DiffIMLPipeline

CONFIG = 'configs/diffiml/diffiml_demo.py'
# What the package and the command line import only where it is needed.
SLOW = ('diffusers.pipelines.', 'gradio', 'matplotlib', 'pandas', 'sklearn')


def assert_equal(output, expected, tolerance=1e-5):
    for maps, name in (
        (output.probabilities, 'probability'),
        (output.edges, 'edge'),
        (output.uncertainties, 'uncertainty'),
    ):
        assert np.abs(maps[0] - getattr(expected, name)).max() <= tolerance, name
    assert (output.masks[0] != expected.mask).mean() < 1e-3
    assert output.scores[0] == pytest.approx(expected.score, abs=tolerance)


def test_conversion_and_round_trip_keep_every_metric(weights, image, tmp_path, run_tool):
    inferencer = DiffIMLInferencer(CONFIG, weights, 'cpu', show_progress=False)
    (expected,) = inferencer(image)['predictions']
    results = tmp_path / 'results'
    results.mkdir()
    (results / 'summary.json').write_text(json.dumps(dict(metrics=dict(pixel_f1=0.123456))))
    out = tmp_path / 'out'
    tool = 'tools/model_converters/to_diffusers.py'
    printed = run_tool(tool, CONFIG, weights, out, '--results', 'seen', results)
    assert f'{out}: 15.' in printed
    for part in ('encoder', 'unet', 'vae'):
        assert (out / part / 'diffusion_pytorch_model.safetensors').is_file()
    assert not list(out.rglob('*.bin'))
    loaded = DiffIMLPipeline.from_pretrained(out)
    assert_equal(loaded(image), expected)
    # Every other interface accepts the folder as a model.
    (again,) = DiffIMLInferencer(out, device='cpu', show_progress=False)(image)['predictions']
    assert np.abs(again.probability - expected.probability).max() <= 1e-5
    # A loaded pipeline can be saved again.
    loaded.save_pretrained(tmp_path / 'second')
    assert_equal(DiffIMLPipeline.from_pretrained(tmp_path / 'second')(image), expected)
    card = ModelCard.load(out / 'README.md')
    assert card.data.library_name == 'diffusers'
    (figure,) = card.data.eval_results
    assert (figure.dataset_name, figure.metric_type) == ('seen', 'pixel_f1')
    assert figure.metric_value == 0.1235 and '| pixel_f1 | 0.1235 |' in card.text


def test_weights_are_stored_in_half_and_used_in_single_precision(
    weights, image, tmp_path, run_tool
):
    tool = 'tools/model_converters/to_diffusers.py'
    printed = run_tool(tool, CONFIG, weights, tmp_path / 'half', '--half')
    assert 'half: 7.6 MB' in printed
    pipe = DiffIMLPipeline.from_pretrained(tmp_path / 'half')
    assert {p.dtype for p in pipe.network.parameters()} == {torch.float32}
    exact = DiffIMLPipeline.from_mmseg(CONFIG, weights)
    difference = pipe(image).probabilities[0] - exact(image).probabilities[0]
    assert np.abs(difference).max() < 0.01


def test_the_tool_reports_mistakes_in_a_sentence(weights, tmp_path, run_tool, random_checkpoint):
    tool = 'tools/model_converters/to_diffusers.py'
    twin = 'configs/twin/twin_demo.py'
    printed = run_tool(tool, twin, random_checkpoint(twin), tmp_path / 'out', status=1)
    assert 'it is not a DiffIML' in printed
    printed = run_tool(tool, CONFIG, weights, tmp_path / 'o', '--results', 'a', 'gone', status=1)
    assert "'gone' has no summary.json" in printed
    assert not (tmp_path / 'out').exists() and not (tmp_path / 'o').exists()


@pytest.mark.parametrize(
    'name',
    [
        'DDIMScheduler',
        'UniPCMultistepScheduler',
        'DPMSolverMultistepScheduler',
        'EulerDiscreteScheduler',
        'HeunDiscreteScheduler',
    ],
)
def test_schedulers_are_swapped_as_in_diffusers(pipe, image, name):
    usual = pipe.scheduler
    pipe.scheduler = getattr(diffusers, name).from_config(usual.config)
    try:
        output = pipe(image, num_inference_steps=4, ensemble_size=2, noise_scale=1.0)
    finally:
        pipe.scheduler = usual
    # The result of the same scheduler in a config of MMSegmentation.
    inferencer = DiffIMLInferencer(device='cpu', show_progress=False)
    settings = dict(num_inference_steps=4, ensemble_size=2, noise_scale=1.0)
    (expected,) = inferencer(image, scheduler=dict(type=name), **settings)['predictions']
    assert_equal(output, expected)
    (plain,) = inferencer(image, **settings)['predictions']
    # Euler's steps equal DDIM's, except for a first noise level that is not quite infinite.
    differs = np.abs(expected.probability - plain.probability).max() > 1e-5
    assert differs == (name != 'DDIMScheduler')


def test_a_scheduler_that_does_not_solve_is_refused(pipe, image):
    """The noise of the shipped model grows beyond the level at which diffusers caps the last."""
    usual = pipe.scheduler
    pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(usual.config)
    try:
        with pytest.raises(UserError, match='EulerAncestralDiscreteScheduler does not solve'):
            pipe(image, num_inference_steps=4, noise_scale=1.0)
    finally:
        pipe.scheduler = usual


def test_a_swapped_scheduler_is_saved(pipe, image, tmp_path):
    unipc = diffusers.UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    swapped = DiffIMLPipeline(**dict(pipe.components, scheduler=unipc))
    swapped.save_pretrained(tmp_path)
    loaded = DiffIMLPipeline.from_pretrained(tmp_path)
    assert type(loaded.scheduler).__name__ == 'UniPCMultistepScheduler'
    settings = dict(num_inference_steps=3, ensemble_size=1)
    expected = swapped(image, **settings).probabilities[0]
    assert np.abs(loaded(image, **settings).probabilities[0] - expected).max() <= 1e-5
    inferencer = DiffIMLInferencer(tmp_path, device='cpu', show_progress=False)
    (maps,) = inferencer(image, **settings)['predictions']
    assert np.abs(maps.probability - expected).max() <= 1e-5


def test_seeds_and_generators(pipe, image):
    def run(**kwargs):
        return pipe(image, ensemble_size=1, noise_scale=1.0, **kwargs).probabilities[0]

    generator = torch.Generator().manual_seed(7)
    first, second = run(generator=generator), run(generator=generator)
    assert (first == run(generator=torch.Generator().manual_seed(7))).all()
    assert (first != second).any()
    assert (run(seed=3) == run(seed=3)).all() and (run(seed=3) != run(seed=4)).any()
    assert (run() == run()).all()
    with pytest.raises(UserError, match='not both'):
        run(seed=3, generator=generator)


def test_a_generator_per_image(pipe, image):
    other = image.transpose(Image.Transpose.ROTATE_180)

    def generators(*seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    options = dict(ensemble_size=1, noise_scale=1.0)
    both = pipe([image, other], generator=generators(7, 8), **options).probabilities
    for index, (one, seed) in enumerate(zip((image, other), (7, 8), strict=True)):
        alone = pipe(one, generator=generators(seed)[0], **options).probabilities[0]
        assert (both[index] == alone).all()
    same = pipe(image, generator=generators(7), **options).probabilities
    assert len(same) == 1 and (same[0] == both[0]).all()
    for wrong, words in (
        (generators(1), '1 generators for 2 images'),
        ([1, 2], 'torch.Generators, got int'),
        (3, 'torch.Generators, got int'),
    ):
        with pytest.raises(UserError, match=words):
            pipe([image, other], generator=wrong)


def test_all_types_of_inputs_and_outputs(pipe, image):
    rgb = np.asarray(image.convert('RGB'))
    expected = pipe(image)
    tensor = torch.from_numpy(rgb / 255).permute(2, 0, 1)
    for one in (rgb, rgb / 255.0, tensor, tensor[None], rgb[None], [image]):
        assert (pipe(one).probabilities[0] == expected.probabilities[0]).all()
    both = pipe([image, rgb])
    assert len(both.masks) == 2
    assert (both.probabilities[0] == both.probabilities[1]).all()
    tensors = pipe(image, output_type='pt')
    assert (tensors.probabilities[0].numpy() == expected.probabilities[0]).all()
    pictures = pipe(image, output_type='pil')
    assert pictures.masks[0].size == image.size
    assert (np.asarray(pictures.masks[0]) == 255 * expected.masks[0]).all()
    plain = pipe(image, return_dict=False)
    assert (plain[0][0] == expected.probabilities[0]).all() and plain[-1] == expected.scores


def test_text_instead_of_a_number_is_refused(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    path = tmp_path / 'encoder/config.json'
    config = json.loads(path.read_text())
    config['channels'] = '64'
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match='cannot be loaded'):
        DiffIMLPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_pipeline_moves_to_another_precision(image, dtype):
    pipe = DiffIMLPipeline.from_mmseg()
    single = pipe(image)
    half = pipe.to(dtype)(image)
    assert {p.dtype for p in pipe.network.parameters()} == {dtype}
    difference = np.abs(half.probabilities[0] - single.probabilities[0])
    assert 0 < difference.mean() < 0.02 and half.probabilities[0].dtype == np.float32


@pytest.mark.parametrize(
    'args, words',
    [
        (dict(image=np.full((8, 8, 3), 2.0)), r'must lie in 0\.\.1'),
        (dict(image=torch.zeros(1, 8, 8)), r'\(3, H, W\)'),
        (dict(image=Image.new('RGB', (8, 8)), output_type='jpg'), 'output_type'),
        (dict(image=Image.new('RGB', (8, 8)), num_inference_steps=0), 'num_inference_steps'),
        (dict(image='gone.png'), "'gone.png' does not exist"),
    ],
)
def test_wrong_arguments(pipe, args, words):
    with pytest.raises(UserError, match=words):
        pipe(**args)


def test_a_pipeline_runs_without_the_repository(run_offline):
    """From another folder, with only the installed package, without a network."""
    code = (
        'import sys, diffiml_plugin, diffiml_plugin.cli\n'
        f'print(sum(m.startswith({SLOW}) for m in sys.modules))\n'
        'import numpy as np\n'
        'from diffiml_plugin.apis.model import RELEASE\n'
        'from diffiml_plugin.pipelines import DiffIMLPipeline\n'
        'pipe = DiffIMLPipeline.from_pretrained(RELEASE)\n'
        'print(pipe(np.zeros((40, 50, 3), np.uint8)).masks[0].shape)'
    )
    *_, imported, shape = run_offline(code).splitlines()
    # Each of them has hundreds of modules.
    assert int(imported) < 10 and shape == '(40, 50)'
