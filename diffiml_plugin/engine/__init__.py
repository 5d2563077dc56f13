"""Running: hooks, and set-up of a run from the command line."""

from .save_masks_hook import SaveMasksHook

__all__ = ['SaveMasksHook']
