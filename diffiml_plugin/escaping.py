"""Names of files, which may hold anything but '/' and NUL, made fit to be shown and stored."""

import re

_LATEX = {mark: f'\\{mark}' for mark in '&%$#_{}'} | {
    '\\': r'\textbackslash{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '<': r'\textless{}',
    '>': r'\textgreater{}',
    '|': r'\textbar{}',
    '"': r'\textquotedbl{}',
}


def valid_text(name: str) -> str:
    r"""Replace what is not text: a byte 0xff of a name that is not UTF-8 becomes ``\xff``."""
    return re.sub('[\ud800-\udfff]', _escaped, name)


def printable(name: str) -> str:
    r"""Escape what would move a terminal's cursor, change its colors or its direction of writing.

    A line feed becomes ``\n``, an escape ``\x1b``; letters of all languages stay.

    Examples:
        >>> print(printable('ü\n.png'))
        ü\n.png
    """
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in valid_text(name))


def csv_cell(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula: a quote goes before it.

    Examples:
        >>> csv_cell('=1+1')
        "'=1+1"
    """
    return f"'{text}" if text.startswith(('=', '+', '-', '@', '\t', '\r')) else text


def path_cell(path: str) -> str:
    """Write a file's path as it stands in a table of results."""
    return csv_cell(printable(path))


def markdown_cell(text: str) -> str:
    """Keep a table's bars, HTML and emphasis out of a text in Markdown."""
    text = printable(text).replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    return re.sub(r'([\\|`*\[\]])', r'\\\1', text)


def latex_cell(text: str) -> str:
    """Write a text so that LaTeX sets it as it is."""
    return ''.join(_LATEX.get(c, c) for c in printable(text))


def _escaped(match: re.Match) -> str:
    code = ord(match[0])
    # Python represents an undecodable byte by a code above 0xdc00.
    return f'\\x{code - 0xDC00:02x}' if 0xDC80 <= code <= 0xDCFF else f'\\u{code:04x}'
