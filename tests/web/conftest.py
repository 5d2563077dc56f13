import http.client
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest

from diffiml_plugin.apis import DiffIMLInferencer

pytest.importorskip('gradio', reason='the extra `web` is not installed')

from diffiml_plugin.web import serve

# Audit events of attempts to connect.
OUTGOING = {'socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'socket.sendto'}


class Watch:
    """Records every attempt to connect, except those of the test's own thread."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.all_threads = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple) -> None:
        if event in OUTGOING and (
            self.all_threads or threading.current_thread() is not threading.main_thread()
        ):
            self.heard.append(f'{event} {args}')


class Client:
    """Sends requests that no browser would send."""

    def __init__(self, url: str) -> None:
        self.host = url.split('/')[2]

    def __call__(self, method: str, path: str, body=None, headers=(), **kwargs):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path, body, {'Host': self.host} | dict(headers), **kwargs)
            answer = connection.getresponse()
            answer.text = answer.read().decode(errors='replace')
            return answer
        finally:
            connection.close()

    @cached_property
    def config(self) -> dict:
        text = self('GET', '/').text
        return json.loads(re.search(r'window.gradio_config = (\{.*?\});</script>', text)[1])

    def call(self, inputs: int, data: list, **more):
        """Call the page's function that has this many inputs."""
        (number,) = [c['id'] for c in self.config['dependencies'] if len(c['inputs']) == inputs]
        body = json.dumps(dict(data=data, fn_index=number) | more)
        return self('POST', '/gradio_api/run/predict', body)

    def upload(self, content: bytes, name: str | bytes = 'a.png', **kwargs):
        return self('POST', '/gradio_api/upload', *form(content, name, **kwargs))


def form(
    content: bytes,
    name: str | bytes = 'a.png',
    field: str = 'name="files"; ',
    kind: str = 'multipart/form-data; boundary=B',
    count: int = 1,
    end: bytes = b'--B--\r\n',
) -> tuple[bytes, dict]:
    name = name if isinstance(name, bytes) else f'filename="{name}"'.encode()
    head = b'--B\r\nContent-Disposition: form-data; ' + field.encode() + name
    return count * (head + b'\r\n\r\n' + content + b'\r\n') + end, {'Content-Type': kind}


@pytest.fixture(scope='session')
def inferencer() -> DiffIMLInferencer:
    return DiffIMLInferencer(device='cpu', show_progress=False)


@pytest.fixture(scope='session')
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope='session')
def page_url(inferencer, watch) -> Iterator[str]:
    watch.all_threads = True
    server = serve(inferencer, port=0, max_upload=1, wait=False)
    watch.all_threads = False
    yield server.url
    server.close()


@pytest.fixture(scope='session')
def ask(page_url) -> Client:
    return Client(page_url)


@pytest.fixture
def victim() -> Iterator[socket.socket]:
    """A server with an address that nothing may connect to."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture(scope='session')
def image(demo_data) -> Path:
    return sorted((demo_data / 'test_seen/Tp').glob('*splice*'))[0]
