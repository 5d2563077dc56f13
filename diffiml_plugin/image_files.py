"""The rule by which all code that lists files decides which of them are images."""

from pathlib import PurePath

# Suffixes of the formats that the pinned OpenCV reads; it checks the content and not the suffix.
IMAGE_SUFFIXES = (
    '.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.tif', '.tiff', '.webp', '.avif',
    '.jp2', '.gif', '.pbm', '.pgm', '.ppm', '.pnm',
)  # fmt: skip
# Files and folders of file managers and archives; names that start with a dot are hidden too.
_HIDDEN = ('thumbs.db', 'ehthumbs.db', 'desktop.ini', '__macosx', '@eadir')


def is_hidden(path: str | PurePath) -> bool:
    """Whether a file is hidden, such as ``._a.jpg`` or ``__MACOSX/a.jpg``.

    Args:
        path (str | PurePath): Path relative to the data set's folder; a file in a hidden folder is
            hidden too.
    """
    return any(part.startswith('.') or part.lower() in _HIDDEN for part in PurePath(path).parts)


def is_image(path: str | PurePath) -> bool:
    """Whether a file is not hidden and has an image's suffix, in upper or lower case."""
    return not is_hidden(path) and PurePath(path).suffix.lower() in IMAGE_SUFFIXES
