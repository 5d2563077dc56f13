"""Work on several images at a time, with results in the order of the images."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

import torch

from ..errors import UserError

Item = TypeVar('Item')
Result = TypeVar('Result')
# Memory in bytes that a worker may need: an image of 50 megapixels with all its maps.
MEMORY_PER_WORKER = 2_000_000_000
# On a GPU, workers only have to read and write beside the computation.
GPU_WORKERS = 4


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(device: str = 'cpu') -> int:
    """Return the number of workers that keep the machine busy and fit into its memory.

    Args:
        device (str): Device of the model. Defaults to 'cpu'.
    """
    wanted = count_cores() if device == 'cpu' else min(GPU_WORKERS, count_cores())
    try:
        memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):
        return wanted
    return max(1, min(wanted, memory // MEMORY_PER_WORKER))


@contextmanager
def cores_shared_by(workers: int) -> Iterator[None]:
    """Give each of ``workers`` its share of PyTorch's threads within a ``with`` block.

    Raises:
        UserError: If ``workers`` is not positive.
    """
    if workers < 1:
        raise UserError(f'workers must be at least 1, got {workers}')
    usual = torch.get_num_threads()
    torch.set_num_threads(max(1, usual // workers))
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def ordered_map(
    functions: Sequence[Callable[[Item], Result]], items: Iterable[Item]
) -> Generator[Result, None, None]:
    """Apply functions to items in threads, and yield the results in the order of the items.

    Each function is called by one thread at a time, so it may own what is not safe for threads.
    PyTorch has as many threads in each of them as in the calling thread.
    At most two items per function are taken ahead of the result that is waited for, which bounds
    the memory.

    Args:
        functions (Sequence[Callable]): Functions that do the same, one for each thread.
        items (Iterable): Items; an error of the iterable is raised when its item is due.

    Raises:
        Exception: The first error of a function; items that have not begun are left out.

    Examples:
        >>> list(ordered_map([str, str], range(3)))
        ['0', '1', '2']
    """
    free: SimpleQueue[Callable[[Item], Result]] = SimpleQueue()
    for function in functions:
        free.put(function)

    def call(item: Item) -> Result:
        function = free.get()
        try:
            return function(item)
        finally:
            free.put(function)

    # oneDNN takes the number of threads of the thread that calls it.
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(len(functions), initializer=lambda: torch.set_num_threads(threads))
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(call, item))
            if len(pending) == 2 * len(functions):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
