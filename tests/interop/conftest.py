import json
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope='session')
def lists(tmp_path_factory) -> dict[str, Path]:
    """JSON lists of IMDL-BenCo: 'train' and 'mixed' with authentic images, 'tampered' without."""
    root = tmp_path_factory.mktemp('drawn')
    draw = np.random.default_rng(0)
    records = []
    for index in range(8):
        size = (90 + 10 * index, 130 - 8 * index)
        image = cv2.resize(draw.integers(0, 256, (12, 12, 3), np.uint8), size)
        mask = np.zeros(image.shape[:2], np.uint8)
        if index % 4 != 3:
            top, left = 10 + 3 * index, 20 - index
            mask[top : top + 30, left : left + 40] = 255
            image[mask > 0] = draw.integers(0, 256, (int((mask > 0).sum()), 3), np.uint8)
        files = [str(root / f'{kind}{index}.png') for kind in ('image', 'mask')]
        cv2.imwrite(files[0], image)
        cv2.imwrite(files[1], mask)
        records.append([files[0], files[1] if mask.any() else 'Negative'])
    chosen = dict(train=records, mixed=records, tampered=[r for r in records if r[1] != 'Negative'])
    for name, entries in chosen.items():
        (root / f'{name}.json').write_text(json.dumps(entries))
    return {name: root / f'{name}.json' for name in chosen}
