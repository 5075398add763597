"""Run functions in child processes, which communicate with the main process over pipes and end together with it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from runtime.errors import DeviceError
from runtime.stopping import SIGNALS, descendants

# Seconds that a child may take to end after its pipe has closed.
GRACE_S = 5.0

Work = Callable[[Connection, Any], None]
"""A function that a child process runs. It takes the child's end of the pipe and the `argument` that `processes` was given.

It must be defined at module level, so that the child can import it.
"""


class ChildGone(DeviceError):
    """A child process was killed or crashed before it answered. Exit code 5."""


@dataclass(frozen=True)
class Failure:
    """The message with which a child process reports the exception that ended its function."""

    error: Exception


@dataclass(frozen=True, eq=False)
class Child:
    """A running child process, and the main process's end of the pipe to it."""

    process: SpawnProcess
    pipe: Connection

    def send(self, message: object) -> None:
        """Send a message to the child. If the child has died, nothing happens here, and `receive` raises the error."""
        try:
            self.pipe.send(message)
        # The broken pipe does not say why the child has died; `receive` finds out.
        except OSError:
            pass

    def receive(self) -> Any:
        """Wait for the next message of the child and return it.

        Raises the exception that ended the child's function, or ChildGone if the process ended without a message.
        """
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(GRACE_S)
            raise ChildGone(
                f"a worker process {_fate(self.process.exitcode)}; free some memory, leave the preset out (--preset), or "
                "start fewer processes by limiting the cores (taskset -c 0,1 ...)"
            ) from None
        if isinstance(message, Failure):
            raise message.error
        return message


def usable_cores() -> int:
    """Return the number of CPU cores on which the operating system lets this process run."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def processes(count: int, work: Work, argument: Any) -> Iterator[list[Child]]:
    """Start `count` child processes that run `work(pipe, argument)`, and yield them. They end when the block ends or raises.

    The children are spawned, not forked, so that they inherit no threads or sessions. They ignore the signals that stop a command;
    only the main process handles these. If the main process is killed, the pipe closes and the child ends.
    """
    context = multiprocessing.get_context("spawn")
    children: list[Child] = []
    # Start the resource tracker of multiprocessing here, because starting it below would unblock the signals.
    resource_tracker.ensure_running()
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            for _ in range(count):
                children.append(_start(context, work, argument))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield children
        for child in children:
            child.pipe.close()
        for child in children:
            child.process.join(GRACE_S)
    finally:
        _end(children)


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run `function(*arguments)` in a new process, and return its result or raise its exception.

    The function must be defined at module level, so that the process can import it.
    """
    with processes(1, _answer, function) as (child,):
        child.send(arguments)
        return child.receive()


def each_apart(
    function: Callable[[Any], Any],
    tasks: Iterable[Any],
    count: int,
    *,
    first: Callable[[], None] | None = None,
) -> Iterator[Any]:
    """Run `function(task)` for each of `tasks` in at most `count` new processes, and yield each result when its task has finished.

    The results come in the order in which the tasks finish. Each process calls `first` once before its tasks, if given. Both functions
    must be defined at module level. After an exception no further task begins, and the exception is raised when the running tasks have
    finished.
    """
    failure: Exception | None = None
    waiting = deque(tasks)
    with processes(min(count, len(waiting)), _answer_each, (function, first)) as children:
        busy = set[int]()

        def hand_out(child: Child) -> None:
            busy.discard(id(child))
            if waiting:
                child.send(waiting.popleft())
                busy.add(id(child))

        for child in children:
            hand_out(child)
        while running := [child for child in children if id(child) in busy]:
            for child in ready(running):
                try:
                    answer = child.receive()
                except Exception as error:
                    failure = failure or error
                    waiting.clear()
                    busy.discard(id(child))
                    continue
                hand_out(child)
                yield answer
    if failure is not None:
        raise failure


def ready(children: Sequence[Child]) -> list[Child]:
    """Wait until at least one child has sent a message or has ended, and return all children that have."""
    readable = connection.wait([child.pipe for child in children])
    return [child for child in children if child.pipe in readable]


def _start(context: Any, work: Work, argument: Any) -> Child:
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, work, argument))
    try:
        process.start()
    except OSError as error:
        raise DeviceError(
            f"a worker process cannot be started ({error.strerror}); leave the preset out (--preset)"
        ) from None
    finally:
        theirs.close()
    return Child(process, ours)


def _answer(pipe: Connection, function: Callable[..., Any]) -> None:
    pipe.send(function(*pipe.recv()))


def _answer_each(pipe: Connection, work: tuple[Callable[[Any], Any], Callable[[], None] | None]) -> None:
    function, first = work
    if first is not None:
        first()
    while True:
        pipe.send(function(pipe.recv()))


def _child(pipe: Connection, work: Work, argument: Any) -> None:
    # Signals were blocked while the process started. Those that arrived in the meantime are ignored, too.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        work(pipe, argument)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The main process needs no more results, or has ended.
        return
    except Exception as error:
        try:
            pipe.send(Failure(_portable(error)))
        except OSError:
            return


def _portable(error: Exception) -> Exception:
    """Return the exception itself if it can be pickled, or else a RuntimeError with its traceback."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _end(children: Sequence[Child]) -> None:
    for child in children:
        child.pipe.close()
        if child.process.is_alive():
            # Kill also the processes that the child has started.
            for pid in descendants(child.process.pid or 0):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            child.process.kill()
    for child in children:
        child.process.join()


def _fate(code: int | None) -> str:
    if code is None:
        return "does not answer"
    if code >= 0:
        return f"ended with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was killed ({name}{': out of memory?' if -code == signal.SIGKILL else ''})"
