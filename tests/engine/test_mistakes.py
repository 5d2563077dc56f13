"""Errors that become a sentence, and errors that keep their traceback."""

import sys
from pathlib import Path

import pytest
from mmseg.registry import MODELS

from diffiml_plugin.cli import main
from diffiml_plugin.engine.config import read_config
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


def test_the_command_runs_the_same_programs(capsys):
    assert main(['test', 'twin/twin_demo.py', 'none.pth']) == 2
    assert capsys.readouterr().err == "diffiml test: checkpoint 'none.pth' does not exist\n"
    assert main(['compare', 'none.py']) == 2
    assert capsys.readouterr().err == "diffiml compare: config 'none.py' does not exist\n"
    with pytest.raises(SystemExit):
        main(['train'])
    assert 'diffiml train: error' in capsys.readouterr().err
