"""Which files of a data set are images: one rule for all that lists files."""

from pathlib import PurePath

# Formats of the pinned OpenCV, which looks at the content and not at the suffix.
IMAGE_SUFFIXES = (
    '.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.tif', '.tiff', '.webp', '.avif',
    '.jp2', '.gif', '.pbm', '.pgm', '.ppm', '.pnm',
)  # fmt: skip
# Files of file managers and archives; files that start with a dot are hidden too.
_HIDDEN = ('thumbs.db', 'ehthumbs.db', 'desktop.ini', '__macosx', '@eadir')


def is_hidden(path: str | PurePath) -> bool:
    """Whether a file is not meant to be seen, such as ``._a.jpg`` or ``__MACOSX/a.jpg``.

    Args:
        path (str | PurePath): Path below the data set's folder; its folders count too.
    """
    return any(part.startswith('.') or part.lower() in _HIDDEN for part in PurePath(path).parts)


def is_image(path: str | PurePath) -> bool:
    """Whether a file is not hidden and has an image's suffix, in upper or lower case."""
    return not is_hidden(path) and PurePath(path).suffix.lower() in IMAGE_SUFFIXES
