"""Child processes that are talked to over pipes and never outlive their parent. Knows no images and no models."""

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

# A child that was asked to end, or whose pipe has closed, gets so long.
GRACE_S = 5.0

Work = Callable[[Connection, Any], None]
"""What a child does: a function of a module, with its pipe and the argument of `processes`."""


class ChildGone(DeviceError):
    """A child process ended without an answer: it was killed, or crashed. Exit code 5."""


@dataclass(frozen=True)
class Failure:
    """The exception that ended a child's work."""

    error: Exception


@dataclass(frozen=True, eq=False)
class Child:
    """A running process and our end of its pipe."""

    process: SpawnProcess
    pipe: Connection

    def send(self, message: object) -> None:
        """Hand the child a message. One that died in the meantime is noticed by `receive`."""
        try:
            self.pipe.send(message)
        except OSError:
            pass

    def receive(self) -> Any:
        """The child's next message. Raises the exception that ended its work, ChildGone when the process is."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(GRACE_S)
            raise ChildGone(
                f"a worker process {_fate(self.process.exitcode)}; give it more memory or start fewer: "
                "leave --preset out, or limit the cores (taskset -c 0,1 ...)"
            ) from None
        if isinstance(message, Failure):
            raise message.error
        return message


def usable_cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def processes(count: int, work: Work, argument: Any) -> Iterator[list[Child]]:
    """`count` new processes that run work(pipe, argument); when the block ends, however it does, so do they.

    They are spawned, not forked: threads and engines of this process are no business of theirs. The signals that stop a command are
    for this process only, and a child whose parent was killed finds its pipe closed and ends.
    """
    context = multiprocessing.get_context("spawn")
    children: list[Child] = []
    # multiprocessing's own helper would otherwise start inside the block below, and lift it
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
    """The answer of `function(*arguments)`, a function of a module, from a new process; its exceptions are raised here."""
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
    """The answers of `function(task)`, a function of a module, as they come, from `count` new processes, which call `first` once.

    After an exception of one of them no further task begins; it is raised here when the others are done with theirs.
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
    """Those of the children that have something to say or are gone; waits for the first."""
    said = connection.wait([child.pipe for child in children])
    return [child for child in children if child.pipe in said]


def _start(context: Any, work: Work, argument: Any) -> Child:
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, work, argument))
    try:
        process.start()
    except OSError as error:
        raise DeviceError(f"a worker process does not start ({error.strerror}); leave --preset out") from None
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
    # also those that came while it started, and are blocked until here
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        work(pipe, argument)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The parent has all it wanted, or is gone.
        return
    except Exception as error:
        try:
            pipe.send(Failure(_portable(error)))
        except OSError:
            return


def _portable(error: Exception) -> Exception:
    """The exception itself where it survives pickling, else its traceback as one."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _end(children: Sequence[Child]) -> None:
    for child in children:
        child.pipe.close()
        if child.process.is_alive():
            # with what it has started itself
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
