"""Files that are written completely or not at all."""

import hashlib
import os
from pathlib import Path

# Suffix of files that are being written; a killed process leaves them behind.
UNFINISHED = '.unfinished'


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    Raises:
        OSError: If the file cannot be written; an earlier file of this name is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name itself may be too long for another suffix.
    mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    temporary = path.with_name(f'.{mark}.{os.getpid()}{UNFINISHED}')
    try:
        with temporary.open('wb') as file:
            file.write(content)
            # The content must survive a loss of power before the file gets its name.
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
