"""Model cards of saved pipelines."""

from collections.abc import Mapping

from huggingface_hub import EvalResult, ModelCard, ModelCardData

_TEXT = """# DiffIML

Localizes manipulated regions of photographs. Load it with
`diffiml_plugin.pipelines.DiffIMLPipeline.from_pretrained`, or give this folder to `diffiml predict
--model`. What it finds is a hint for people who look further, not evidence by itself.
"""


def make_card(text: str | None, metrics: Mapping[str, Mapping[str, float]]) -> ModelCard:
    """Make a model card from a text, a short one by default, and data set -> metric -> value."""
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
    lines = [(text or _TEXT).rstrip(), '']
    if results:
        rows = {name: None for values in metrics.values() for name in values}
        lines += ['## Metrics', '', f'| metric | {" | ".join(metrics)} |']
        lines += [f'| --- |{" --- |" * len(metrics)}']
        for row in rows:
            cells = (str(values.get(row, '')) for values in metrics.values())
            lines.append(f'| {row} | {" | ".join(cells)} |')
    return ModelCard(f'---\n{meta.to_yaml()}\n---\n\n' + '\n'.join(lines).rstrip() + '\n')
