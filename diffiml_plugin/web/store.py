"""The server's private folder."""

import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

# Time in seconds for which files are kept.
KEPT = 3600
MAX_BYTES = 2_000_000_000
# Largest number of files; listing more would take too long.
MAX_FILES = 2000
_PREFIX = 'diffiml-web-'
_LOCK = '.lock'


class Store:
    """A private folder for uploads and results, with limits of size and age.

    Folders left behind by servers that were killed are removed at the start.

    Args:
        max_bytes (int): Largest total size of all files in bytes, above which the oldest files are
            removed. Defaults to 2 GB.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        _remove_leftovers()
        self.max_bytes = max_bytes
        # Only its owner has access (mode 0700).
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        self.path = Path(self._folder.name).resolve()
        self._lock = FileLock(self.path / _LOCK)
        self._lock.acquire()
        self._kept: set[Path] = set()
        self.keep()

    def keep(self) -> None:
        """Exempt all current files, such as the examples, from removal."""
        self._kept.update(list(self._files()))

    def folder(self) -> Path:
        """Create a folder with a random name."""
        folder = self.path / secrets.token_hex(16)
        folder.mkdir(0o700)
        return folder

    def trim(self) -> set[str]:
        """Remove files that are older than an hour, and the oldest files above the limits.

        Returns:
            set[str]: Paths of the removed files.
        """
        files = []
        for path in self._files():
            with suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        files.sort(reverse=True)
        removed, total = set(), 0
        for number, (changed, size, path) in enumerate(files):
            total += size
            too_old = time.time() - changed > KEPT
            if too_old or total > self.max_bytes or number >= MAX_FILES:
                path.unlink(missing_ok=True)
                removed.add(str(path))
                # This fails for a folder that is not empty.
                with suppress(OSError):
                    path.parent.rmdir()
        return removed

    def close(self) -> None:
        """Remove the folder."""
        self._lock.release()
        self._folder.cleanup()

    def _files(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self.path):
            for name in names:
                path = Path(folder, name)
                if path not in self._kept:
                    yield path


def _remove_leftovers() -> None:
    for lock in Path(tempfile.gettempdir()).glob(f'{_PREFIX}*/{_LOCK}'):
        folder = lock.parent
        with suppress(OSError, Timeout):
            owner = folder.lstat()
            # A folder of another user, or one that another server is about to lock, is kept.
            if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != os.getuid():
                continue
            if time.time() - lock.stat().st_mtime > 2:
                with FileLock(lock, timeout=0):
                    shutil.rmtree(folder)
