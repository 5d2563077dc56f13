"""Drawn photographs."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest


def draw_photograph(seed: int, size: tuple[int, int] = (150, 180)) -> SimpleNamespace:
    """A colored texture with one disc as its object."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 220, (12, 14, 3)).astype(np.float32)
    image = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, 8, image.shape)
    mask = np.zeros(size, np.uint8)
    center = rng.integers(50, 100, 2).tolist()
    cv2.circle(mask, center, int(rng.integers(12, 28)), 1, -1)
    image[mask > 0] = image[mask > 0] * 0.4 + rng.uniform(0, 150, 3)
    return SimpleNamespace(image=np.clip(image, 0, 255).astype(np.uint8), objects=[mask])


class DrawnSource:
    """Four drawn photographs, the last without objects; counts what is read."""

    def __init__(self) -> None:
        self.photographs = [draw_photograph(seed) for seed in range(4)]
        self.photographs[3].objects = []
        self.loads = 0

    def __len__(self) -> int:
        return len(self.photographs)

    def load(self, index: int) -> SimpleNamespace:
        """Return one of them."""
        self.loads += 1
        return self.photographs[index]


@pytest.fixture
def source() -> DrawnSource:
    return DrawnSource()


@pytest.fixture
def texture() -> np.ndarray:
    return draw_photograph(9).image
