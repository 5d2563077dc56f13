"""Errors that become a sentence, and errors that keep their traceback."""

import argparse
import errno
import os
import sys
from pathlib import Path

import pytest
from mmseg.registry import MODELS

from diffiml_plugin.cli import main
from diffiml_plugin.engine.config import ConfigOptions, read_config
from diffiml_plugin.engine.mistakes import mistake_in
from diffiml_plugin.errors import UserError, program


def raised(call) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError('nothing was raised')


def _takes_nothing() -> None:
    pass


def test_wrong_settings_are_reported_with_their_place():
    head = read_config('configs/twin/twin_demo.py').model.decode_head
    for wrong, words in {'type': ': NoHead is not in the', 'stepz': "argument 'stepz'"}.items():
        error = raised(lambda wrong=wrong: MODELS.build(dict(head, **{wrong: 'NoHead'})))
        assert words in mistake_in(error, 'c.py') and mistake_in(error, 'c.py')[:13] == (
            "config 'c.py'"
        )


@pytest.mark.parametrize(
    'call',
    [
        lambda: _takes_nothing(stepz=1),
        lambda: {}["'x' is not in the registry"],
        lambda: int('x'),
        lambda: Path('/nowhere/at/all').read_text(),
        lambda: exec('import diffiml_plugin.nothing'),
    ],
)
def test_other_errors_with_the_same_text_keep_their_traceback(call):
    assert mistake_in(raised(call), 'c.py') is None


def test_a_program_turns_only_user_errors_into_sentences(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/x.py'])

    @program
    def fail(error: Exception) -> None:
        raise error

    # In the form that a data worker sends.
    error = UserError('Caught in worker\n  File "x"\ndiffiml_plugin.errors.UserError: no \x1b here')
    with pytest.raises(SystemExit, match=r'^x\.py: no \\x1b here$'):
        fail(error)
    with pytest.raises(KeyError):
        fail(KeyError('x'))
    assert isinstance(error, ValueError)


def test_configs_are_found_by_path_or_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('configs/twin/twin_demo.py', 'twin/twin_demo.py'):
        assert read_config(name).model.decode_head.type == 'EdgeFCNHead'
    Path('twin').mkdir()
    Path('twin/twin_demo.py').write_text('model = 1\n')
    assert read_config('twin/twin_demo.py').model == 1


def test_options_that_are_not_key_and_value(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    given = parser.parse_args(['--cfg-options', 'a.b=1,2', 'c=x=y'])
    assert given.cfg_options == {'a.b': [1, 2], 'c': 'x=y'}
    for wrong in ('a.b', '=1', 'a=[1,(2]'):
        with pytest.raises(SystemExit):
            parser.parse_args(['--cfg-options', wrong])
        assert 'error: --cfg-options' in capsys.readouterr().err


def test_a_file_that_cannot_be_used_ends_a_script_in_one_sentence(tmp_path):
    @program
    def main(error: OSError | None = None) -> None:
        if error:
            raise error
        tmp_path.write_text('x')

    with pytest.raises(SystemExit, match=f"'{tmp_path}' cannot be used: Is a directory"):
        main()
    with pytest.raises(SystemExit, match='No space left on device'):
        main(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    # A library's own errors are not about files.
    with pytest.raises(OSError, match='of a library'):
        main(OSError('of a library'))


def test_the_command_runs_the_same_programs(capsys):
    assert main(['test', 'twin/twin_demo.py', 'none.pth']) == 2
    assert capsys.readouterr().err == "diffiml test: checkpoint 'none.pth' does not exist\n"
    assert main(['compare', 'none.py']) == 2
    assert capsys.readouterr().err == "diffiml compare: config 'none.py' does not exist\n"
    assert main(['compare', 'configs']) == 2
    assert "'configs' is a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['train'])
    assert 'diffiml train: error' in capsys.readouterr().err
