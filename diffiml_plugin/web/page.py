"""The page and its server."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Before Gradio is imported, which reads it then.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
import gradio as gr  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from ..apis.files import as_json, png, trajectory_gif  # noqa: E402
from ..apis.inferencer import DiffIMLInferencer  # noqa: E402
from ..apis.photos import reduced  # noqa: E402
from ..apis.prediction import Failure, Prediction  # noqa: E402
from ..errors import UserError  # noqa: E402
from ..synthesis.demo_data import PHOTOGRAPHS, SEEN, read_photographs, write_folder  # noqa: E402
from ..visualization import blend, color  # noqa: E402
from .hide_folder import HideFolder  # noqa: E402

# What the browser gets to see, in pixels a side; downloads are of the image's own size.
_SHOWN = 1024
MAX_PIXELS = 50_000_000
# Of results that nobody asks for any more, in seconds.
_KEPT = 3600
_INTRODUCTION = """# DiffIML
Where was this photograph manipulated? Drop one, or take an example. What is marked is a hint for
people who look further, and no evidence by itself; nothing leaves this machine."""


@dataclass
class _Finding:
    """What a session keeps of its last image."""

    folder: Path
    name: str
    record: dict
    probability: np.ndarray
    image: np.ndarray
    shown: np.ndarray
    edge: np.ndarray | None
    uncertainty: np.ndarray | None

    @classmethod
    def of(cls, prediction: Prediction, folder: Path) -> '_Finding':
        def small(values: np.ndarray | None, top: float = 1) -> np.ndarray | None:
            return None if values is None else color(reduced(values, _SHOWN), top)

        return cls(
            folder=folder,
            name=prediction.name,
            record=prediction.record(),
            probability=prediction.probability,
            image=reduced(prediction.image, _SHOWN),
            shown=reduced(prediction.probability, _SHOWN),
            edge=small(prediction.edge),
            uncertainty=small(prediction.uncertainty, 0.5),
        )


class Page:
    """The page's answers.

    Args:
        inferencer (DiffIMLInferencer): The model.
        folder (Path): For uploads and downloads.
    """

    def __init__(self, inferencer: DiffIMLInferencer, folder: Path) -> None:
        self.inferencer = inferencer
        self.folder = folder

    def analyse(
        self,
        path: str | None,
        steps: int,
        members: int,
        seed: int,
        threshold: float,
        opacity: float,
        last: _Finding | None,
    ) -> tuple:
        """Predict and draw."""
        found = next(
            self.inferencer.stream(
                [_given(path)], threshold=threshold, max_pixels=MAX_PIXELS,
                **self._settings(seed, steps, members),
            )
        )  # fmt: skip
        if isinstance(found, Failure):
            raise gr.Error(found.reason, print_exception=False)
        _forget(last)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        finding = _Finding.of(found, folder)
        return finding, *self.draw(finding, threshold, opacity), finding.edge, finding.uncertainty

    def draw(self, finding: _Finding | None, threshold: float, opacity: float) -> tuple:
        """Draw what depends on the sliders, and write the downloads."""
        if finding is None:
            return '', None, None, None, None, None
        mask = (finding.probability > threshold).astype(np.uint8)
        share = float(mask.mean())
        record = finding.record | dict(threshold=threshold, tampered_share=round(share, 6))
        # Named after the upload's name, which Gradio has freed of all that is no name.
        stem = finding.folder / finding.name
        mask_file, report_file = (Path(f'{stem}.{end}') for end in ('mask.png', 'json'))
        mask_file.write_bytes(png(255 * mask, record['provenance']))
        report_file.write_bytes(as_json(record))
        text = (
            f'**{100 * share:.1f} %** of the image is marked at threshold {threshold:g} · '
            f'image score {record["score"]:.3f} (orders images, is no probability)'
        )
        return (
            text,
            blend(finding.image, finding.shown, opacity),
            color(finding.shown),
            np.where(finding.shown > threshold, np.uint8(255), np.uint8(0)),
            str(mask_file),
            str(report_file),
        )

    def animate(self, path: str | None, steps: int, seed: int, finding: _Finding | None) -> str:
        """Draw the solver's way from noise to mask; return the GIF."""
        if finding is None:
            raise gr.Error('Analyse the image first.', print_exception=False)
        image, frames = self.inferencer.trajectory(
            _given(path), max_pixels=MAX_PIXELS, **self._settings(seed, steps)
        )
        provenance = finding.record['provenance'] | dict(seed=seed, num_inference_steps=steps)
        target = finding.folder / 'trajectory.gif'
        target.write_bytes(trajectory_gif(image, frames, provenance))
        return str(target)

    def _settings(self, seed: int, steps: int, members: int | None = None) -> dict:
        if not self.inferencer.solves:
            return {}
        changes = dict(seed=int(seed), num_inference_steps=int(steps))
        return changes if members is None else changes | dict(ensemble_size=int(members))


def _path_of(payload: Any) -> str | None:
    # Gradio has found it to be an upload's.
    return payload and payload.path


def _given(path: str | None) -> str:
    if path is None:
        raise gr.Error('Give an image first.', print_exception=False)
    return path


def _answered(function: Any) -> Any:
    """Let a user's error reach the page as a sentence."""

    def run(*args: Any) -> Any:
        try:
            return function(*args)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return run


def _forget(finding: _Finding | None) -> None:
    if finding is not None:
        shutil.rmtree(finding.folder, ignore_errors=True)


def _examples(folder: Path) -> list[str]:
    """Make a few images of known manipulation."""
    photographs = read_photographs(PHOTOGRAPHS['test'])
    write_folder(folder, photographs, SEEN, 4, (0, 9), authentic_share=0, png_share=1)
    return [str(path) for path in sorted((folder / 'Tp').iterdir())]


def build(inferencer: DiffIMLInferencer, folder: Path) -> gr.Blocks:
    """Lay out the page.

    Args:
        inferencer (DiffIMLInferencer): The model.
        folder (Path): For downloads and examples.
    """
    page = Page(inferencer, folder)
    solver = inferencer.solver
    members = getattr(solver, 'ensemble_size', 1)
    with gr.Blocks(
        title='DiffIML', analytics_enabled=False, delete_cache=(_KEPT // 6, _KEPT)
    ) as blocks:
        gr.Markdown(_INTRODUCTION)
        finding = gr.State(time_to_live=_KEPT, delete_callback=_forget)
        with gr.Row():
            with gr.Column(scale=1):
                photo = gr.Image(
                    sources=['upload', 'clipboard'], label='Photograph', height=300,
                    elem_id='photo',
                )  # fmt: skip
                # The upload as it is: Gradio would decode and store it again.
                photo.preprocess = _path_of
                start = gr.Button('Analyse', variant='primary', elem_id='analyse')
                threshold = gr.Slider(
                    0, 1, inferencer.threshold, step=0.01, label='Threshold', elem_id='threshold'
                )
                opacity = gr.Slider(0, 1, 0.6, step=0.05, label='Opacity', elem_id='opacity')
                with gr.Accordion('Solver', open=False, visible=inferencer.solves):
                    steps = gr.Slider(
                        1, 20, getattr(solver, 'num_inference_steps', 1), step=1, label='Steps'
                    )
                    ensemble = gr.Slider(
                        1, 10, members, step=1,
                        label='Ensemble size',
                    )  # fmt: skip
                    seed = gr.Number(getattr(solver, 'seed', 0), precision=0, label='Seed')
                gr.Examples(_examples(folder / 'examples'), photo, label='Manipulated examples')
            with gr.Column(scale=2):
                score = gr.Markdown(elem_id='score')
                overlay = _picture('Heat map of probability over the image', 'overlay', height=420)
                with gr.Row():
                    probability = _picture('Probability (blue 0, yellow 1)', 'probability')
                    mask = _picture('Mask', 'mask')
                with gr.Row(visible=inferencer.solves):
                    edge = _picture('Edge (blue 0, yellow 1)', 'edge')
                    uncertainty = _picture('Uncertainty (blue 0, yellow 0.5)', 'uncertainty')
                with gr.Row():
                    mask_file = gr.DownloadButton('Mask (PNG)', elem_id='mask-file')
                    report = gr.DownloadButton('Report (JSON)', elem_id='report-file')
                with gr.Accordion('From noise to mask', open=False, visible=inferencer.solves):
                    gr.Markdown("More than one of the solver's steps show more.")
                    show = gr.Button('Show', elem_id='animate')
                    film = _picture('Trajectory', 'film')
        drawn = [score, overlay, probability, mask, mask_file, report]
        # One at a time: a second image would only slow both down.
        heavy = dict(concurrency_limit=1, concurrency_id='model', api_visibility='private')
        gr.on(
            [start.click, photo.input],
            _answered(page.analyse),
            [photo, steps, ensemble, seed, threshold, opacity, finding],
            [finding, *drawn, edge, uncertainty],
            **heavy,
        )
        gr.on(
            [threshold.change, opacity.change],
            page.draw,
            [finding, threshold, opacity],
            drawn,
            trigger_mode='always_last',
            show_progress='hidden',
            api_visibility='private',
        )
        show.click(_answered(page.animate), [photo, steps, seed, finding], film, **heavy)
    return blocks


def _picture(label: str, name: str, height: int = 260) -> gr.Image:
    return gr.Image(
        label=label, interactive=False, format='png', height=height, elem_id=name,
        # Not 'share', which would send it to a public place.
        buttons=['download', 'fullscreen'],
    )  # fmt: skip


def serve(
    inferencer: DiffIMLInferencer,
    host: str = '127.0.0.1',
    port: int = 7860,
    max_upload: int = 50,
    wait: bool = True,
) -> gr.Blocks:
    """Serve the page.

    Args:
        inferencer (DiffIMLInferencer): The model.
        host (str): Address to bind to.
        port (int): Of the server.
        max_upload (int): Largest file in megabytes.
        wait (bool): Whether to return only when interrupted. Defaults to True.

    Returns:
        gr.Blocks: The page; its ``close`` ends the server.

    Raises:
        UserError: If host and port cannot be listened on.
    """
    folder = Path(tempfile.mkdtemp(prefix='diffiml-web-')).resolve()
    os.environ['GRADIO_TEMP_DIR'] = str(folder)
    blocks = build(inferencer, folder)
    try:
        blocks.queue(max_size=32).launch(
            server_name=host,
            server_port=port,
            max_file_size=max_upload * 1_000_000,
            app_kwargs=dict(middleware=[Middleware(HideFolder, folder=str(folder))]),
            # Fonts of the machine: others would be fetched.
            theme=gr.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace']),
            # Small images as large as their place.
            css='.image-frame img {width: 100%; height: 100%; object-fit: contain}',
            footer_links=[],
            ssr_mode=False,
            share=False,
            show_error=False,
            quiet=True,
            prevent_thread_lock=True,
        )
        print(f'DiffIML listens on {blocks.local_url} (Ctrl-C ends it)', flush=True)
        if wait:
            blocks.block_thread()
    except OSError as error:
        raise UserError(
            f'cannot listen on {host}:{port}: the port is taken, or the host no address of this '
            'machine (--port, --host)'
        ) from error
    finally:
        if wait:
            shutil.rmtree(folder, ignore_errors=True)
    return blocks
