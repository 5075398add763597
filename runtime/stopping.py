"""Stop a command by a signal: the first one unwinds the stack as an exception, a second one ends the process at once.

Commands run inside `stoppable()`, which `runtime.entry.guarded` opens for all of them.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
# timeout(1) and a closing terminal send one signal twice within milliseconds; a person who presses Ctrl-C again takes longer.
SAME_S = 0.25
# A signal that arrives just before the main thread begins to sleep does not wake it, so it is sent once more after this long.
NUDGE_S = 0.05
# When a command is still working after this long, a line says what a second signal does.
PATIENCE_S = 1.0


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop.

    `number` is the number of the signal. `code` is the exit code: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP. `kept` is a line
    for the user that says what was saved ("" for none).
    """

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__(kept)
        self.number = number
        self.code = 128 + number
        self.kept = kept

    @property
    def name(self) -> str:
        """The signal's name, such as SIGTERM."""
        return signal.Signals(self.number).name


def stopped(error: KeyboardInterrupt) -> Stopped:
    """Return `error` as a Stopped; a KeyboardInterrupt that is not a Stopped counts as SIGINT."""
    return error if isinstance(error, Stopped) else Stopped(signal.SIGINT)


class _State:
    """What the signal handlers of this process share."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.deferring = 0
        self.pending: int | None = None


_active: _State | None = None


def received() -> int | None:
    """Return the number of the first signal that arrived inside `stoppable`; None if there was none."""
    return _active.first if _active else None


@contextmanager
def stoppable() -> Iterator[None]:
    """While the block runs, turn the first SIGINT, SIGTERM or SIGHUP into a Stopped exception in the main thread.

    SIGINT counts also in a background job, where a shell sets it to be ignored; an ignored SIGHUP (nohup) stays ignored. A second
    signal kills every child process and ends this process at once, even while native code runs. Inside another `stoppable`, and in
    a thread that is not the main one, this function has no effect.
    """
    global _active
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    state = _State()
    numbers = [
        number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    ]
    # Python's C handler writes to this pipe at once, whatever the main thread is doing.
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    main, hook = threading.get_ident(), sys.unraisablehook

    def handle(number: int, frame: FrameType | None) -> None:
        if state.first is not None:
            return
        state.first = number
        if state.deferring:
            state.pending = number
            return
        raise Stopped(number)

    def swallowed(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not isinstance(error, Stopped):
            hook(unraisable)
            return
        # Python drops an exception that is raised within a destructor, so the signal is sent again a moment later
        state.first = None
        again = threading.Timer(0.05, signal.pthread_kill, [main, error.number])
        again.daemon = True
        again.start()

    before = {number: signal.signal(number, handle) for number in numbers}
    wakeup = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    sys.unraisablehook = swallowed
    threading.Thread(target=_watch, args=(read_end, state, main), name="signals", daemon=True).start()
    _active = state
    try:
        yield
    finally:
        # a stopped process is about to end; until then, a second signal still ends it at once
        if state.first is None:
            _active = None
            sys.unraisablehook = hook
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.write(write_end, bytes(1))
            os.close(write_end)


@contextmanager
def deferred() -> Iterator[None]:
    """Delay the first signal until the block has ended. A second signal is not delayed.

    Use it around the writing of files that belong together, so that no signal interrupts it between two files.
    """
    state = _active
    if state is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    state.deferring += 1
    try:
        yield
    finally:
        state.deferring -= 1
        if not state.deferring and state.pending is not None:
            number, state.pending = state.pending, None
            raise Stopped(number)


@contextmanager
def terminable() -> Iterator[None]:
    """While the block runs, turn SIGTERM into SystemExit with status 143.

    The exception unwinds the stack, so that `finally` blocks end child processes and remove temporary files. Inside `stoppable`,
    which handles SIGTERM itself, and in a thread that is not the main one, this function has no effect.
    """
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def keeping(describe: Callable[[], str]) -> Iterator[None]:
    """When a signal stops the block, attach the line that `describe()` returns to the Stopped exception, as its `kept`.

    The line says what was saved and how to resume; the command prints it before it ends. If an inner block has attached a line, that
    line stays.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        stop = stopped(error)
        if stop.kept:
            raise
        raise Stopped(stop.number, describe()) from None


def run_apart(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = None,
) -> tuple[int, str]:
    """Run `command` as a child process in the folder `cwd`, and return (its exit status, the text that it printed on stdout).

    With `stdout` None, the command prints on this process's stdout, and the text is "". With `stderr` subprocess.STDOUT, the text
    has what the command printed on stderr too, which otherwise goes to this process's stderr. `cwd` None is the current folder. A
    signal that stops this process is passed on to the child, and this process waits for the child to end. The child has its own
    process session, so that Ctrl-C in a terminal does not reach it a second time.
    """
    process = subprocess.Popen(
        command, cwd=cwd, stdout=stdout, stderr=stderr, text=True, start_new_session=True
    )
    try:
        printed, _ = process.communicate()
    except KeyboardInterrupt as error:
        process.send_signal(stopped(error).number)
        # its stdout is read to the end, because a full pipe would keep the command from ending
        process.communicate()
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode, printed or ""


def kill_children() -> None:
    """Kill the processes that `descendants` finds for this process."""
    for pid in descendants(os.getpid()):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the process ids of the children of `pid`, of their children, and so on; [] on a system without Linux's /proc."""
    pids = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        # The thread or its process ended meanwhile.
        except OSError:
            continue
        for child in children:
            pids += [child, *descendants(child)]
    return pids


def _watch(read_end: int, state: _State, main: int) -> None:
    """Wait for signals; the second one ends the process, whatever the thread `main` is doing. A zero byte ends the waiting."""
    first, since, nudged, announced = 0, 0.0, False, False
    own = 0
    while True:
        patience = (PATIENCE_S if nudged else NUDGE_S) if first and not announced else None
        if not select.select([read_end], [], [], patience)[0]:
            if nudged:
                announced = True
                _write(f"stopping after the current step; another {signal.Signals(first).name} stops at once")
            elif state.first is None:
                own += 1
                signal.pthread_kill(main, first)
            nudged = True
            continue
        for number in os.read(read_end, 64):
            if not number:
                os.close(read_end)
                return
            if number not in SIGNALS:
                continue
            if not first:
                first, since = number, time.monotonic()
            elif own and number == first:
                # sent by this thread
                own -= 1
            elif time.monotonic() - since > SAME_S:
                _end(number)


def _end(number: int) -> None:
    kill_children()
    _write(f"error[{128 + number}] stopped at once")
    os._exit(128 + number)


def _write(text: str) -> None:
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def _forget() -> None:
    """In a forked child, restore the default handlers, because the signals are for its parent."""
    global _active
    if _active is not None:
        _active = None
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(
                    number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler
                )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
