"""Weights of a checkpoint, and whether they fit a model."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from ..errors import UserError
from .checkpoint import read_weights

# They do not change predictions, so they may be missing or unexpected.
OPTIONAL_WEIGHTS = ('auxiliary_head.',)


def misfit(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], optional: Sequence[str] = ()
) -> str:
    """Say which of a checkpoint's weights do not fit a model; empty if all of them fit.

    Args:
        own (Mapping[str, Tensor]): State dict of the model.
        state (Mapping[str, Tensor]): State dict of the checkpoint.
        optional (Sequence[str]): Prefixes of names that may be missing or unexpected, in addition
            to ``OPTIONAL_WEIGHTS``. The counters ``num_batches_tracked`` may always be missing.
    """

    def needed(names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if not name.startswith((*OPTIONAL_WEIGHTS, *optional)))

    both = own.keys() & state.keys()
    faults = {
        'missing': [
            name
            for name in needed(own.keys() - state.keys())
            if not name.endswith('.num_batches_tracked')
        ],
        'too many': needed(state.keys() - own.keys()),
        'of another shape': sorted(
            name for name in both if own[name].shape != getattr(state[name], 'shape', None)
        ),
    }
    return ', '.join(
        f'{len(names)} tensors {fault} ({", ".join(names[:3])})'
        for fault, names in faults.items()
        if names
    )


def load_weights(model: nn.Module, checkpoint: str | Path, config: str | Path | None) -> None:
    """Load a checkpoint's weights into a model that they must fit, see :func:`misfit`.

    Args:
        model (nn.Module): Model on any device.
        checkpoint (str | Path): File or address of the checkpoint.
        config (str | Path | None): Name of the model's config, for messages.

    Raises:
        UserError: If the checkpoint cannot be read, or belongs to another model.
    """
    state = read_weights(checkpoint)
    if said := misfit(model.state_dict(), state):
        raise UserError(f'checkpoint {str(checkpoint)!r} does not fit {str(config)!r}: {said}')
    model.load_state_dict(state, strict=False)
