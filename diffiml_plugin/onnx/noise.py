"""The solver's noise, equal to that of PyTorch on a CPU.

An image's noise depends on its pixels, so a program without PyTorch has to draw the same numbers.
PyTorch's generator is the Mersenne Twister, which NumPy has too; its normal numbers are those of
Box and Muller, in blocks of 16.
"""

import hashlib

import numpy as np

# Numbers that are drawn together: 8 radii and 8 angles.
_BLOCK = 16


def pixel_hash(pixels: np.ndarray) -> str:
    """Return the SHA-256 that ``models.diffiml.sampler.pixel_hash`` returns for a tensor.

    Args:
        pixels (np.ndarray): (3, H, W) uint8 pixels in the order of the test pipeline, BGR.
    """
    digest = hashlib.sha256(f'torch.uint8 {pixels.shape}'.encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def identity_noise(identity: str, shape: tuple[int, ...], seed: int, member: int) -> np.ndarray:
    """Draw the noise of one image, as ``models.diffiml.sampler.identity_noise`` does.

    Args:
        identity (str): Identity of the image, its :func:`pixel_hash`.
        shape (tuple[int, ...]): Shape of the noise, at least 16 numbers.
        seed (int): Seed of the run.
        member (int): Index of the member in the ensemble.

    Returns:
        np.ndarray: Standard normal float32 noise.
    """
    digest = hashlib.sha256(f'{seed}/{member}/{identity}'.encode()).digest()
    return normal(int.from_bytes(digest[:8], 'big') >> 1, shape)


def normal(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Draw what ``torch.randn`` draws on a CPU after ``manual_seed(seed)``.

    Args:
        seed (int): Seed, 0 or above; PyTorch's generator uses its lowest 32 bits.
        shape (tuple[int, ...]): Shape with at least 16 numbers; PyTorch draws fewer differently.

    Returns:
        np.ndarray: Float32 numbers, equal to PyTorch's up to rounding.

    Examples:
        >>> normal(0, (16,))[:3].round(4)
        array([-1.1258, -1.1524, -0.2506], dtype=float32)
    """
    count = int(np.prod(shape))
    if count < _BLOCK:
        raise ValueError(f'PyTorch draws fewer than {_BLOCK} numbers differently, got {shape}')
    twister = np.random.RandomState(seed & 0xFFFFFFFF)
    numbers = _box_muller(_uniform(twister, count)[: count // _BLOCK * _BLOCK])
    if count % _BLOCK:
        # The last block ends with the last number and overwrites what it overlaps.
        last = _box_muller(_uniform(twister, _BLOCK))
        numbers = np.concatenate([numbers[: count - _BLOCK], last])
    return numbers.reshape(shape)


def _uniform(twister: np.random.RandomState, count: int) -> np.ndarray:
    bits = twister.randint(0, 2**32, count, dtype=np.uint32) & 0xFFFFFF
    return bits.astype(np.float32) * np.float32(2**-24)


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    halves = uniform.reshape(-1, 2, _BLOCK // 2)
    radius = np.sqrt(-2 * np.log(1 - halves[:, 0]))
    angle = np.float32(2 * np.pi) * halves[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
