"""Training that an interruption does not change."""

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch.utils.data import DataLoader

from .data_order import fix_data_order, parts_of, seed_iteration


@HOOKS.register_module()
class ResumeRandomStateHook(Hook):
    """Makes a resumed run bit-equal to one that was never interrupted.

    MMEngine stores no random state, and its data workers start with other seeds after a resume.
    Here nothing has to be stored: the draws of an iteration (timesteps, noise) depend only on
    seed, rank and iteration, and the augmentation of a sample only on seed, rank and its place in
    the data's order. The number of data workers makes no difference.

    Checkpoints hold the settings that the data's order depends on; a resumed run warns if they
    differ.
    """

    # Runs before hooks that draw random numbers.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Fix the order of the data."""
        fix_data_order(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the epoch of the order."""
        order = runner.train_dataloader.batch_sampler
        if order is not None:
            order.epoch = runner.epoch

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seed the random draws of the model."""
        seed_iteration(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the settings that the data's order depends on to the checkpoint's ``meta``."""
        checkpoint['meta']['training_data'] = _describe(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Warn about each of these settings that differs from the checkpoint's."""
        # A run that starts from weights only has its own order of data.
        if not runner._resume or runner._train_loop is None:
            return
        stored = checkpoint.get('meta', {}).get('training_data')
        stored = stored if isinstance(stored, dict) else {}
        for name, value in _describe(runner).items():
            if name in stored and stored[name] != value:
                print_log(
                    f'{name} is {value} and was {stored[name]} in the checkpoint: the resumed run '
                    'will differ from an uninterrupted one',
                    'current',
                    level=30,
                )


def _describe(runner: Runner) -> dict[str, int | str]:
    loader: DataLoader = runner.train_dataloader
    return {
        'batch size': getattr(loader.batch_sampler, 'batch_size', loader.batch_size),
        'number of processes': runner.world_size,
        'number of training images': len(loader.dataset),
        'training data': ', '.join(_places(loader.dataset)),
    }


def _places(dataset: object) -> list[str]:
    """Name the folder or list of a data set, or of all data sets in it."""
    parts = parts_of(dataset)
    if parts:
        return [place for part in parts for place in _places(part)]
    place = getattr(dataset, 'ann_file', '') or getattr(dataset, 'data_root', '')
    return [str(place or type(dataset).__name__)]
