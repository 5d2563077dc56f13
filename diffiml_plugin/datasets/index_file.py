"""Reading of JSON lists and text indexes."""

import json
import os.path as osp
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from mmengine import fileio

from ..errors import UserError

# Values in place of a mask that mark an image as authentic.
AUTHENTIC = ('Negative', 'None')
_FORMATS = (
    'a JSON list holds [image, mask] or [image, "Negative"]; a line of a text index is '
    '`image mask label` with label 1, or `image None 0`, separated by tabs where paths hold blanks'
)
# Only the image's path may contain blanks; the last two fields do not.
_THREE_FIELDS = re.compile(r'(.*[^ ]) +([^ ]+) +([^ ]+)')


def read_index(
    path: str, data_root: str, backend_args: dict | None = None, repeats: bool = False
) -> list[tuple[str, str | None]]:
    """Read and check a JSON list or a text index.

    Args:
        path (str): Path of the file; it is JSON if it ends in ``.json``.
        data_root (str): Folder that relative paths start from.
        backend_args (dict, optional): Arguments of MMEngine's file backend. Defaults to None.
        repeats (bool): Whether an image may be listed more than once, with the same mask. Defaults
            to False.

    Returns:
        list[tuple[str, str | None]]: Paths of image and mask; the mask is None for an authentic
        image.

    Raises:
        UserError: If the file cannot be read, an entry is not understood, or listed files do not
            exist.
    """
    entries = {}
    first: dict[str, tuple[str, str | None]] = {}
    for where, fields, shown in _entries(path, backend_args):
        image, mask, fault = _understand(fields)
        if not fault:
            image, mask = _resolve(image, data_root), mask and _resolve(mask, data_root)
            same = mask and osp.normpath(mask)
            earlier, earlier_sample = first.setdefault(osp.normpath(image), (where, same))
            if earlier_sample != same:
                fault = f'gives the image of {earlier} another mask'
            elif earlier != where and not repeats:
                fault = f'repeats {earlier}, and would count twice: remove one of them'
        if fault:
            raise UserError(f'{where} of {path!r} ({shown}) {fault}; {_FORMATS}')
        entries[where] = image, mask
    _check_files(entries, path, data_root, backend_args)
    return list(entries.values())


def _entries(path: str, backend_args: dict | None) -> Iterator[tuple[str, list | None, str]]:
    """Yield each entry's position, its fields (None if it is not a list), and its text."""
    try:
        text = fileio.get(path, backend_args=backend_args).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'{path!r} is not UTF-8 text ({error}): save it as UTF-8') from None
    except OSError as error:
        raise UserError(f'{path!r} cannot be read: {error.strerror or error}') from None
    if not path.lower().endswith('.json'):
        # Other Unicode line separators may be part of a name.
        lines = [line.strip(' \t') for line in re.split(r'\r\n|\r|\n', text)]
        for count, number in enumerate((n for n, line in enumerate(lines, 1) if line), 1):
            line = lines[number - 1]
            where = f'entry {count}' + (f' (line {number})' if number != count else '')
            yield where, _split(line), repr(line)[:200]
        return
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path!r} is not JSON: {error}') from None
    if not isinstance(rows, list):
        raise UserError(f'{path!r} holds a {type(rows).__name__}, not a list; {_FORMATS}')
    for number, row in enumerate(rows, 1):
        fields = row if isinstance(row, list) else None
        yield f'entry {number}', fields, json.dumps(row, ensure_ascii=False)[:200]


def _split(line: str) -> list[str]:
    if '\t' in line:
        return [field.strip(' ') for field in line.split('\t')]
    three = _THREE_FIELDS.fullmatch(line)
    return list(three.groups()) if three else re.split(' +', line)


def _understand(fields: list | None) -> tuple[str, str | None, str]:
    """Return image, mask and the fault of an entry, which is empty if there is none."""
    if fields is None or len(fields) not in (2, 3):
        return '', None, 'is not an image, a mask and, where wanted, a label'
    image, mask, *label = fields
    for name, value in dict(image=image, mask=mask).items():
        if not isinstance(value, str) or not value:
            return '', None, f'has {json.dumps(value)[:80]} for its {name}, not a path'
        if '://' in value:
            return '', None, f'has an address for its {name}, not a path below data_root'
    if label and label[0] not in (0, 1, '0', '1'):
        return '', None, f'has the label {label[0]!r}, not 0 or 1 (a header line must go)'
    authentic = mask in AUTHENTIC
    if label and int(label[0]) == authentic:
        fault = f'has the label {label[0]}, but ' + ('no mask' if authentic else 'a mask')
        return '', None, fault
    if mask == image:
        return '', None, 'has the image itself for its mask'
    return image, None if authentic else mask, ''


def _resolve(path: str, data_root: str) -> str:
    path = path.replace('\\', '/')
    return path if osp.isabs(path) else fileio.join_path(data_root, path)


def _check_files(
    entries: dict[str, tuple[str, str | None]], path: str, data_root: str, backend_args: dict | None
) -> None:
    files = {file for entry in entries.values() for file in entry if file}
    missing = set(_missing(files, backend_args))
    if not missing:
        return
    pairs = ((where, file) for where, entry in entries.items() for file in entry)
    named = [f'{where}: {file!r}' for where, file in pairs if file in missing]
    shown = ', '.join(named[:5]) + (', ...' if len(named) > 5 else '')
    raise UserError(
        f'{len(missing)} of the {len(files)} files that {path!r} lists do not exist: {shown}; '
        f'relative paths start from data_root={data_root!r}, and fields are separated by tabs '
        'where paths hold blanks'
    )


def _missing(files: Iterable[str], backend_args: dict | None) -> Iterator[str]:
    """Yield the files that do not exist; none if the storage cannot list or check files."""
    by_folder = defaultdict(list)
    for file in files:
        by_folder[osp.dirname(file)].append(file)
    for folder, inside in by_folder.items():
        try:
            # One listing per folder: on remote storage, one request per file is slow.
            names = set(
                fileio.list_dir_or_file(folder or '.', list_dir=False, backend_args=backend_args)
            )
        except (OSError, ValueError, TypeError):
            names = set()
        except (AttributeError, NotImplementedError):
            return
        for file in inside:
            # Listings do not contain hidden files.
            if osp.basename(file) not in names and not fileio.isfile(
                file, backend_args=backend_args
            ):
                yield file
