import warnings

import cv2
import numpy as np

from diffiml_plugin.visualization import draw_grid


def test_grid_shows_every_picture_and_its_title(tmp_path):
    image = np.full((20, 30, 3), (250, 0, 0), np.uint8)
    rows = [[image, np.ones((20, 30))], [image, np.zeros((20, 30))]]
    draw_grid(rows, ['image', 'model probability'], ['a', 'b'], tmp_path / 'new/grid.png')
    picture = cv2.imread(str(tmp_path / 'new/grid.png'))
    red = (picture == (0, 0, 250)).all(2)
    assert cv2.connectedComponents(red.astype(np.uint8))[0] - 1 == 2
    # File names may look like formulas and use any script.
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        draw_grid(rows, ['', ''], ['\u7167', '$b^$'], tmp_path / 'untitled.png')
    untitled = cv2.imread(str(tmp_path / 'untitled.png'))
    assert picture.shape != untitled.shape or (picture != untitled).any()
