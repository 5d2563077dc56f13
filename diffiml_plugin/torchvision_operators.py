"""torchvision beside a build of torch that its compiled operators were not made for."""

import importlib
import importlib.util

import torch

# Declarations end with their library.
_declared: list[torch.library.Library] = []


def declare_operators() -> None:
    """Let torchvision be imported where its compiled operators cannot be loaded.

    The usual wheel of torchvision is for CUDA. Beside a CPU build of torch its import stops, and
    with it that of timm and of mmseg, which imports timm where that is installed. Only the
    operators are missing: once declared, all else works, and calling one of them is an error.
    Nothing happens where torchvision or timm is not installed, or torchvision works.
    """
    if not all(map(importlib.util.find_spec, ('torchvision', 'timm'))):
        return
    try:
        importlib.import_module('torchvision')
    except RuntimeError as error:
        if 'operator torchvision::' not in str(error):
            raise
        library = torch.library.Library('torchvision', 'DEF')
        for name in ('nms', 'qnms'):
            library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        _declared.append(library)
        importlib.import_module('torchvision')
