"""Outputs of a prediction, encoded as files."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..escaping import path_cell, printable
from ..visualization import blend, draw_grid
from .photo_search import is_output
from .photos import reduced
from .prediction import Failure, Prediction

# Key of the text in PNG files.
PROVENANCE = 'diffiml'
# Largest size of a record in bytes; a larger JSON file is not a record.
LARGEST_RECORD = 10_000_000
# Columns of a table.
_COLUMNS = (
    'name', 'width', 'height', 'score', 'threshold', 'tampered_share', 'mean_uncertainty',
)  # fmt: skip
_OF_PROVENANCE = ('input_sha256', 'model_sha256', 'config_sha256', 'seed', 'settings', 'versions')
# Resolution of a strip in pixels per inch, and side of its panels in pixels.
_DPI = 180
_STRIP = 480


def is_foreign(path: Path) -> bool:
    """Whether an output's path holds a file that ``diffiml predict`` did not write.

    Examples are NAME.json of a camera service and a mask drawn by hand. A damaged file is not
    foreign and may be replaced.
    """
    if not path.is_file():
        return False
    if path.suffix != '.json':
        with path.open('rb') as file:
            picture = file.read(8).startswith((b'\x89PNG\r\n\x1a\n', b'GIF8'))
        return picture and not is_output(path)
    if path.stat().st_size > LARGEST_RECORD:
        return True
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return not isinstance(content, dict) or 'provenance' not in content


def as_json(content: dict) -> bytes:
    """Encode as indented JSON, for people and programs."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
    # JSON escapes what UTF-8 cannot encode.
    return text.encode(errors='backslashreplace')


def as_csv(records: Sequence[dict], failures: Sequence[Failure]) -> bytes:
    """Encode a table of all images' records, with the failed images at the end."""
    table = io.StringIO(newline='')
    writer = csv.DictWriter(table, [*_COLUMNS, *_OF_PROVENANCE, 'failure'], restval='')
    writer.writeheader()
    for record in records:
        row = {k: record[k] for k in _COLUMNS} | dict(name=path_cell(record['name']))
        for key in _OF_PROVENANCE:
            value = record['provenance'][key]
            row[key] = json.dumps(value) if isinstance(value, dict) else value
        writer.writerow(row)
    for failure in failures:
        writer.writerow(dict(name=path_cell(failure.name), failure=path_cell(failure.reason)))
    return table.getvalue().encode()


def png(array: np.ndarray, provenance: Mapping) -> bytes:
    """Encode an (H, W) or (H, W, 3) RGB uint8 array, with the provenance as text 'diffiml'."""
    info = PngInfo()
    info.add_text(PROVENANCE, json.dumps(provenance))
    buffer = io.BytesIO()
    # Level 6 takes twice the time of level 3 and saves only a few percent.
    Image.fromarray(array).save(buffer, 'PNG', pnginfo=info, compress_level=3)
    return buffer.getvalue()


def strip(prediction: Prediction) -> bytes:
    """Draw labeled panels of image, overlay, probability, mask and all other maps, as a PNG."""
    panels = {title: reduced(panel, _STRIP) for title, panel in prediction.panels().items()}
    label = f'score {prediction.score:.2f}\n{printable(prediction.name)[-28:]}'
    return _grid(list(panels.values()), list(panels), label, prediction.provenance)


def trajectory_strip(
    image: np.ndarray, frames: Sequence[np.ndarray], name: str, provenance: Mapping
) -> bytes:
    """Draw image and frames of :meth:`DiffIMLInferencer.trajectory` side by side, as a PNG."""
    evaluations = [f'evaluation {number}' for number in range(1, len(frames) - 1)]
    titles = ['image', 'noise', *evaluations, 'result']
    return _grid([image, *frames], titles, printable(name)[-28:], provenance)


def _grid(panels: list[np.ndarray], titles: list[str], label: str, provenance: Mapping) -> bytes:
    buffer = io.BytesIO()
    text = {PROVENANCE: json.dumps(provenance)}
    draw_grid([panels], titles, [label], buffer, text, _DPI)
    return buffer.getvalue()


def trajectory_gif(
    image: np.ndarray, frames: Sequence[np.ndarray], provenance: Mapping, seconds: float = 2.0
) -> bytes:
    """Animate the solver's trajectory from noise to mask, over the image.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB image.
        frames (Sequence[np.ndarray]): (H, W) probabilities of each frame.
        provenance (Mapping): Provenance, stored as the file's comment.
        seconds (float): Duration of all frames except the last, which is shown for the same time
            again.
    """
    pictures = []
    for number, frame in enumerate(frames):
        # The image is beside the frame, since the first frame shows only noise.
        picture = np.concatenate([image, blend(image, frame, 0.8)], axis=1)
        done = round(picture.shape[1] * (number + 1) / len(frames))
        bar = np.full((4, picture.shape[1], 3), 40, np.uint8)
        bar[:, :done] = (255, 234, 70)
        pictures.append(Image.fromarray(np.concatenate([picture, bar])))
    durations = [round(1000 * seconds / len(frames))] * (len(frames) - 1) + [round(1000 * seconds)]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, 'GIF', save_all=True, append_images=pictures[1:], duration=durations, loop=0,
        comment=json.dumps(provenance).encode(),
    )  # fmt: skip
    return buffer.getvalue()
