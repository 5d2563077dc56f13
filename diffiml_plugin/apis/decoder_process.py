"""A process that decodes photographs with limits of memory and time."""

import contextlib
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from ..errors import first_line
from . import decoding
from .decoding import DecodingError


class Decoder:
    """A process that decodes one photograph after the other, and is replaced if it dies.

    It starts with the first photograph and ends with this process. It may be used from several
    threads, and after a fork: the forked process starts its own decoder.

    Args:
        memory (int): Memory limit of an image in bytes, without the allowance for its pixels.
        seconds (float): Time limit of an image in seconds, without the allowance for its pixels.
    """

    def __init__(self, memory: int = decoding.MEMORY, seconds: float = decoding.SECONDS) -> None:
        self.memory = memory
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._connection: socket.socket | None = None
        if hasattr(os, 'register_at_fork'):
            os.register_at_fork(after_in_child=self._forget)

    @property
    def available(self) -> bool:
        """Whether the system supports the process; Windows does not."""
        return decoding.resource is not None and hasattr(socket, 'send_fds')

    def decode(self, file: BinaryIO, max_pixels: int) -> tuple[np.ndarray, int, str]:
        """Decode an open file.

        Args:
            file (BinaryIO): The file.
            max_pixels (int): Largest number of pixels that are decoded.

        Returns:
            tuple: (H, W, 3) uint8 BGR pixels, EXIF orientation, and SHA-256 of the file.

        Raises:
            DecodingError: If the file cannot be decoded within the limits.
        """
        with self._lock:
            try:
                # The process may have ended on purpose after its last answer.
                answer = self._ask(file, max_pixels) or self._ask(file, max_pixels)
            except BaseException:
                # A late answer must not be taken for the answer to the next request.
                self.close()
                raise
        if answer is None or 'error' in answer:
            raise DecodingError(answer['error'] if answer else 'cannot be decoded')
        return answer['pixels'], answer['orientation'], answer['sha256']

    def _ask(self, file: BinaryIO, max_pixels: int) -> dict | None:
        """Return the answer, or None if the process had already ended on purpose."""
        if self._process is None:
            try:
                self._start()
            except OSError as error:
                raise DecodingError(
                    f'cannot be decoded, because no process starts: {first_line(error)}'
                ) from None
        descriptors = []
        request = json.dumps([max_pixels, self.memory, self.seconds]).encode()
        try:
            socket.send_fds(self._connection, [request], [file.fileno()])
            line = b''
            while not line.endswith(b'\n'):
                part, received, _, _ = socket.recv_fds(self._connection, 4096, 1)
                descriptors += received
                if not part:
                    raise ConnectionResetError
                line += part
            answer = json.loads(line)
            if descriptors:
                # Copy-on-write keeps changes in this process.
                stored = mmap.mmap(descriptors[0], 0, access=mmap.ACCESS_COPY)
                answer['pixels'] = np.frombuffer(stored, np.uint8).reshape(answer['shape'])
            return answer
        except (BrokenPipeError, ConnectionResetError):
            status = self._process.wait()
            self.close()
            return None if status == 0 else dict(error=self._reason(status))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # With -P, no module beside the file can replace a package.
                [sys.executable, '-P', decoding.__file__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                # Only this process handles Ctrl-C and Ctrl-Z.
                start_new_session=True,
                env=os.environ
                | dict(
                    # The folders in which this process finds its packages.
                    PYTHONPATH=os.pathsep.join(filter(None, sys.path)),
                    # Threads take address space and are not needed there.
                    OMP_NUM_THREADS='1',
                    OPENBLAS_NUM_THREADS='1',
                    MALLOC_ARENA_MAX='2',
                ),
            )
        self._connection = ours

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
        self._process = self._connection = None

    def _forget(self) -> None:
        """After a fork, leave the decoder to the process that started it."""
        self._lock = threading.Lock()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _reason(self, status: int) -> str:
        if status == -signal.SIGALRM:
            return f'takes more than {self.seconds:g} s, and 1 s per megapixel, to be decoded'
        name = signal.Signals(-status).name if status < 0 else f'status {status}'
        return f'is damaged, or needs too much memory: its decoder ended with {name}'


class DecoderPool:
    """Decoders for several threads; each is started when it is first needed.

    Args:
        first (Decoder): The only decoder unless :meth:`allowing` permits more.
    """

    def __init__(self, first: Decoder) -> None:
        self._first = first
        self._reset()
        if hasattr(os, 'register_at_fork'):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._idle = [self._first]
        self._count = self._limit = 1
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def allowing(self, count: int) -> Iterator[None]:
        """Allow ``count`` decoders at a time within a ``with`` block; they end with it."""
        usual, self._limit = self._limit, max(count, self._limit)
        try:
            yield
        finally:
            with self._changed:
                self._limit = usual
                while self._count > usual and len(self._idle) > 1:
                    # The last of the list is the first decoder, or one as good.
                    self._idle.pop(0).close()
                    self._count -= 1

    def decode(self, file: BinaryIO, max_pixels: int) -> tuple[np.ndarray, int, str]:
        """Decode an open file as :meth:`Decoder.decode` does, by a decoder that is free."""
        with self._changed:
            while not self._idle and self._count >= self._limit:
                self._changed.wait()
            if self._idle:
                decoder = self._idle.pop()
            else:
                decoder = Decoder(self._first.memory, self._first.seconds)
                self._count += 1
        try:
            return decoder.decode(file, max_pixels)
        finally:
            with self._changed:
                self._idle.append(decoder)
                self._changed.notify()
