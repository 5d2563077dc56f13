"""What the models of the package ``imdlbenco`` want: sizes, files of weights, a GPU."""

import contextlib
import difflib
import importlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.utils.model_zoo
from torch import nn

from ...errors import UserError, first_line


@dataclass(frozen=True)
class ZooModel:
    """What a model of the zoo wants.

    Attributes:
        size (int, optional): Side of its square input in pixels; None if it takes any size.
        size_argument (str, optional): Argument of the model that changes ``size``.
        files (dict): The file of weights that each of these arguments must name.
        settings (dict): Files of settings that these arguments must name.
        download (str, optional): Weights that the model itself downloads when it is built.
        defaults (dict): Arguments that differ from the model's own defaults, which fail.
        refusal (str, optional): Reason why the model cannot be used here.
    """

    size: int | None = None
    size_argument: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    download: str | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    refusal: str | None = None

    def size_for(self, arguments: dict[str, Any]) -> int | None:
        """Return the side of the square input of a model that is built with ``arguments``."""
        return arguments.get(self.size_argument or '', self.size)


_MIT = 'ImageNet weights of SegFormer, {}.pth from its repository'

ZOO: dict[str, ZooModel] = {
    'IML_ViT': ZooModel(size=1024, size_argument='input_size'),
    'MantraNet': ZooModel(),
    'Mesorch': ZooModel(size=512),
    'MSCDI_Net': ZooModel(size=512, files=dict(backbone_weights_path=_MIT.format('mit_b4'))),
    'MVSSNet': ZooModel(
        download='of ResNet-50, resnet50-19c8e357.pth, whose place is the folder checkpoints of '
        '`torch.hub.get_dir()`'
    ),
    'ObjectFormer': ZooModel(size=224, size_argument='input_size'),
    # Its default of None fails; an empty name starts from random weights.
    'PSCC_Net': ZooModel(size=256, size_argument='input_size', defaults=dict(pretrain_path='')),
    'SPAN': ZooModel(files=dict(weight_path='the features of ManTra-Net, IMTFEv4.pt')),
    'SparseViT': ZooModel(size=512, size_argument='img_size'),
    'Trufor': ZooModel(
        files=dict(
            np_pretrain_weights='the noise extractor Noiseprint++, noiseprint.pth',
            mit_b2_pretrain_weights=_MIT.format('mit_b2'),
        ),
        settings=dict(config_path='trufor.yaml'),
    ),
    'Cat_Net': ZooModel(
        refusal='it needs a GPU even to be built, and the DCT coefficients of JPEG files'
    ),
    'SparseViTBackbone': ZooModel(refusal='it is a part of SparseViT, without a loss or a mask'),
}
_TIMM = 'of {}, which timm keeps in the folder of the environment variable HF_HOME'
_BACKBONES = {
    'resnet': ZooModel(download=_TIMM.format('resnet152')),
    'vit': ZooModel(size=512, download=_TIMM.format('vit_base_patch16_224')),
    'vit16': ZooModel(size=512, download=_TIMM.format('vit_base_patch16_224')),
    'swin': ZooModel(size=512, download=_TIMM.format('swin_base_patch4_window7_224')),
    'segformer': ZooModel(files=dict(pretrain_pth_path=_MIT.format('mit_b2'))),
    'unet': ZooModel(
        refusal='it downloads and runs a program of the repository milesial/Pytorch-UNet'
    ),
}
for _filter in ('', 'fft_', 'dct_', 'sobel_', 'bayar_', 'srm_'):
    ZOO |= {f'{_filter}{_name}': _model for _name, _model in _BACKBONES.items()}


def import_imdlbenco() -> Any:
    """Import the package ``imdlbenco`` and return its registry of models.

    Raises:
        UserError: If it, or a package that it needs, is not installed.
    """
    try:
        # Importing the package registers its models. It prints a version as it does.
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module('IMDLBenCo.model_zoo')
            return importlib.import_module('IMDLBenCo.registry').MODELS
    except ImportError as error:
        raise UserError(
            f'the package imdlbenco cannot be imported ({error}): install it as '
            'docs/comparison.md says'
        ) from None


def build_zoo_model(name: str, arguments: dict[str, Any], random_weights: bool) -> nn.Module:
    """Build a model that IMDL-BenCo has registered.

    Args:
        name (str): Registered name.
        arguments (dict): Arguments of the model.
        random_weights (bool): Whether the model starts from random weights where it would read or
            download files of weights.

    Raises:
        UserError: If the package or the model is missing, a file of weights is missing, or the
            model cannot be used.
    """
    registry = import_imdlbenco()
    # The registry's own message would come with a printed table of all models.
    if not registry.has(name):
        near = difflib.get_close_matches(name, registry.module_dict, n=1, cutoff=0.3)
        mend = f'did you mean {near[0]!r}?' if near else f'it has {", ".join(registry.module_dict)}'
        raise UserError(f'{name!r} is not registered in IMDL-BenCo: {mend}')
    wants = ZOO.get(name, ZooModel())
    if wants.refusal:
        raise UserError(f'{name} of IMDL-BenCo cannot be used here: {wants.refusal}')
    arguments = wants.defaults | arguments
    for argument, file in wants.settings.items():
        _check_file(name, argument, arguments, f'{file}, which `benco init model_zoo` copies', '')
    for argument, file in wants.files.items():
        if random_weights:
            arguments.setdefault(argument, 'random weights')
        else:
            _check_file(name, argument, arguments, file, ', or set random_weights=True')
    with contextlib.redirect_stdout(io.StringIO()):
        if random_weights:
            with _no_weights():
                return registry.get(name)(**arguments)
        try:
            return registry.get(name)(**arguments)
        except Exception as error:
            # Without a network, and without hub caches, the kinds of errors are many.
            if wants.download is None or isinstance(error, TypeError):
                raise
            raise UserError(
                f'{name} of IMDL-BenCo could not download the weights {wants.download} '
                f'({first_line(error)}): copy them there, or set random_weights=True'
            ) from error


def _check_file(name: str, argument: str, arguments: dict, file: str, mend: str) -> None:
    path = arguments.get(argument)
    if not path or not Path(path).is_file():
        raise UserError(
            f'{name} of IMDL-BenCo reads {file}: give the path of this file as {argument} '
            f'(got {path!r}){mend}'
        )


@contextlib.contextmanager
def _no_weights() -> Iterator[None]:
    """Let models be built without the weights that they read or download."""
    timm = importlib.import_module('timm')
    create = timm.create_model

    def _random(*arguments: Any, pretrained: bool = False, **settings: Any) -> nn.Module:
        return create(*arguments, **settings)

    changes: list[tuple[Any, str, Any]] = [
        (timm, 'create_model', _random),
        (torch, 'load', lambda *_, **__: {}),
        (torch.utils.model_zoo, 'load_url', lambda *_, **__: {}),
        (nn.Module, 'load_state_dict', lambda *_, **__: ([], [])),
    ]
    with contextlib.ExitStack() as stack:
        for owner, attribute, value in changes:
            stack.callback(setattr, owner, attribute, vars(owner)[attribute])
            setattr(owner, attribute, value)
        yield
