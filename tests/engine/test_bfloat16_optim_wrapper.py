"""Training in mixed precision on a CPU."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from diffiml_plugin.engine import train as program
from diffiml_plugin.errors import UserError


@HOOKS.register_module()
class KeepTypes(Hook):
    """Keeps the data types of a convolution's output while losses are computed."""

    found: list = []

    def before_train(self, runner) -> None:
        denoiser = runner.model.decode_head.denoiser
        denoiser.unet.conv_in.register_forward_hook(
            lambda layer, args, output: self.found.append(output.dtype)
        )


@pytest.mark.parametrize(
    'settings, dtype',
    [({}, torch.float32), (dict(type='BFloat16OptimWrapper'), torch.bfloat16)],
)
def test_precision_of_losses(settings, dtype, tiny, train):
    KeepTypes.found.clear()
    cfg = tiny(custom_hooks=[dict(type='KeepTypes')])
    cfg.optim_wrapper.update(settings)
    model = train(cfg).model
    assert set(KeepTypes.found) == {dtype}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_option_on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    runs = []
    monkeypatch.setattr(program, 'run', lambda cfg, *_: runs.append(cfg))
    config = 'configs/diffiml/diffiml_demo.py'
    other = ['optim_wrapper.type=AmpOptimWrapper', 'optim_wrapper.loss_scale=dynamic']
    program.main([config, '--amp', 'bf16', '--cfg-options', *other], 'train')
    assert runs[0].optim_wrapper.type == 'BFloat16OptimWrapper'
    assert 'loss_scale' not in runs[0].optim_wrapper
    assert runs[0].optim_wrapper.clip_grad.max_norm > 0
    with pytest.raises(UserError, match='--amp fp16 needs a GPU.*use --amp bf16'):
        program.main([config, '--amp'], 'train')
