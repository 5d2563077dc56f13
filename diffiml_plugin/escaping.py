"""Escaping of file names, which may hold anything but '/' and NUL, for display and storage."""

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
    r"""Escape bytes that are not text: in a name that is not UTF-8, 0xff becomes ``\xff``."""
    return re.sub('[\ud800-\udfff]', _escaped, name)


def printable(name: str) -> str:
    r"""Escape characters that would affect a terminal's cursor, colors or writing direction.

    A line feed becomes ``\n``, an escape ``\x1b``; letters of all languages stay.

    Examples:
        >>> print(printable('ü\n.png'))
        ü\n.png
    """
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in valid_text(name))


def csv_cell(text: str) -> str:
    """Put a quote before a text that a spreadsheet would interpret as a formula.

    Examples:
        >>> csv_cell('=1+1')
        "'=1+1"
    """
    return f"'{text}" if text.startswith(('=', '+', '-', '@', '\t', '\r')) else text


def path_cell(path: str) -> str:
    """Escape a file's path for a table of results."""
    return csv_cell(printable(path))


def markdown_cell(text: str) -> str:
    """Escape the characters of a text that Markdown would interpret as bars, HTML or emphasis."""
    text = printable(text).replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    return re.sub(r'([\\|`*\[\]])', r'\\\1', text)


def latex_cell(text: str) -> str:
    """Escape a text so that LaTeX prints it unchanged."""
    return ''.join(_LATEX.get(c, c) for c in printable(text))


def _escaped(match: re.Match) -> str:
    code = ord(match[0])
    # Python represents an undecodable byte by a code above 0xdc00.
    return f'\\x{code - 0xDC00:02x}' if 0xDC80 <= code <= 0xDCFF else f'\\u{code:04x}'
