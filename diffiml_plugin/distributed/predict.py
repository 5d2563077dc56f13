"""Prediction of a data set by a pool of Ray actors."""

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..apis import files
from ..apis.inferencer import DiffIMLInferencer
from ..apis.photos import MAX_PIXELS
from ..apis.prediction import Failure, Prediction
from ..errors import UserError, first_line
from ..escaping import valid_text
from .store import ResultStore, distinct, key_of

# Largest size in bytes of a file that is read: as for files on this machine.
_MAX_BYTES = 100_000_000 + 8 * MAX_PIXELS
# Columns that hold an image: bytes of a file, or decoded RGB pixels.
_BYTES, _PIXELS, _PATH = 'bytes', 'image', 'path'
# Most blocks of a list of paths; each is a task of Ray.
_BLOCKS = 2000
_NO_RAY = 'Ray is missing: install the extra, pip install "diffiml_plugin[ray]"'


@dataclass(frozen=True)
class DatasetSummary:
    """What a call of :func:`predict_dataset` did.

    Attributes:
        written (int): Number of images that were predicted or failed in this call.
        failed (int): Number of images of this call that could not be predicted.
        existing (int): Number of images with results of earlier calls.
        seconds (float): Time of the call.
    """

    written: int
    failed: int
    existing: int
    seconds: float


class Predictor:
    """Predicts batches of images and stores their results; one actor of the pool.

    Args:
        url (str): Place of the results, see :class:`ResultStore`.
        model (str, optional): Model as for :class:`DiffIMLInferencer`.
        weights (str, optional): Checkpoint, as for :class:`DiffIMLInferencer`.
        device (str, optional): Device of the model. Defaults to a GPU if the actor has one.
        threads (int): Number of PyTorch's threads. Defaults to 1.
        **settings: Passed to :meth:`DiffIMLInferencer.stream`.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        weights: str | None = None,
        device: str | None = None,
        threads: int = 1,
        **settings: Any,
    ) -> None:
        import torch

        torch.set_num_threads(threads)
        self.store = ResultStore(url)
        self.inferencer = DiffIMLInferencer(model, weights, device, show_progress=False)
        self.settings = settings
        self.worker = f'{socket.gethostname()}:{os.getpid()}'

    def __call__(self, batch: Mapping[str, Sequence]) -> dict[str, np.ndarray]:
        """Predict a batch and store its results.

        Args:
            batch (Mapping): Column 'path', and optionally 'bytes' (files) or 'image' ((H, W, 3)
                or (H, W) uint8 RGB pixels).

        Returns:
            dict[str, np.ndarray]: 'key' of each image, and whether it 'failed'.
        """
        paths = [str(path) for path in batch[_PATH]]
        rows = []
        for index, path in enumerate(paths):
            start = time.monotonic()
            outcome = self._predict(path, {k: batch[k][index] for k in batch if k != _PATH})
            row = dict(key=key_of(path), path=valid_text(path), worker=self.worker)
            if isinstance(outcome, Prediction):
                row |= self._stored(row['key'], outcome)
            else:
                row['failure'] = valid_text(outcome.reason)
            rows.append(row | dict(seconds=time.monotonic() - start))
        self.store.write_rows(rows)
        failed = [row.get('failure') is not None for row in rows]
        return dict(key=np.array([row['key'] for row in rows]), failed=np.array(failed))

    def _predict(self, path: str, image: Mapping[str, Any]) -> Prediction | Failure:
        if _PIXELS in image:
            pixels = np.ascontiguousarray(image[_PIXELS])
            return self._outcome(pixels, order='rgb')
        try:
            content = image[_BYTES] if _BYTES in image else _read(path)
        # Each file system raises its own errors for a file that cannot be read.
        except Exception as error:
            return Failure(path, f'{path!r} cannot be read: {first_line(error)}')
        # The decoder's process gets an open file, and messages name it.
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / (PurePosixPath(path).name[-100:] or 'image')
            file.write_bytes(content)
            return self._outcome(file)

    def _outcome(self, source: Path | np.ndarray, order: str = 'bgr') -> Prediction | Failure:
        try:
            outcomes = self.inferencer.stream([source], channel_order=order, **self.settings)
            (outcome,) = outcomes
        except UserError as error:
            return Failure('image', str(error))
        return outcome

    def _stored(self, key: str, prediction: Prediction) -> dict[str, Any]:
        provenance = dict(prediction.provenance)
        mask = files.png(255 * prediction.mask, provenance)
        record = prediction.record()
        names = ('width', 'height', 'score', 'threshold', 'tampered_share')
        # What is the same for all images takes no place in a column of its own.
        del provenance['input']
        return {name: record[name] for name in names} | dict(
            mask=self.store.write_mask(key, mask),
            input_sha256=provenance.pop('input_sha256'),
            provenance=json.dumps(provenance, sort_keys=True),
        )


def _read(path: str) -> bytes:
    with fsspec.open(path, 'rb') as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise UserError(f'it has more than {_MAX_BYTES / 1e6:.0f} MB')
    return content


def list_images(inputs: Iterable[str]) -> list[str]:
    """List the images of folders, glob patterns and files at any place that fsspec knows.

    Args:
        inputs (Iterable[str]): Addresses such as ``s3://bucket/folder``; of a Parquet file
            (``.parquet``), its column 'path' is taken.

    Raises:
        UserError: If an address cannot be read, or has no image.
    """
    from PIL import Image

    Image.init()
    found: list[str] = []
    for one in map(str, inputs):
        try:
            system, path = fsspec.core.url_to_fs(one)
            if path.endswith('.parquet'):
                with system.open(path, 'rb') as file:
                    found += pq.read_table(file, columns=['path'])['path'].to_pylist()
                continue
            is_folder = system.isdir(path)
            names = system.find(path) if is_folder else system.glob(path)
            if is_folder:
                names = [n for n in names if PurePosixPath(n).suffix.lower() in Image.EXTENSION]
        # Each file system raises its own errors.
        except Exception as error:
            raise UserError(f'{one!r} cannot be listed: {first_line(error)}') from None
        if not names:
            raise UserError(f'{one!r} has no image')
        found += [system.unstrip_protocol(name) for name in sorted(names)]
    return distinct(found)


def predict_dataset(
    dataset: Any,
    out: str | Path,
    *,
    model: str | Path | None = None,
    weights: str | Path | None = None,
    actors: int | tuple[int, int] | None = None,
    cpus_per_actor: int = 1,
    gpus_per_actor: float = 0,
    batch_size: int = 16,
    report: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> DatasetSummary:
    """Predict every image of a data set once, on all machines of a Ray cluster.

    The cluster is the one that ``ray.init`` has joined; without one, Ray starts on this machine.
    Actors write the results, see :class:`ResultStore`; only keys come back. Ray repeats the
    batches of a worker or machine that dies, which replaces what they had written. A call with the
    same ``out`` continues: images that have a row, failed ones included, are skipped.

    Args:
        dataset (ray.data.Dataset | Iterable[str]): Data set with the column 'path' and optionally
            'bytes' (``ray.data.read_binary_files(..., include_paths=True)``) or 'image'
            (``ray.data.read_images(..., include_paths=True)``); or paths, which the actors read by
            fsspec. Files and paths are decoded under the limits of ``diffiml predict``.
        out (str | Path): Place of the results.
        model (str | Path, optional): As for :class:`DiffIMLInferencer`; each machine needs it.
        weights (str | Path, optional): As for :class:`DiffIMLInferencer`.
        actors (int | tuple[int, int], optional): Number of actors, or least and greatest number.
            Defaults to as many as the cluster's CPUs (or GPUs) allow, at least one.
        cpus_per_actor (int): Number of cores, and of PyTorch's threads, of an actor. Defaults
            to 1.
        gpus_per_actor (float): Number, or share, of GPUs of an actor. Defaults to 0.
        batch_size (int): Number of images of a batch: what is repeated after a failure, and the
            rows of a file of the table. Defaults to 16.
        report (Callable[[int, int], None], optional): Function that is called with the number of
            images that are done, and of those that failed, after each batch.
        **settings: Passed to :meth:`DiffIMLInferencer.stream`.

    Returns:
        DatasetSummary: Numbers of images.

    Raises:
        UserError: If Ray is missing, a setting is out of range, or ``out`` holds results of
            another model or other settings.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(_NO_RAY) from None
    if batch_size < 1 or cpus_per_actor < 1:
        raise UserError('batch_size and cpus_per_actor must be at least 1')
    start = time.monotonic()
    # Wrong settings are found before anything starts.
    inferencer = DiffIMLInferencer(model, weights, 'cpu', show_progress=False)
    inferencer.stream([], **settings)
    store = ResultStore(str(out))
    store.claim(dict(**inferencer.hashes, settings=settings))
    del inferencer
    done = store.finished()
    if not isinstance(dataset, ray.data.Dataset):
        left = [path for path in distinct(map(str, dataset)) if key_of(path) not in done]
        if not left:
            return DatasetSummary(0, 0, len(done), time.monotonic() - start)
        # Blocks of whole batches need no task that would wait for a core that actors hold.
        size = batch_size * -(-len(left) // (batch_size * _BLOCKS))
        table = pa.table({_PATH: left})
        blocks = [table.slice(i, size) for i in range(0, len(left), size)]
        dataset, reading = ray.data.from_arrow(blocks), 0
    elif done:
        reading = 1
        known = ray.put(done)

        def unfinished(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            keys = ray.get(known)
            kept = np.array([key_of(str(path)) not in keys for path in batch[_PATH]], bool)
            return {name: values[kept] for name, values in batch.items()}

        dataset = dataset.map_batches(unfinished)
    else:
        reading = 1
    resources = ray.cluster_resources()
    resources['CPU'] = resources.get('CPU', 0) - reading
    lowest, highest = _pool(resources, actors, cpus_per_actor, gpus_per_actor)
    results = dataset.map_batches(
        Predictor,
        batch_size=batch_size,
        fn_constructor_kwargs=dict(
            url=str(out),
            model=None if model is None else str(model),
            weights=None if weights is None else str(weights),
            device='cuda' if gpus_per_actor else 'cpu',
            threads=cpus_per_actor,
            **settings,
        ),
        compute=ray.data.ActorPoolStrategy(min_size=lowest, max_size=highest),
        num_cpus=cpus_per_actor,
        num_gpus=gpus_per_actor,
    )
    written = failed = 0
    for batch in results.iter_batches(batch_size=None):
        written += len(batch['key'])
        failed += int(np.sum(batch['failed']))
        if report is not None:
            report(written, failed)
    return DatasetSummary(written, failed, len(done), time.monotonic() - start)


def _pool(
    resources: Mapping[str, float],
    actors: int | tuple[int, int] | None,
    cpus: int,
    gpus: float,
) -> tuple[int, int]:
    """Return the least and the greatest number of actors.

    Raises:
        UserError: If the cluster cannot hold an actor, or a number is out of range.
    """
    room = int(resources.get('CPU', 0) // cpus)
    if gpus:
        room = min(room, int(resources.get('GPU', 0) / gpus))
    if room < 1:
        raise UserError(
            f'the cluster has {resources.get("CPU", 0):g} CPUs (besides one that reads, for a '
            f'data set of Ray) and {resources.get("GPU", 0):g} GPUs, and an actor needs {cpus} '
            f'and {gpus:g}'
        )
    if actors is None:
        # The pool starts small and grows, also with the cluster.
        return 1, room
    lowest, highest = (actors, actors) if isinstance(actors, int) else actors
    if not 1 <= lowest <= highest:
        raise UserError(f'actors must be positive numbers in order, got {actors}')
    return lowest, highest
