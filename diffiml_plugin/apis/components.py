"""The components of a DiffIML that diffusers saves, loads and swaps, each by itself.

A setting is saved with the component whose weights were trained for it:

- ``encoder``: backbone, neck and their fusion, the normalization of images, and the test pipeline,
  which sets the scale at which the encoder sees a photograph.
- ``unet``: the denoiser, the noise schedule that gives its output a meaning, and whether its
  latents hold edges.
- ``vae``: the codec of masks; the scale of latents is part of it, since both of its directions
  need the same.
- ``scheduler``: the solver.

What belongs to no single component is in the index of the pipeline as ``segmentor``: calibration
and score, which were fitted to all of them together, the usual steps and members, and how windows
are cut. Together they are the config of the whole segmentor.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

# Module and class of each component.
COMPONENT_CLASSES = dict(
    encoder=('diffiml_plugin.pipelines.encoder', 'DiffIMLEncoder'),
    unet=('diffiml_plugin.pipelines.unet', 'DiffIMLUNet'),
    vae=('diffiml_plugin.pipelines.vae', 'DiffIMLVAE'),
)
COMPONENTS = tuple(COMPONENT_CLASSES)
# Keys of the segmentor's config, and of its decode head's, that belong to a component.
_OF_SEGMENTOR = dict(encoder=('data_preprocessor', 'backbone', 'neck'))
_OF_HEAD = dict(
    encoder=('in_channels', 'in_index', 'channels', 'fine_channels', 'norm_cfg'),
    unet=('denoiser', 'scheduler', 'edge_supervision'),
    vae=('vae',),
)


def component_settings(name: str) -> tuple[str, ...]:
    """Return the names of a component's settings."""
    pipeline = ('test_pipeline',) if name == 'encoder' else ()
    return (*_OF_SEGMENTOR.get(name, ()), *_OF_HEAD.get(name, ()), *pipeline)


def split_model(segmentor: Mapping[str, Any], pipeline: Iterable[dict]) -> dict[str, dict]:
    """Split a segmentor's config into those of its components.

    Args:
        segmentor (Mapping[str, Any]): Config of a segmentor with a diffusion head.
        pipeline (Iterable[dict]): Configs of the test transforms.

    Returns:
        dict[str, dict]: Config of each of ``COMPONENTS``, by name, and ``segmentor``: what is
        left. Auxiliary heads are dropped, since predictions do not depend on them.
    """
    rest = copy.deepcopy(dict(segmentor))
    rest.pop('auxiliary_head', None)
    head = rest['decode_head']
    head['sampler'].pop('scheduler', None)
    parts = {
        name: {key: rest.pop(key) for key in _OF_SEGMENTOR.get(name, ()) if key in rest}
        | {key: head.pop(key) for key in _OF_HEAD[name] if key in head}
        for name in COMPONENTS
    }
    parts['encoder']['test_pipeline'] = copy.deepcopy(list(pipeline))
    return parts | dict(segmentor=rest)


def join_model(
    parts: Mapping[str, Mapping[str, Any]], rest: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict]]:
    """Join components' configs, as :func:`split_model` returns them.

    Args:
        parts (Mapping[str, Mapping]): Config of each component, by name.
        rest (Mapping[str, Any]): What is left of the segmentor's config.

    Returns:
        tuple: Config of the segmentor, and those of the test transforms.
    """
    segmentor = copy.deepcopy(dict(rest))
    head = segmentor['decode_head']
    for name in COMPONENTS:
        for owner, keys in ((segmentor, _OF_SEGMENTOR.get(name, ())), (head, _OF_HEAD[name])):
            # None is the default of each.
            given = {key: parts[name].get(key) for key in keys}
            owner |= {k: copy.deepcopy(v) for k, v in given.items() if v is not None}
    return segmentor, copy.deepcopy(list(parts['encoder']['test_pipeline']))
