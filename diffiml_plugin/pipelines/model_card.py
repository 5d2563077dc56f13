"""Model cards of saved pipelines."""

from collections.abc import Iterator, Mapping

from diffusers import DiffusionPipeline
from huggingface_hub import EvalResult, ModelCard, ModelCardData

_TEXT = """# DiffIML

Localizes manipulated regions of photographs: a diffusion model solves for the mask of the region,
given the image. What it finds is a hint for people who look further, not evidence by itself: it
also marks parts of authentic photographs, and what it does not mark may be manipulated as well.
"""
_USE = """## Use

```python
from diffiml_plugin.pipelines import DiffIMLPipeline

pipe = DiffIMLPipeline.from_pretrained('FOLDER')  # or the name of the repository
output = pipe('photo.jpg')
output.masks, output.probabilities, output.edges, output.uncertainties, output.scores
```

On the command line: `diffiml predict photo.jpg --model FOLDER`.
"""


def make_card(
    text: str | None, metrics: Mapping[str, Mapping[str, float]], pipe: DiffusionPipeline
) -> ModelCard:
    """Make a model card: text, use, components and settings, metrics.

    Args:
        text (str, optional): Text of the card in Markdown. Defaults to a short one.
        metrics (Mapping[str, Mapping[str, float]]): Data set -> metric -> value.
        pipe (DiffusionPipeline): Pipeline that the card describes.
    """
    metrics = {
        data: {name: round(value, 4) for name, value in values.items()}
        for data, values in metrics.items()
    }
    results = [
        EvalResult(
            task_type='image-segmentation',
            dataset_type=data,
            dataset_name=data,
            metric_type=name,
            metric_value=value,
        )
        for data, values in metrics.items()
        for name, value in values.items()
    ]
    meta = ModelCardData(
        license='apache-2.0',
        library_name='diffusers',
        pipeline_tag='image-segmentation',
        tags=['image-forensics', 'image-manipulation-localization'],
        model_name='DiffIML' if results else None,
        eval_results=results or None,
    )
    lines = [(text or _TEXT).rstrip(), '', _USE, *_components(pipe), '', *_settings(pipe), '']
    if results:
        rows = {name: None for values in metrics.values() for name in values}
        lines += ['## Metrics', '', f'| metric | {" | ".join(metrics)} |']
        lines += [f'| --- |{" --- |" * len(metrics)}']
        for row in rows:
            cells = (str(values.get(row, '')) for values in metrics.values())
            lines.append(f'| {row} | {" | ".join(cells)} |')
    return ModelCard(f'---\n{meta.to_yaml()}\n---\n\n' + '\n'.join(lines).rstrip() + '\n')


def _components(pipe: DiffusionPipeline) -> Iterator[str]:
    """Describe the components in a table."""
    types = dict(
        encoder=pipe.encoder.config.backbone,
        unet=pipe.unet.config.denoiser,
        vae=pipe.vae.config.vae,
    )
    yield from ('## Components', '', '| component | type | parameters |', '| --- | --- | --- |')
    for name, config in types.items():
        yield f'| `{name}` | {config["type"]} | {getattr(pipe, name).num_parameters():,} |'
    yield f'| `scheduler` | {type(pipe.scheduler).__name__} | |'


def _settings(pipe: DiffusionPipeline) -> Iterator[str]:
    """Describe the usual settings, and what probabilities mean."""
    head = pipe.network.decode_head
    solver = head.solver.settings
    yield f'Steps: {solver.num_inference_steps}. Ensemble: {solver.ensemble_size}.'
    yield f'Factor of the noise: {solver.noise_scale}. Threshold of the mask: {head.threshold}.'
    calibrated = 'a calibrated probability' if head.image_score.is_probability else 'only a rank'
    yield f"The image's score is {calibrated}."
