"""Export of predictions for many images to a folder; a run can be resumed."""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..engine.atomic import write_atomically
from ..engine.checkpoint import sha256_of
from ..errors import UserError
from ..escaping import valid_text
from ..models.diffiml.sampler import SolverSettings
from . import files
from .inferencer import DiffIMLInferencer
from .onnx_inferencer import OnnxInferencer
from .parallel import cores_shared_by, count_cores, ordered_map
from .photo_search import find_photos, real_place
from .photos import DECODERS, MAX_PIXELS
from .prediction import Failure, Prediction
from .report import FILE_NAME, ReportPage, is_foreign_page, stored_prediction

# Suffixes of the output files.
_ALWAYS = ('mask.png', 'probability.png')
_OVERLAY = ('overlay.png', 'strip.png')
_TRAJECTORY = ('trajectory.gif', 'trajectory.png')
# Largest length of an output's name in bytes without its suffix; file systems allow 255 in all.
_LONGEST_NAME = 200
# Errors of the name or location of one image's outputs, and not of the disk.
_OF_ONE_IMAGE = (
    errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip


class _Image(NamedTuple):
    """An image, its name, and the stem of its outputs' names."""

    source: Path
    name: str
    stem: str


class FolderExport:
    """Predicts images and writes the results to a folder; ``run`` may be interrupted and resumed.

    For each image NAME, the folder gets NAME.mask.png (0 and 255), NAME.probability.png (0 to 255)
    and finally NAME.json with the score, the share of tampered area, and the SHA-256 of image,
    weights, config and outputs. Each file is written atomically. Files that this class did not
    write are never replaced.

    Args:
        inferencer (DiffIMLInferencer | OnnxInferencer): Inferencer with the model.
        inputs (str | Path | Sequence[str | Path]): Files, folders or glob patterns.
        out (str | Path): Folder of the outputs.
        batch_size (int): Largest number of images, or tiles, that go through the model at once.
            Defaults to 1.
        overlay (bool): Whether to write NAME.overlay.png (probability over the image) and
            NAME.strip.png (labeled panels of all maps). Defaults to False.
        trajectory (bool): Whether to write NAME.trajectory.gif and .png (from noise to mask).
            Defaults to False.
        tables (Sequence[str]): Formats of the tables of all images, 'json' (results.json) and
            'csv' (results.csv). Defaults to none.
        report_page (bool): Whether to write report.html, a page of all images with their metadata
            and with a slider of the threshold, see :class:`ReportPage`. Defaults to False.
        skip_existing (bool): Whether to skip images whose outputs already exist, unchanged, from
            the same image, weights, config and settings. Defaults to False.
        workers (int): Number of images that are read, predicted and written at the same time,
            each by one thread with its share of the cores. With more than one, a batch holds the
            tiles of one image only. Defaults to 1.
        **settings: Passed to :meth:`DiffIMLInferencer.stream`.

    Attributes:
        images (list): Images to predict or skip.
        records (dict[str, dict]): Content of NAME.json of the finished images, by image name.
        existing (int): Number of skipped images.
        failures (list[Failure]): Inputs without an image, and images that failed.
        left_out (list[Path]): Files among the inputs that an earlier run wrote.

    Raises:
        UserError: If a setting is out of range, two images would write the same files, or
            report.html exists and is not a report.

    Examples:
        >>> export = FolderExport(DiffIMLInferencer(), 'photographs/', 'out', skip_existing=True)
        >>> export.run()
        >>> export.records, export.failures
    """

    def __init__(
        self,
        inferencer: DiffIMLInferencer | OnnxInferencer,
        inputs: str | Path | Sequence[str | Path],
        out: str | Path,
        *,
        batch_size: int = 1,
        overlay: bool = False,
        trajectory: bool = False,
        tables: Sequence[str] = (),
        report_page: bool = False,
        skip_existing: bool = False,
        workers: int = 1,
        **settings: Any,
    ) -> None:
        self.inferencer = inferencer
        self.out = Path(out)
        self.batch_size = batch_size
        self.tables = tables
        self.workers = workers
        self.report_page = report_page
        self.settings = settings
        self.solver = {k: v for k, v in settings.items() if k in vars(SolverSettings())}
        self.suffixes = [
            *_ALWAYS,
            *(_OVERLAY if overlay else ()),
            *(_TRAJECTORY if trajectory else ()),
        ]
        if set(tables) - {'json', 'csv'}:
            raise UserError(f"tables must be a list of 'json' and 'csv', got {tables!r}")
        if workers < 1:
            raise UserError(f'workers must be at least 1, got {workers}')
        # Raises errors for wrong settings before anything is written.
        inferencer.stream([], batch_size, **settings)
        if trajectory and inferencer.solver_settings is None:
            raise UserError('there is no trajectory: the model has no diffusion solver')
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f'{str(out)!r} is a file: give a folder')
        if report_page and is_foreign_page(self.out / FILE_NAME):
            raise UserError(_foreign(FILE_NAME, self.out))
        self.images: list[_Image] = []
        self.failures: list[Failure] = []
        self._find([inputs] if isinstance(inputs, str | Path) else inputs)
        records = ((i.name, self._existing(i)) for i in self.images if skip_existing)
        self.records = {name: record for name, record in records if record is not None}
        self.existing = len(self.records)

    def _find(self, inputs: Sequence[str | Path]) -> None:
        """List all images, and the inputs that contain no image."""
        left_out: list[Path] = []
        places: set[str] = set()
        # The record of an image named "results" would have the table's name.
        taken = {'results': self.out / 'results.json'} if 'json' in self.tables else {}
        for one in inputs:
            try:
                photos = list(find_photos(one, left_out))
            except UserError as error:
                self.failures.append(Failure(valid_text(str(one)), valid_text(str(error))))
                continue
            for source, name in photos:
                image = _Image(Path(str(source)), name, _shortened(name))
                # Two inputs may name the same image.
                if real_place(image.source) in places:
                    continue
                places.add(real_place(image.source))
                other = taken.setdefault(image.stem, image.source)
                if other is not image.source:
                    raise UserError(
                        f'{str(other)!r} and {str(image.source)!r} would write the same files: '
                        'give the folder above them, or run twice with another folder for outputs'
                    )
                self.images.append(image)
        self.left_out = list({real_place(path): path for path in left_out}.values())

    def run(self, report: Callable[[str, Prediction | Failure], None] | None = None) -> None:
        """Predict and write all images that are not skipped, and then the tables and the report.

        Args:
            report (Callable, optional): Function that is called with each image's name and its
                prediction or failure, once its files are written.

        Raises:
            OSError: If the folder cannot be written to.
        """
        images = [image for image in self.images if image.name not in self.records]
        outcomes = self._outcomes(images)
        pending = len(images)
        page = ReportPage(len(self.images)) if self.report_page else None
        try:
            if page is not None:
                self._show_existing(page)
            for image, outcome in zip(images, outcomes, strict=True):
                if isinstance(outcome, Failure):
                    name, reason = valid_text(image.name), valid_text(outcome.reason)
                    self.failures.append(Failure(name, reason))
                elif page is not None:
                    self._show(page, image, outcome)
                pending -= 1
                if report is not None:
                    report(image.name, outcome)
        finally:
            # Images that workers have begun are finished first.
            outcomes.close()
            self._write_tables()
            if page is not None:
                content = page.html(self.failures, pending)
                write_atomically(self.out / FILE_NAME, content)

    def _outcomes(self, images: Sequence[_Image]) -> Generator[Prediction | Failure, None, None]:
        """Predict images and write their outputs, in their order."""
        workers = min(self.workers, len(images))
        if workers <= 1:
            yield from self._processed(self.inferencer, images)
            return

        def worker(inferencer: DiffIMLInferencer | OnnxInferencer) -> Callable:
            return lambda image: next(self._processed(inferencer, [image]))

        threads = max(1, count_cores() // workers)
        functions = [worker(self.inferencer.replica(threads)) for _ in range(workers)]
        with (
            cores_shared_by(workers),
            DECODERS.allowing(workers),
            contextlib.closing(ordered_map(functions, images)) as outcomes,
        ):
            yield from outcomes

    def _processed(
        self, inferencer: DiffIMLInferencer | OnnxInferencer, images: Sequence[_Image]
    ) -> Iterator[Prediction | Failure]:
        sources = (image.source for image in images)
        outcomes = inferencer.stream(sources, self.batch_size, **self.settings)
        for image, outcome in zip(images, outcomes, strict=True):
            if isinstance(outcome, Prediction):
                outcome = self._written(inferencer, image, outcome)
            yield outcome

    def _show_existing(self, page: ReportPage) -> None:
        """Show the results of an earlier run in the report."""
        max_pixels = self.settings.get('max_pixels', MAX_PIXELS)
        for image in self.images:
            if image.name not in self.records:
                continue
            record, map_file = self.records[image.name], self._output(image, 'probability.png')
            try:
                prediction = stored_prediction(record, image.source, map_file, max_pixels)
            except UserError as error:
                reason = f'its earlier result is not in the report: {error}'
                self.failures.append(Failure(valid_text(image.name), valid_text(reason)))
            else:
                self._show(page, image, prediction)

    def _show(self, page: ReportPage, image: _Image, prediction: Prediction) -> None:
        """Show a result in the report."""
        outputs = {suffix: f'{image.stem}.{suffix}' for suffix in (*self.suffixes, 'json')}
        page.add(self.records[image.name], prediction, image.source, outputs)

    def _written(
        self,
        inferencer: DiffIMLInferencer | OnnxInferencer,
        image: _Image,
        prediction: Prediction,
    ) -> Prediction | Failure:
        """Write an image's outputs; return a failure if they cannot be written."""
        try:
            self.records[image.name] = self._write(inferencer, image, prediction)
        except UserError as error:
            return Failure(image.name, str(error))
        except OSError as error:
            if error.errno not in _OF_ONE_IMAGE:
                raise
            return Failure(image.name, f'its outputs cannot be written: {error.strerror}')
        return prediction

    def _outputs(self, image: _Image) -> list[Path]:
        """List all files that may exist for an image, the record first."""
        suffixes = ('json', *_ALWAYS, *_OVERLAY, *_TRAJECTORY)
        return [self._output(image, suffix) for suffix in suffixes]

    def _output(self, image: _Image, suffix: str) -> Path:
        return self.out / f'{image.stem}.{suffix}'

    def _write(
        self,
        inferencer: DiffIMLInferencer | OnnxInferencer,
        image: _Image,
        prediction: Prediction,
    ) -> dict:
        for path in self._outputs(image):
            if files.is_foreign(path):
                raise UserError(_foreign(path.name, self.out))
        contents = self._contents(inferencer, image, prediction)
        # The record is removed first and written last: it states that all outputs exist.
        for path in self._outputs(image):
            path.unlink(missing_ok=True)
        outputs = {}
        for suffix in self.suffixes:
            path = self._output(image, suffix)
            content = contents[suffix]()
            write_atomically(path, content)
            sha256 = hashlib.sha256(content).hexdigest()
            outputs[suffix] = dict(file=valid_text(path.name), sha256=sha256)
        record = prediction.record() | dict(
            name=valid_text(image.name), options=self.settings, outputs=outputs
        )
        write_atomically(self._output(image, 'json'), files.as_json(record))
        return record

    def _contents(
        self,
        inferencer: DiffIMLInferencer | OnnxInferencer,
        image: _Image,
        prediction: Prediction,
    ) -> dict[str, Callable[[], bytes]]:
        """Return a function for each suffix that encodes the output."""
        provenance = prediction.provenance
        levels = 255 * prediction.probability
        probability = np.rint(levels, out=levels).astype(np.uint8)
        contents = {
            'mask.png': lambda: files.png(255 * prediction.mask, provenance),
            'probability.png': lambda: files.png(probability, provenance),
            'overlay.png': lambda: files.png(prediction.overlay(), provenance),
            'strip.png': lambda: files.strip(prediction),
        }
        if 'trajectory.gif' in self.suffixes and isinstance(inferencer, DiffIMLInferencer):
            photo, frames = inferencer.trajectory(image.source, **self.solver)
            contents |= {
                'trajectory.gif': lambda: files.trajectory_gif(photo, frames, provenance),
                'trajectory.png': lambda: files.trajectory_strip(
                    photo, frames, image.name, provenance
                ),
            }
        return contents

    def _existing(self, image: _Image) -> dict | None:
        """Return the record of an earlier run if its outputs exist, unchanged, and are current."""
        try:
            path = self._output(image, 'json')
            if not path.is_file() or path.stat().st_size > files.LARGEST_RECORD:
                return None
            record = json.loads(path.read_text())
            provenance = record['provenance']
            same = (
                provenance.items() >= self.inferencer.hashes.items()
                # Records of earlier versions do not say it.
                and provenance.get('precision', 'float32') == self.inferencer.precision
                and record['options'] == self.settings
                and all(
                    sha256_of(self._output(image, suffix)) == record['outputs'][suffix]['sha256']
                    for suffix in self.suffixes
                )
                and provenance['input_sha256'] == sha256_of(image.source)
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # Missing or incomplete outputs are written again.
            return None
        return record if same else None

    def _write_tables(self) -> None:
        # Records are in the order of the images and include existing results.
        records = [self.records[i.name] for i in self.images if i.name in self.records]
        if 'json' in self.tables:
            content = dict(predictions=records, failures=list(map(vars, self.failures)))
            write_atomically(self.out / 'results.json', files.as_json(content))
        if 'csv' in self.tables:
            table = files.as_csv(records, self.failures)
            write_atomically(self.out / 'results.csv', table)


def _foreign(name: str, folder: Path) -> str:
    return (
        f'{name!r} exists in {str(folder)!r} and was not written by `diffiml predict`: give '
        'another folder, or move it away'
    )


def _shortened(name: str) -> str:
    """Shorten a name that leaves no room for suffixes; a hash keeps shortened names distinct."""
    folder, name = os.path.split(name)
    if len(os.fsencode(name)) > _LONGEST_NAME:
        mark = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        while len(os.fsencode(name)) > _LONGEST_NAME:
            name = name[:-1]
        name = f'{name}~{mark}'
    return os.path.join(folder, name)
