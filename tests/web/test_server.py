"""The folder of the server, and its removal."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path

import pytest
import uvicorn

from diffiml_plugin.cli import main
from diffiml_plugin.errors import UserError
from diffiml_plugin.web import store as store_module
from diffiml_plugin.web.page import _Line
from diffiml_plugin.web.server import _Ending, _signals_as_exit
from diffiml_plugin.web.store import Store

ENDS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    return tmp_path


def fill(store: Store, sizes: list[int]) -> list[Path]:
    """Write files, each a second older than the next."""
    paths = []
    for age, size in zip(range(len(sizes), 0, -1), sizes, strict=True):
        path = store.folder() / 'a.png'
        path.write_bytes(bytes(size))
        os.utime(path, (time.time() - age, time.time() - age))
        paths.append(path)
    return paths


def test_the_oldest_files_are_removed_first(temporary):
    store = Store(max_bytes=100)
    (example,) = fill(store, [90])
    store.keep()
    paths = fill(store, [40, 40, 40, 40])
    assert store.trim() == {str(path) for path in paths[:2]}
    assert [path.exists() for path in paths] == [False, False, True, True]
    # Their folders are removed too; the example is kept.
    assert not paths[0].parent.exists() and example.exists()
    os.utime(paths[2], (0, 0))
    assert store.trim() == {str(paths[2])}
    store.close()
    assert not list(temporary.iterdir())


def test_the_number_of_kept_files_is_limited(temporary, monkeypatch):
    monkeypatch.setattr(store_module, 'MAX_FILES', 3)
    store = Store()
    paths = fill(store, [1] * 5)
    assert store.trim() == {str(path) for path in paths[:2]}
    store.close()


def test_files_of_a_killed_server_are_removed(temporary):
    alive = Store()
    assert alive.path.stat().st_mode & 0o777 == 0o700
    names = {}
    for name in ('killed', 'unlocked', 'others'):
        names[name] = temporary / f'diffiml-web-{name}'
        (names[name] / 'uploads').mkdir(parents=True)
    # A folder of another program, and one that is just being made.
    (names['killed'] / '.lock').touch()
    (names['others'] / '.lock').touch()
    (temporary / 'diffiml-web-link').symlink_to(names['others'])
    os.utime(names['killed'] / '.lock', (0, 0))
    second = Store()
    assert not names['killed'].exists()
    assert names['unlocked'].exists() and names['others'].exists() and alive.path.exists()
    second.close()
    alive.close()


def signal_in_callback(number: int) -> None:
    """Raise a signal in a callback whose exceptions Python ignores."""
    thing = threading.Event()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing
    assert reference() is None


@pytest.mark.parametrize('number', ENDS)
def test_signals_end_the_server_cleanly(number):
    # Under nohup, SIGHUP is ignored and stays ignored.
    usual = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended, _signals_as_exit():
            signal_in_callback(number)
        assert ended.value.code == 128 + number
        assert signal.getsignal(number) == signal.SIG_DFL
        with pytest.raises(ValueError, match='this'), _signals_as_exit():
            raise ValueError('this')
    finally:
        signal.signal(number, usual)


def test_a_signal_before_the_server_runs_ends_it():
    ending, server = _Ending(), uvicorn.Server(uvicorn.Config(None))
    ending(signal.SIGTERM, None)
    ending.end(server)
    assert server.should_exit


def test_the_number_of_waiting_requests_is_limited():
    line, inside, go_on = _Line(2), threading.Event(), threading.Event()

    def stay() -> None:
        with line.turn():
            inside.set()
            go_on.wait()

    threads = [threading.Thread(target=stay) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()
    time.sleep(0.1)
    with pytest.raises(UserError, match='waiting'), line.turn():
        pass
    go_on.set()
    for thread in threads:
        thread.join()
    with line.turn():
        pass


@pytest.mark.parametrize('host', ['*', 'a.example:80', 'http://a.example', '', 'a b', '[zz]'])
def test_names_of_hosts_are_checked(host, capsys):
    with pytest.raises(SystemExit):
        main(['serve', '--allowed-host', host])
    assert 'host' in capsys.readouterr().err


@pytest.mark.parametrize(
    'number, status',
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_uploads_are_removed_at_the_end(number, status, run_env, tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'diffiml_plugin', 'serve', '--port', str(port)]
    env = run_env | {'TMPDIR': str(tmp_path), 'PYTHONUNBUFFERED': '1'}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        env=env,
        text=True,
        # A child inherits what nohup or a shell's background ignores.
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in ENDS],
    ) as process:
        try:
            assert 'listens on' in process.stdout.readline()
            assert list(tmp_path.glob('diffiml-web-*'))
            process.send_signal(number)
            assert process.wait(120) == status
        finally:
            process.kill()
    assert not list(tmp_path.glob('diffiml-web-*'))
