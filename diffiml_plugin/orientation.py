"""EXIF orientation: how a viewer turns the stored pixels of a photograph."""

import numpy as np

# Orientations as counterclockwise quarter turns after mirroring.
_TURNS = {
    1: (False, 0), 2: (True, 0), 3: (False, 2), 4: (True, 2),
    5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip


def turned_upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an (H, W, ...) array as a viewer turns a photograph of EXIF ``orientation`` 1..8.

    Examples:
        >>> turned_upright(np.array([[1, 2]]), 6)
        array([[1],
               [2]])
    """
    mirrored, turns = _TURNS[orientation]
    return np.ascontiguousarray(np.rot90(array[:, ::-1] if mirrored else array, turns))
