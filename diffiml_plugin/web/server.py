"""The server of the web page."""

import ipaddress
import os
import signal
import socket
import sys
import threading
import time
from asyncio import Transport
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..apis.inferencer import DiffIMLInferencer
from ..errors import UserError
from .gate import Gate
from .page import LOOKS, build
from .store import MAX_BYTES, Store

# Time in seconds that a connection may take to send its request.
_PATIENCE = 15
_LOCAL = ('localhost', '127.0.0.1', '[::1]')


class _Protocol(H11Protocol):
    """HTTP protocol that closes idle connections; uvicorn alone waits for headers forever."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start to check the connection periodically."""
        super().connection_made(transport)
        self.loop.call_later(_PATIENCE, self._look, None)

    def _look(self, answered: Any) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is answered:
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(_PATIENCE, self._look, self.cycle if idle else self)


class Server:
    """A running page.

    Args:
        app (Any): ASGI application.
        listener (socket.socket): Socket that is already listening.
        cleanup (ExitStack): Resources that are closed when the server ends.

    Attributes:
        url (str): URL of the page.
    """

    def __init__(self, app: Any, listener: socket.socket, cleanup: ExitStack) -> None:
        address, port = listener.getsockname()[:2]
        self.url = f'http://{_in_url(address)}:{port}/'
        self._cleanup = cleanup
        self._listener = listener
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws='none',
                lifespan='on',
                log_level='warning',
                access_log=False,
                server_header=False,
                limit_concurrency=128,
                timeout_graceful_shutdown=2,
            )
        )
        self._thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        """Serve until a signal or :meth:`close` ends the server."""
        self._uvicorn.run(sockets=[self._listener])

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()
        while self._thread.is_alive() and not self._uvicorn.started:
            time.sleep(0.01)

    def close(self) -> None:
        """End a started server, and remove all uploads and results."""
        self._uvicorn.should_exit = True
        self._thread.join()
        self._cleanup.close()


def serve(
    inferencer: DiffIMLInferencer,
    host: str = '127.0.0.1',
    port: int = 7860,
    max_upload: int = 50,
    wait: bool = True,
    allowed_hosts: Sequence[str] = (),
) -> Server:
    """Serve the page.

    Args:
        inferencer (DiffIMLInferencer): Inferencer with the model.
        host (str): Address to bind to. Defaults to '127.0.0.1'.
        port (int): Port to bind to. Defaults to 7860.
        max_upload (int): Largest size of an upload in megabytes. Defaults to 50.
        wait (bool): Whether to return only when a signal ends the server. Defaults to True.
        allowed_hosts (Sequence[str]): Host names, other than ``host`` and those of this machine,
            under which browsers may request the page. Defaults to none.

    Returns:
        Server: The server; its ``close`` ends it.

    Raises:
        UserError: If the server cannot listen on host and port.
    """
    with ExitStack() as stack:
        if wait:
            stack.enter_context(_signals_as_exit())
        listener = stack.enter_context(_listen(host.strip('[]'), port))
        address = listener.getsockname()[0]
        hosts = [*_LOCAL, *allowed_hosts]
        # Browsers do not use 0.0.0.0 as a host name.
        if not ipaddress.ip_address(address).is_unspecified:
            hosts += [_in_url(address), host]
        max_bytes = max_upload * 1_000_000
        store = Store(max(MAX_BYTES, 4 * max_bytes))
        stack.callback(store.close)
        os.environ['GRADIO_TEMP_DIR'] = str(store.path)
        gate = Gate(build(inferencer, store), store, max_bytes, hosts, **LOOKS)
        server = Server(gate.app, listener, stack.pop_all() if not wait else stack)
        print(f'DiffIML listens on {server.url} (Ctrl-C ends it)', flush=True)
        if wait:
            server.run()
        else:
            server.start()
    return server


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f'cannot listen on {host}:{port}: the port is taken, or the host is not an address of '
            'this machine (--port, --host)'
        ) from error


def _in_url(address: str) -> str:
    return f'[{address}]' if ':' in address else address


@contextmanager
def _signals_as_exit() -> Iterator[None]:
    """Turn signals that would end the process at once into SystemExit, to remove folders."""

    def leave(number: int, _: Any) -> None:
        sys.exit(128 + number)

    def terminate(*_: Any) -> None:
        # uvicorn handles this signal while it runs.
        signal.raise_signal(signal.SIGTERM)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, leave)}
    # Under nohup, this signal is ignored.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
