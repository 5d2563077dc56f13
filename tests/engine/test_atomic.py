"""Files that are written completely or not at all."""

import os

import pytest

from diffiml_plugin.engine.atomic import write_atomically


def test_a_failed_write_keeps_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    write_atomically(path, b'old')

    def broken(*_: object) -> None:
        raise OSError('no space left')

    monkeypatch.setattr(os, 'replace', broken)
    with pytest.raises(OSError, match='no space'):
        write_atomically(path, b'new')
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]
