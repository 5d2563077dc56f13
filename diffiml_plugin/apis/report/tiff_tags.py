"""Reading of single tags of EXIF and TIFF metadata."""

import os
import struct
from typing import BinaryIO, NamedTuple

# Largest number of entries of a directory; cameras write fewer than 100.
_MOST_ENTRIES = 1000
# Numbers of the types whose values are read: text, and integers of 16 and 32 bits.
_TEXT, _SHORT, _LONG = 2, 3, 4


class _Entry(NamedTuple):
    kind: int
    length: int  # number of values
    field: bytes  # the value, or its place if it has more than four bytes


class TiffTags:
    """Tags of EXIF or TIFF metadata, read one by one from an open file.

    Pillow's reader copies the values of all tags, which may overlap, so that a file of one megabyte
    can take gigabytes. This one reads only what is asked for.

    Args:
        file (BinaryIO): File that holds the metadata.
        start (int): Place of the metadata's first byte in the file.

    Raises:
        ValueError: If no TIFF header begins at ``start``.
    """

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        self._file = file
        self._start = start
        head = self._read(0, 8)
        try:
            self._order = {b'II*\0': '<', b'MM\0*': '>'}[head[:4]]
        except KeyError:
            raise ValueError('the TIFF header is missing') from None
        self.first = self._number(head[4:])

    def directory(self, place: int) -> tuple[dict[int, _Entry], int]:
        """List a directory's entries by tag, and the place of the next directory, 0 if none.

        Args:
            place (int): Place of the directory; at 0, nothing is read.
        """
        if not place:
            return {}, 0
        count = self._number(self._read(place, 2))
        entries: dict[int, _Entry] = {}
        for number in range(min(count, _MOST_ENTRIES)):
            entry = self._read(place + 2 + 12 * number, 12)
            if len(entry) < 12:
                # Entries before the end of a cut file count.
                return entries, 0
            tag, kind, length = struct.unpack_from(f'{self._order}HHL', entry)
            entries.setdefault(tag, _Entry(kind, length, entry[8:]))
        return entries, self._number(self._read(place + 2 + 12 * count, 4))

    def text(self, entry: _Entry | None, longest: int) -> str:
        """Read a text of at most ``longest`` bytes; '' if it is missing or of another type."""
        if entry is None or entry.kind != _TEXT:
            return ''
        if entry.length <= 4:
            raw = entry.field[: entry.length]
        else:
            raw = self._read(self._number(entry.field), min(entry.length, longest))
        return as_text(raw.partition(b'\0')[0])

    def integer(self, entry: _Entry | None) -> int:
        """Read an integer; 0 if it is missing or of another type."""
        if entry is None or entry.length != 1 or entry.kind not in (_SHORT, _LONG):
            return 0
        return self._number(entry.field[: 2 if entry.kind == _SHORT else 4])

    def data(self, place: int, length: int) -> bytes:
        """Read bytes; fewer than ``length`` if the file ends before."""
        return self._read(place, length)

    def _read(self, place: int, length: int) -> bytes:
        self._file.seek(self._start + place, os.SEEK_SET)
        return self._file.read(length)

    def _number(self, raw: bytes) -> int:
        return int.from_bytes(raw, 'little' if self._order == '<' else 'big')


def as_text(raw: bytes) -> str:
    """Decode metadata, whose encoding is not declared: UTF-8, else Latin-1."""
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        return raw.decode('latin-1').strip()
