"""Results of a data set at any place that fsspec knows: masks, and a table in Parquet files."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from ..engine.atomic import write_atomically
from ..errors import UserError

# Columns of the table: one row per image.
SCHEMA = pa.schema(
    [
        ('key', pa.string()),
        ('path', pa.string()),
        ('width', pa.int32()),
        ('height', pa.int32()),
        ('score', pa.float64()),
        ('threshold', pa.float64()),
        ('tampered_share', pa.float64()),
        ('mask', pa.string()),
        ('input_sha256', pa.string()),
        ('provenance', pa.string()),
        ('failure', pa.string()),
        ('seconds', pa.float64()),
        ('worker', pa.string()),
    ]
)


def key_of(path: str) -> str:
    """Return the name under which an image's results are stored: 32 digits of its path's SHA-256.

    Examples:
        >>> key_of('s3://photos/1.jpg')
        '6a2b69d96a1a73dd3e1c3e3a5ff0ddb2'
    """
    return hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()[:32]


class ResultStore:
    """Results of a data set, written by any number of processes.

    A mask is ``masks/K/KEY.png`` (0 and 255), where KEY is :func:`key_of` the image's path and K
    its first two digits. The rows of a batch are one file in ``table``, which is named by the keys
    in it, is written after the batch's masks, and appears completely or not at all. So a batch
    that is repeated after a failure replaces its own results, and every row's mask exists.
    ``run.json`` says which model and settings the results are of.

    Args:
        url (str): Folder on this machine, or address such as ``s3://bucket/folder``.

    Raises:
        UserError: If fsspec does not know the address's protocol.
    """

    def __init__(self, url: str) -> None:
        self.url = str(url)
        try:
            self.files, self.root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UserError(f'{self.url!r} cannot be used: {error}') from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file completely or not at all.

        Raises:
            OSError: If it cannot be written.
        """
        path = f'{self.root}/{name}'
        if isinstance(self.files, LocalFileSystem):
            write_atomically(Path(path), content)
        else:
            # Object stores show a file only when it is complete.
            self.files.pipe_file(path, content)

    def write_mask(self, key: str, png: bytes) -> str:
        """Write a mask and return its path below the folder."""
        name = f'masks/{key[:2]}/{key}.png'
        self.write(name, png)
        return name

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a batch's rows, after its masks."""
        keys = ''.join(row['key'] for row in rows)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), sink, compression='zstd')
        name = hashlib.sha256(keys.encode()).hexdigest()[:32]
        self.write(f'table/{name}.parquet', sink.getvalue().to_pybytes())

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the table, or some of its columns; each image has one row.

        If a path was given twice, the first row in the order of the files' names is taken.
        """
        self.files.invalidate_cache()
        folder = f'{self.root}/table'
        names = sorted(self.files.glob(f'{folder}/*.parquet'))
        wanted = list(columns or SCHEMA.names)
        with_key = list(dict.fromkeys([*wanted, 'key']))
        parts = []
        for name in names:
            with self.files.open(name, 'rb') as file:
                parts.append(pq.read_table(file, columns=with_key, schema=SCHEMA))
        table = pa.concat_tables(parts) if parts else SCHEMA.empty_table().select(with_key)
        rows: dict[str, int] = {}
        for number, key in enumerate(table['key'].to_pylist()):
            rows.setdefault(key, number)
        return table.take(pa.array(rows.values(), pa.int64())).select(wanted)

    def finished(self) -> set[str]:
        """Return the keys of the images that have a row."""
        return set(self.read(['key'])['key'].to_pylist())

    def claim(self, run: Mapping[str, Any]) -> None:
        """Store which model and settings the results are of, or check that they are the same.

        Raises:
            UserError: If the folder holds results of another model or other settings.
        """
        content = json.dumps(run, indent=2, sort_keys=True).encode()
        path = f'{self.root}/run.json'
        if self.files.exists(path):
            earlier = json.loads(self.files.cat_file(path))
            names = [k for k in {*run, *earlier} if earlier.get(k) != json.loads(content).get(k)]
            if names:
                raise UserError(
                    f'{self.url!r} holds results with another {", ".join(sorted(names))}: give '
                    'another folder'
                )
        elif self.files.exists(f'{self.root}/table'):
            raise UserError(f'{self.url!r} holds a table without run.json: give another folder')
        else:
            self.write('run.json', content)


def distinct(paths: Iterable[str]) -> list[str]:
    """Return paths without repetitions, in their order."""
    return list(dict.fromkeys(paths))
