"""Settings that the rows of a comparison have in common, and differences between them."""

from collections.abc import Mapping, Sequence

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from ..engine.conditions import get_test_set
from ..engine.cost import blank_batch, count_gflops

# These may differ: they are the subject of the comparison, or follow from it.
FREE = ('model', 'parameters', 'GFLOPs', 'images/s')
TRAINING = (
    'training data', 'augmentation', 'training input', 'batch', 'iterations', 'optimizer',
    'schedule', 'training precision', 'pretrained',
)  # fmt: skip


def _transforms(pipeline: Sequence[Mapping]) -> str:
    """Describe a pipeline with its settings."""
    spelled = []
    for step in pipeline:
        settings = ', '.join(f'{k}={v}' for k, v in step.items() if k not in ('type', 'transforms'))
        spelled.append(f'{step["type"]}({settings})' if settings else step['type'])
    return ' > '.join(spelled)


def _data(dataset: Mapping) -> str:
    """Describe a data set by its type and roots, forgeries by photographs and settings."""
    if 'sources' in dataset:
        folders = [str(source['photographs']) for source in dataset['sources']]
        made = ', '.join(f'{key}={value}' for key, value in (dataset.get('forger') or {}).items())
        return f'{dataset["type"]}[{"; ".join(folders)}]({made})'
    if 'datasets' in dataset:
        return f'{dataset["type"]}[{"; ".join(_data(one) for one in dataset["datasets"])}]'
    return f'{dataset.get("data_root") or dataset.get("ann_file")}'


def _pipeline_of(dataset: Mapping) -> Sequence[Mapping]:
    return dataset['datasets'][0]['pipeline'] if 'datasets' in dataset else dataset['pipeline']


def _optimizer(wrapper: Mapping) -> str:
    own = ', '.join(f'{k}={v}' for k, v in wrapper['optimizer'].items() if k != 'type')
    described = f'{wrapper["optimizer"]["type"]}({own})'
    for key in ('clip_grad', 'paramwise_cfg', 'accumulative_counts'):
        if wrapper.get(key):
            described += f', {key}={wrapper[key]}'
    return described


def _precision(wrapper: Mapping) -> str:
    if 'BFloat16' in wrapper['type']:
        return 'bfloat16'
    return str(wrapper.get('dtype', 'float16')) if 'Amp' in wrapper['type'] else 'float32'


def _pretrained(node: object) -> list[str]:
    """Collect the checkpoints that parts of a model start from."""
    if isinstance(node, Mapping):
        init = node.get('init_cfg')
        own = [init['checkpoint']] if isinstance(init, Mapping) and 'checkpoint' in init else []
        return own + [file for value in node.values() for file in _pretrained(value)]
    if isinstance(node, list | tuple):
        return [file for value in node for file in _pretrained(value)]
    return []


def cost(cfg: Config, shape: tuple[int, int]) -> tuple[float, float]:
    """Return parameters in millions, and GFLOPs of predicting one image of (H, W) ``shape``."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = MODELS.build(cfg.model).eval()
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    return parameters, count_gflops(lambda: model.test_step(blank_batch(shape)))['Global']


def _training(cfg: Config) -> dict[str, str]:
    """Describe how a model was trained."""
    train, wrapper = cfg.train_dataloader['dataset'], cfg.optim_wrapper
    size = cfg.model.get('data_preprocessor', {}).get('size')
    schedulers = cfg.get('param_scheduler') or []
    schedulers = schedulers if isinstance(schedulers, list) else [schedulers]
    spans = [f'{s["type"]} {s.get("begin", 0)}-{s.get("end", "end")}' for s in schedulers]
    values = (
        _data(train),
        _transforms(_pipeline_of(train)),
        'x'.join(map(str, size)) if size else 'of the images',
        f'{cfg.train_dataloader["batch_size"]}',
        f'{cfg.train_cfg.get("max_iters") or cfg.train_cfg.get("max_epochs")}',
        _optimizer(wrapper),
        '; '.join(spans) or 'constant',
        _precision(wrapper),
        ', '.join(sorted(set(_pretrained(cfg.model.to_dict())))) or 'no',
    )
    return dict(zip(TRAINING, values, strict=True))


def record(cfg: Config, seeds: Sequence[int], given: bool) -> dict[str, str]:
    """Describe how a row was trained and tested, field by field.

    Args:
        cfg (Config): Config that the row was trained with.
        seeds (Sequence[int]): Seeds for which the row has been measured.
        given (bool): Whether the user gave its checkpoints, whose training is unknown.
    """
    training = dict.fromkeys(TRAINING, 'given checkpoint: not known') if given else _training(cfg)
    head = cfg.model.get('decode_head', {})
    head = head[-1] if isinstance(head, list) else head
    return training | {
        'test input': _transforms(get_test_set(cfg)['pipeline']),
        'test-time augmentation': 'none',
        'threshold': f'{head.get("threshold", 0.5)}',
        'seeds': ', '.join(map(str, seeds)),
    }


def record_of_maps(source: str) -> dict[str, str]:
    """Describe a row of maps field by field, as :func:`record` does; little is known about it.

    Args:
        source (str): Folder of the maps. It is part of every field that is not known, since two
            unknown settings do not agree.
    """
    unknown = (*TRAINING, 'test input', 'test-time augmentation')
    said = f'not known (maps in {source})'
    return dict.fromkeys(unknown, said) | {'threshold': '0.5', 'seeds': said}


def differences(rows: Mapping[str, Mapping[str, str]], reference: str) -> list[tuple[str, str]]:
    """List (field, sentence) where rows differ from the reference in fields that should agree."""
    differing = []
    for field in rows[reference]:
        if field in FREE:
            continue
        for name, row in rows.items():
            if row[field] != rows[reference][field]:
                sentence = f'{name}: {row[field]} instead of {rows[reference][field]}'
                differing.append((field, sentence))
    return differing
