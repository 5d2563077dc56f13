"""Refusal of weights that belong to another model."""

from collections.abc import Callable, Mapping, Sequence

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ..errors import UserError
from .checkpoint import without_prefix
from .weights import misfit


@HOOKS.register_module()
class CheckWeightsHook(Hook):
    """Stops a run whose weights do not fit its model, where MMEngine would only warn.

    A checkpoint that is loaded or resumed must have every tensor of the model in its shape and no
    others, except for ``OPTIONAL_WEIGHTS`` (auxiliary heads) and the counters of batch
    normalization. The same holds for the checkpoint of an ``init_cfg`` of the whole model. The
    checkpoint of a part, such as a backbone, may lack or add some tensors (a classifier, norms),
    but must have more than half.

    The scripts in ``tools/`` add this hook to each run. Set it in a config to train from weights
    that lack a part on purpose::

        load_from = 'other.pth'
        custom_hooks = [dict(type='CheckWeightsHook', optional=['decode_head.'])]

    Args:
        optional (Sequence[str]): Prefixes of the names of weights that may be missing or
            unexpected when training starts. Resuming and testing need all weights. Defaults to
            ().

    Raises:
        UserError: If weights do not fit.
    """

    # Before EMAHook, which loads weights itself.
    priority = 'VERY_HIGH'

    def __init__(self, optional: Sequence[str] = ()) -> None:
        self.optional = tuple(optional)
        self._watched: list = []

    def before_run(self, runner: Runner) -> None:
        """Start checking the weights that are loaded for an ``init_cfg``."""
        model = _bare(runner.model)
        for name, module in model.named_modules():
            configs = getattr(module, 'init_cfg', None) or []
            for config in configs if isinstance(configs, list) else [configs]:
                if 'checkpoint' in config:
                    check = _checking(name, config['checkpoint'])
                    handle = module._register_load_state_dict_pre_hook(check, with_module=True)
                    self._watched.append(handle)

    def before_train(self, runner: Runner) -> None:
        """Stop checking them."""
        for handle in self._watched:
            handle.remove()
        self._watched.clear()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint with the model."""
        resumed = runner._resume
        source = runner._load_from or f'the latest of {runner.work_dir}'
        trains = isinstance(runner._train_loop, BaseLoop)
        if resumed:
            _check_training_state(checkpoint, source)
        optional = self.optional if trains and not resumed else ()
        states = [checkpoint.get('state_dict', checkpoint)]
        if resumed and 'ema_state_dict' in checkpoint:
            average = dict(checkpoint['ema_state_dict'])
            average.pop('steps', None)
            states.append(average)
        own = _bare(runner.model).state_dict()
        for state in states:
            if said := misfit(own, without_prefix(state, 'module.'), optional):
                raise UserError(
                    f'checkpoint {str(source)!r} does not fit the config '
                    f'{str(runner.cfg.filename)!r}: {said}; give the config that it was trained '
                    'with'
                )
        if resumed and trains:
            _check_optimizer(runner, checkpoint['optimizer'], source)


def _check_optimizer(runner: Runner, state: dict, source: str) -> None:
    wrapper = runner.optim_wrapper
    try:
        # The Runner does the same next, but would not notice missing settings.
        wrapper.load_state_dict(dict(state))
        optimizer = getattr(wrapper, 'optimizer', None)
        groups = optimizer.param_groups if optimizer else []
        absent = sorted(key for group in groups for key in optimizer.defaults.keys() - group.keys())
        fault = f'no setting {absent[0]!r}' if absent else ''
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        fault = str(error)
    if fault:
        raise UserError(
            f'checkpoint {str(source)!r} is of another optimizer than the config '
            f'{str(runner.cfg.filename)!r} ({fault}): resume with the config that it was trained '
            'with, or start from its weights alone with load_from'
        )


def _bare(model: nn.Module) -> nn.Module:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def _checking(part: str, source: str) -> Callable:
    def check(module: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
        # A checkpoint of the whole model is compared as such.
        if prefix:
            return
        own = module.state_dict()
        fitting = sum(k in state and state[k].shape == own[k].shape for k in own)
        said = misfit(own, state)
        if said and (not part or 2 * fitting <= len(own)):
            raise UserError(
                f'init_cfg of {part or "the model"}: checkpoint {source!r} does not fit: {said}'
            )

    return check


def _check_training_state(checkpoint: dict, source: str) -> None:
    needed = dict(meta=('iter', 'epoch'), message_hub=('log_scalars', 'runtime_info'))
    for part, keys in needed.items():
        stored = checkpoint.get(part)
        if not isinstance(stored, dict) or not stored.keys() >= set(keys):
            raise UserError(
                f'checkpoint {str(source)!r} holds no state of a training ({part}), so it cannot '
                'be resumed: to start from its weights, set load_from instead'
            )
