import pytest

from diffiml_plugin.cli import main


@pytest.fixture
def run(capsys):
    """Run a command line, return status and what was printed."""

    def _run(*args: object) -> tuple[int, str]:
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return _run
