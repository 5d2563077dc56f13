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


class _Ending:
    """The end of a server by a signal.

    Signals only leave a note: an exception that their handler raised would be lost where Python
    ignores exceptions, such as in the callback of a weak reference, and the server would stay.

    Attributes:
        number (int | None): Number of the last signal.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._server: uvicorn.Server | None = None

    def end(self, server: uvicorn.Server) -> None:
        """End this server when a signal comes, or has come."""
        self._server = server
        if self.number is not None:
            server.should_exit = True

    def __call__(self, number: int, _: Any) -> None:
        """Handle a signal."""
        self.number = number
        if self._server is not None:
            self._server.should_exit = True


class Server:
    """A running page.

    Args:
        app (Any): ASGI application.
        listener (socket.socket): Socket that is already listening.
        cleanup (ExitStack): Resources that are closed when the server ends.
        ending (_Ending): Signals that end the server.

    Attributes:
        url (str): URL of the page.
    """

    def __init__(
        self, app: Any, listener: socket.socket, cleanup: ExitStack, ending: _Ending
    ) -> None:
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
        ending.end(self._uvicorn)
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
        ending = stack.enter_context(_signals_as_exit()) if wait else _Ending()
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
        server = Server(gate.app, listener, stack.pop_all() if not wait else stack, ending)
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
def _signals_as_exit() -> Iterator[_Ending]:
    """Leave with SystemExit, when all is cleaned up, if a signal came that would end the process.

    Raises:
        SystemExit: If a signal came.
    """
    ending = _Ending()
    # Under nohup, SIGHUP is ignored; uvicorn handles the other signals while it runs, and raises
    # them again.
    before = {
        number: signal.signal(number, ending)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if ending.number is not None:
        sys.exit(128 + ending.number)
