"""Pasted text: dates, numbers, words, or a line of words."""

import functools
import string
from pathlib import Path

import numpy as np
from mmseg.registry import TRANSFORMS
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from ..compositing import soften
from ..settings import log_uniform
from .overlay import Overlay, random_color

# Text fonts that come with matplotlib; its other fonts hold mathematical symbols.
_FONTS = 'fonts/ttf/DejaVuS*.ttf'
_HEIGHTS = (0.03, 0.16)


@functools.cache
def _font_files() -> list[Path]:
    import matplotlib

    fonts = sorted(Path(matplotlib.get_data_path()).glob(_FONTS))
    return [path for path in fonts if 'Display' not in path.name]


def _random_text(rng: Generator) -> str:
    kind = rng.random()
    if kind < 0.25:
        year, month, day = rng.integers((1990, 1, 1), (2030, 13, 29))
        date = f'{day:02d}.{month:02d}.{year}', f'{year}-{month:02d}-{day:02d}'
        return date[int(rng.integers(2))]
    if kind < 0.45:
        return ''.join(rng.choice(list(string.digits), int(rng.integers(2, 10))))
    letters = string.ascii_lowercase + 5 * 'aeiounrst'
    words = [
        ''.join(rng.choice(list(letters), int(rng.integers(2, 9))))
        for _ in range(int(rng.integers(1, 5)))
    ]
    line = ' '.join(words)
    return line.upper() if rng.random() < 0.4 else line.capitalize()


@TRANSFORMS.register_module()
class PastedText(Overlay):
    """Write a line of text, sometimes slanted and with soft edges.

    Args:
        **kwargs: Passed to :class:`~diffiml_plugin.synthesis.operations.overlay.Overlay`.
    """

    name = 'pasted_text'

    def layer(self, host: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the text; only its letters are covered."""
        height, width = host.shape[:2]
        fonts = _font_files()
        size = max(int(log_uniform(*_HEIGHTS, rng) * height), 7)
        font = ImageFont.truetype(str(fonts[int(rng.integers(len(fonts)))]), size)
        text = _random_text(rng)
        left, top, right, bottom = (int(side) for side in font.getbbox(text))
        line = Image.new('L', (right - left + 4, bottom - top + 4))
        ImageDraw.Draw(line).text((2 - left, 2 - top), text, fill=255, font=font)
        if rng.random() < 0.4:
            line = line.rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC, expand=True)
        canvas = Image.new('L', (width, height))
        room_x, room_y = width - line.width, height - line.height
        place_x = int(rng.integers(min(0, room_x), max(0, room_x) + 1))
        place_y = int(rng.integers(min(0, room_y), max(0, room_y) + 1))
        canvas.paste(line, (place_x, place_y))
        coverage = np.asarray(canvas, np.float32) / 255
        if rng.random() < 0.5:
            coverage = soften(coverage, rng.uniform(0.3, 0.9))
        return random_color(host, rng), coverage
