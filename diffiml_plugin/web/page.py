"""The web page."""

import html
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

# This must be set before the import of Gradio, which reads it.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
import gradio as gr

from ..apis.files import as_json, png, trajectory_gif
from ..apis.inferencer import DiffIMLInferencer
from ..apis.photos import reduced
from ..apis.prediction import Failure, Prediction
from ..errors import UserError
from ..models.diffiml.sampler import SolverSettings
from ..visualization import blend, color
from .store import Store

# Longest side of pictures in the browser in pixels; downloads have the image's own size.
_SHOWN = 1024
MAX_PIXELS = 50_000_000
# Largest seed: the largest integer of JavaScript.
_MAX_SEED = 2**53 - 1
# Largest number of requests that run or wait, for the model and for drawing each.
_WAITING = 8
_GONE = 'The result is no longer kept: analyze the image again.'
LOOKS = dict(
    # System fonts are used, since other fonts would be downloaded.
    theme=gr.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace']),
    # With this style, small images fill their frame.
    css='.image-frame img {width: 100%; height: 100%; object-fit: contain}'
    '#problem p {border-left: 4px solid #dc2626; padding: 4px 12px}',
    footer_links=[],
    run_history=False,
    ssr_mode=False,
    mcp_server=False,
    show_error=False,
)
_INTRODUCTION = """# DiffIML
Where was this photograph manipulated? Drop one, or take an example. What is marked is a hint for
people who look further, not evidence; nothing leaves this machine."""


class Page:
    """The functions behind the page.

    The server keeps no session: the page keeps a result's token, and the store keeps the result.

    Args:
        inferencer (DiffIMLInferencer): Inferencer with the model.
        store (Store): Folder of uploads and results.
    """

    def __init__(self, inferencer: DiffIMLInferencer, store: Store) -> None:
        self.inferencer = inferencer
        self.store = store
        # Two images at a time would only slow each other down.
        self._model = _Line(_WAITING)
        self._drawing = _Line(_WAITING)

    def analyze(
        self,
        path: str | None,
        steps: float,
        members: float,
        seed: int,
        threshold: float,
        opacity: float,
    ) -> tuple:
        """Predict and draw."""
        with self._model.turn():
            prediction = next(
                self.inferencer.stream(
                    [_given(path)], threshold=threshold, max_pixels=MAX_PIXELS,
                    **self._settings(seed, steps, members),
                )
            )  # fmt: skip
        if isinstance(prediction, Failure):
            raise UserError(prediction.reason)
        folder = self.store.folder()
        _write(prediction, folder)
        edge, uncertainty = (
            None if values is None else color(reduced(values, _SHOWN), top)
            for values, top in ((prediction.edge, 1), (prediction.uncertainty, 0.5))
        )
        return folder.name, *self.draw(folder.name, threshold, opacity), edge, uncertainty

    def draw(self, token: str | None, threshold: float, opacity: float) -> tuple:
        """Draw the pictures that depend on the sliders, and write the downloads."""
        if not token:
            return '', None, None, None, None, None
        with self._drawing.turn():
            record, image, probability = _read(self.store.path / token)
            mask = (probability > threshold).astype(np.uint8)
            share = float(mask.mean())
            record |= dict(threshold=threshold, tampered_share=round(share, 6))
            # A new folder is used, since the browser may still download the earlier files.
            folder = self.store.folder()
            mask_file, report = (folder / f'{record["name"]}.{end}' for end in ('mask.png', 'json'))
            mask_file.write_bytes(png(255 * mask, record['provenance']))
            report.write_bytes(as_json(record))
        shown = reduced(probability, _SHOWN)
        text = (
            f'**{100 * share:.1f} %** of the image is marked at threshold {threshold:g} · '
            f'{_score_text(record)}'
        )
        return (
            text,
            blend(image, shown, opacity),
            color(shown),
            np.where(shown > threshold, np.uint8(255), np.uint8(0)),
            str(mask_file),
            str(report),
        )

    def animate(self, path: str | None, steps: float, seed: int, token: str | None) -> tuple:
        """Animate the solver's trajectory from noise to mask; return the GIF."""
        if not token:
            raise UserError('Analyze the image first.')
        folder = self.store.path / token
        with self._model.turn():
            image, frames = self.inferencer.trajectory(
                _given(path), max_pixels=MAX_PIXELS, **self._settings(seed, steps)
            )
        provenance = _read(folder)[0]['provenance']
        provenance |= dict(seed=seed, num_inference_steps=int(steps))
        target = self.store.folder() / 'trajectory.gif'
        target.write_bytes(trajectory_gif(image, frames, provenance))
        return (str(target),)

    def _settings(self, seed: int, steps: float, members: float | None = None) -> dict:
        if self.inferencer.solver_settings is None:
            return {}
        members = None if members is None else int(members)
        return SolverSettings(int(steps), members, seed=int(seed)).given()


class _Line:
    """A queue that runs one request at a time and limits the number of waiting requests.

    Args:
        places (int): Largest number of running and waiting requests; further ones are rejected.
    """

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(places)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn.

        Raises:
            UserError: If too many requests are already waiting.
        """
        if not self._places.acquire(blocking=False):
            raise UserError('Too many requests are waiting: try again in a minute.')
        try:
            with self._lock:
                yield
        finally:
            self._places.release()


def _write(prediction: Prediction, folder: Path) -> None:
    """Store the data of the pictures; the probability keeps its size, so that masks are exact."""
    np.save(folder / 'probability.npy', prediction.probability)
    np.save(folder / 'image.npy', reduced(prediction.image, _SHOWN))
    (folder / 'record.json').write_bytes(as_json(prediction.record()))


def _read(folder: Path) -> tuple[dict, np.ndarray, np.ndarray]:
    try:
        record = json.loads((folder / 'record.json').read_bytes())
        arrays = (np.load(folder / f'{name}.npy') for name in ('image', 'probability'))
        return record, *arrays
    except FileNotFoundError:
        raise UserError(_GONE) from None


def _score_text(record: dict) -> str:
    if record['score_is_probability']:
        return f'probability that it is manipulated {100 * record["score"]:.0f} %'
    return f'image score {record["score"]:.3f} (ranks images, is not a probability)'


def _path_of(payload: Any) -> str | None:
    # Gradio's own preprocessing would decode and store the image again.
    return payload and payload.path


def _given(path: str | None) -> str:
    if path is None:
        raise UserError('Give an image first.')
    return path


def _answered(function: Callable, failed: Sequence) -> Callable:
    """Put the message of a user's error, or an empty one, before a function's outputs.

    Without its queue, Gradio does not show errors that are raised.

    Args:
        function (Callable): Function whose outputs are a tuple.
        failed (Sequence): Outputs that replace the function's if it fails.
    """

    @wraps(function)
    def run(*args: Any) -> tuple:
        try:
            return '', *function(*args)
        except UserError as error:
            return f'<p role="alert">{html.escape(str(error))}</p>', *failed

    return run


def _examples(folder: Path) -> list[str]:
    """Copy the forgeries that come with the package to where the page may read them."""
    folder.mkdir(parents=True, exist_ok=True)
    own = sorted(Path(__file__).with_name('examples').glob('*.jpg'))
    return [str(shutil.copyfile(path, folder / path.name)) for path in own]


def build(inferencer: DiffIMLInferencer, store: Store) -> gr.Blocks:
    """Lay out the page.

    Args:
        inferencer (DiffIMLInferencer): Inferencer with the model.
        store (Store): Folder of uploads, results and examples.
    """
    page = Page(inferencer, store)
    solves = inferencer.solver_settings is not None
    solver = inferencer.solver_settings or SolverSettings(1, 1, seed=0)
    # The picture of uncertainty needs a second member.
    count, members = solver.num_inference_steps, max(2, solver.ensemble_size)
    with gr.Blocks(title='DiffIML', analytics_enabled=False) as blocks:
        gr.Markdown(_INTRODUCTION)
        # gr.State is not used, since Gradio would keep it in the server.
        token = gr.Textbox(visible=False)
        with gr.Row():
            with gr.Column(scale=1):
                photo = gr.Image(
                    sources=['upload', 'clipboard'], label='Photograph', height=300,
                    elem_id='photo',
                )  # fmt: skip
                photo.preprocess = _path_of
                start = gr.Button('Analyze', variant='primary', elem_id='analyze')
                threshold = gr.Slider(
                    0, 1, inferencer.threshold, step=0.01, label='Threshold', elem_id='threshold'
                )
                opacity = gr.Slider(0, 1, 0.6, step=0.05, label='Opacity', elem_id='opacity')
                with gr.Accordion('Solver', open=False, visible=solves):
                    steps = gr.Slider(1, max(20, count), count, step=1, label='Steps')
                    ensemble = gr.Slider(
                        1, max(10, members), members, step=1, label='Ensemble size'
                    )
                    seed = gr.Number(
                        solver.seed, precision=0, label='Seed',
                        minimum=-_MAX_SEED, maximum=_MAX_SEED,
                    )  # fmt: skip
                gr.Examples(_examples(store.path / 'examples'), photo, label='Manipulated examples')
            with gr.Column(scale=2):
                problem = gr.Markdown(elem_id='problem', latex_delimiters=[])
                score = gr.Markdown(elem_id='score')
                overlay = _picture('Heat map of probability over the image', 'overlay', height=420)
                with gr.Row():
                    probability = _picture('Probability (blue 0, yellow 1)', 'probability')
                    mask = _picture('Mask', 'mask')
                with gr.Row(visible=solves):
                    edge = _picture('Edge (blue 0, yellow 1)', 'edge')
                    uncertainty = _picture('Uncertainty (blue 0, yellow 0.5)', 'uncertainty')
                with gr.Row():
                    mask_file = gr.DownloadButton('Mask (PNG)', elem_id='mask-file')
                    report = gr.DownloadButton('Report (JSON)', elem_id='report-file')
                with gr.Accordion('From noise to mask', open=False, visible=solves):
                    gr.Markdown('Choose several solver steps to see more.')
                    show = gr.Button('Show', elem_id='animate')
                    film = _picture('Trajectory', 'film')
        drawn = [score, overlay, probability, mask, mask_file, report]
        # Gradio's queue is not used, since it keeps sessions, messages and open connections.
        common = dict(queue=False, api_visibility='private')
        outputs = [token, *drawn, edge, uncertainty]
        gr.on(
            [start.click, photo.input],
            # If it fails, the results of the earlier image are cleared.
            _answered(page.analyze, [None] * len(outputs)),
            [photo, steps, ensemble, seed, threshold, opacity],
            [problem, *outputs],
            **common,
        )
        gr.on(
            [threshold.change, opacity.change],
            _answered(page.draw, [gr.skip()] * len(drawn)),
            [token, threshold, opacity],
            [problem, *drawn],
            trigger_mode='always_last',
            show_progress='hidden',
            **common,
        )
        show.click(
            _answered(page.animate, [None]), [photo, steps, seed, token], [problem, film], **common
        )
    store.keep()
    return blocks


def _picture(label: str, name: str, height: int = 260) -> gr.Image:
    return gr.Image(
        label=label, interactive=False, format='png', height=height, elem_id=name,
        # The 'share' button is left out, since it would upload the picture.
        buttons=['download', 'fullscreen'],
    )  # fmt: skip
