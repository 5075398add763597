"""Compute the next items of an iterable in a thread, while the caller works on the current one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
# How long the end of `prefetch` waits for an item that is being computed, such as a frame of a camera that sends none.
PATIENCE_S = 2.0


def prefetch(
    items: Iterable[T], *, count: int = 1, stopped: threading.Event | None = None
) -> Generator[T, None, None]:
    """Yield the items of `items` in their order. A thread computes at most `count` + 1 items before they are asked for.

    The thread starts at the first `next()`. An exception of the iterable is raised in its place. When the generator is closed, the
    event `stopped` is set, so that an item that takes long can end early; the thread ends after this item, whose value or exception
    is dropped, and closes the iterable if that is a generator. It is a daemon thread, so that an item that never comes does not keep
    the process from ending.
    """
    buffer: _Buffer[T] = _Buffer(count, stopped or threading.Event())
    thread = threading.Thread(target=buffer.fill, args=(items,), name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := buffer.take()) is not None:
            yield item[0]
    finally:
        buffer.stop()
        thread.join(PATIENCE_S)


class _Buffer(Generic[T]):
    """The queue between the thread and the caller: each entry is (item,), an exception, or None at the end."""

    def __init__(self, count: int, stopped: threading.Event) -> None:
        self._entries: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(count)
        self._stopped = stopped

    def fill(self, items: Iterable[T]) -> None:
        """Compute all items; runs in the thread."""
        iterator = iter(items)
        try:
            for item in iterator:
                if not self._put((item,)):
                    return
            self._put(None)
        # The caller gets every exception.
        except BaseException as error:
            self._put(error)
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    def take(self) -> tuple[T] | None:
        """Return the next item in a tuple, or None after the last one. Raises the exception of the iterable."""
        entry = self._entries.get()
        if isinstance(entry, BaseException):
            raise entry
        return entry

    def stop(self) -> None:
        """Let the thread end: what it computes from now on is dropped."""
        self._stopped.set()

    def _put(self, entry: tuple[T] | BaseException | None) -> bool:
        """Hand an entry over, and return whether the caller still wants entries."""
        while not self._stopped.is_set():
            try:
                self._entries.put(entry, timeout=0.05)
                return True
            # The caller has not taken an entry yet. Waiting in short steps lets the loop notice that it has stopped.
            except queue.Full:
                continue
        return False
