"""Base class of the components."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import mmseg.models  # noqa: F401  registers the backbones
import torch
from diffusers import ConfigMixin, ModelMixin
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from ..apis.components import component_settings, split_model
from ..apis.model import load_model
from ..apis.model_data import (
    check_component,
    find_weights,
    is_whole,
    read_component,
    read_pretrained,
)
from ..engine.checkpoint import WEIGHTS, check_tensors
from ..engine.conditions import get_test_set
from ..errors import UserError


class DiffIMLComponent(ModelMixin, ConfigMixin):
    """A part of a DiffIML segmentor that diffusers saves, loads and swaps by itself.

    ``network`` holds the segmentor's own modules under the segmentor's own names, so that the
    weights of all components together are those of the segmentor.

    Attributes:
        component (str): Name of the component in the pipeline.
        network (nn.Module): Modules by their names in the segmentor.
        places (tuple[str, ...]): These names, dotted.
        segmentor (dict | None): What belongs to no component of the segmentor's config that this
            component is or was a part of, see :mod:`diffiml_plugin.apis.components`.
    """

    config_name = 'config.json'
    component: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        init_default_scope('mmseg')
        settings = {key: self.config.get(key) for key in component_settings(self.component)}
        check_component({k: v for k, v in settings.items() if v is not None}, type(self).__name__)
        self.places: tuple[str, ...] = ()
        self.segmentor: dict | None = None

    def _hold(self, **modules: nn.Module | None) -> None:
        """Hold modules by their names in the segmentor, with two underscores for a dot."""
        network = nn.Module()
        for key, module in modules.items():
            owner, (*path, name) = network, key.split('__')
            for step in path:
                if not hasattr(owner, step):
                    owner.add_module(step, nn.Module())
                owner = getattr(owner, step)
            owner.add_module(name, module)
        # As for other interfaces' models: a batch normalization of several processes needs them.
        self.network = revert_sync_batchnorm(network)
        self.places = tuple(key.replace('__', '.') for key in modules if modules[key] is not None)
        self._channels_last = {k for k, v in self.named_parameters() if _is_channels_last(v)}
        self.eval()

    @classmethod
    def from_segmentor(cls, segmentor: nn.Module, config: Config) -> 'DiffIMLComponent':
        """Take the component out of a segmentor; its weights are copied.

        Args:
            segmentor (nn.Module): DiffIML segmentor.
            config (Config): Its config, with the test pipeline.

        Raises:
            UserError: If the segmentor has no diffusion solver, or the config holds anything that
                is not allowed in data.
        """
        if getattr(getattr(segmentor, 'decode_head', None), 'solver', None) is None:
            raise UserError(
                f'{type(segmentor).__name__} has no diffusion solver: it is not a DiffIML'
            )
        pipeline = [dict(step) for step in get_test_set(config)['pipeline']]
        split = split_model(self_contained(config.model.to_dict()), pipeline)
        component = cls(**split[cls.component])
        component.segmentor = split['segmentor']
        own = tuple(f'{place}.' for place in component.places)
        state = {k: v for k, v in segmentor.state_dict().items() if k.startswith(own)}
        component.network.load_state_dict(state)
        return component

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load a component that ``save_pretrained`` wrote; no code in it is run.

        All weights must fit the config. Weights that are stored in half precision are converted
        to single precision, unless ``torch_dtype`` is given.

        Args:
            pretrained_model_name_or_path (str | Path): Folder of the component, or name on the
                Hugging Face Hub; also the folder of a pipeline of an earlier version, which has
                the components in one.
            **kwargs: Passed to diffusers.

        Raises:
            UserError: If config or weights cannot be used.
        """
        source = str(pretrained_model_name_or_path)
        folder = Path(source, kwargs.get('subfolder') or '')
        dtype = kwargs.get('dtype') or kwargs.get('torch_dtype')
        wants_info = kwargs.pop('output_loading_info', False)
        if is_whole(folder):
            config, weights = read_pretrained(folder)
            model = cls.from_segmentor(load_model(config, weights)[0], config)
            info: dict = {}
        else:
            if folder.is_dir():
                read_component(folder, Path(source), cls.component)
                find_weights(folder, Path(source))
            model, info = cls._load(source, **kwargs)
        model.to(dtype) if dtype is not None else model.float()
        return (model, info) if wants_info else model

    @classmethod
    def _load(cls, source: str, **kwargs: Any) -> tuple['DiffIMLComponent', dict]:
        if kwargs.get('use_safetensors') is None:
            kwargs['use_safetensors'] = True
        try:
            model, info = super().from_pretrained(source, output_loading_info=True, **kwargs)
        except UserError:
            raise
        # Files cause these errors; diffusers has no error classes of its own.
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f'the component {source!r} cannot be loaded: {reason}') from error
        for fault in ('missing_keys', 'unexpected_keys', 'mismatched_keys'):
            if names := [str(name) for name in info[fault]]:
                raise UserError(
                    f'the weights of {source!r} do not fit its config: {len(names)} '
                    f'{fault.replace("_", " ")} ({", ".join(sorted(names)[:3])})'
                )
        check_tensors(model.state_dict(), source)
        # diffusers puts the file's tensors in the place of those whose layout is faster on CPUs.
        for name, parameter in model.named_parameters():
            if name in model._channels_last:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return model, info

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """Write config and weights (safetensors).

        Args:
            save_directory (str | Path): Folder to write to.
            *args: Passed to diffusers.
            **kwargs: Passed to diffusers.
        """
        if not self.state_dict():
            # diffusers writes no file for a codec in closed form, and then misses it.
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            save_file({}, Path(save_directory) / WEIGHTS, metadata=dict(format='pt'))
        super().save_pretrained(str(save_directory), *args, **kwargs)


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


def build(config: Mapping[str, Any]) -> nn.Module:
    """Build a module of MMSegmentation from its config, which stays as it is."""
    return MODELS.build(Config(dict(model=dict(config))).model)


def self_contained(config: dict) -> dict:
    """Remove all settings from a model's config that would load other weights."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                k: None if k in ('init_cfg', 'pretrained') else cleaned(v) for k, v in value.items()
            }
        if isinstance(value, list | tuple):
            return [cleaned(v) for v in value]
        return value

    config = cleaned(config)
    vae = config.get('decode_head', {}).get('vae')
    if vae and 'weights' in vae:
        vae['weights'] = None
    return config
