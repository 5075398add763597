"""Signals sent to real processes, always after a line that says what they are doing; nothing here depends on how long that takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.entry import guarded
from runtime.extraction.processes import ChildGone, apart, each_apart
from tests.fakes.waiting import ended

ROOT = Path(__file__).resolve().parents[2]
START = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from runtime.entry import guarded
from runtime.errors import ConfigError
import runtime.stopping
from runtime.stopping import deferred, keeping, run_apart
# however slow the machine is: two signals in a row are one
runtime.stopping.SAME_S = 600
def say(text):
    print(text, file=sys.stderr, flush=True)
def wait():
    say("working")
    while True:
        time.sleep(1000)
"""
END = "\nsys.exit(guarded(main))\n"


@contextmanager
def started(body: str, *words: object, ignoring: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process that runs `main` of `body` under guarded; `ignoring` SIGINT as a shell's background job does."""
    process = subprocess.Popen(
        [sys.executable, "-c", START + body + END, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignoring else None,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def heard(process: subprocess.Popen[str], word: str) -> str:
    """The first line of its stderr with `word` in it."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if word in line:
            return line
    raise AssertionError(f"ended without {word!r}: {''.join(lines)}")


@pytest.mark.parametrize("ignoring", [False, True], ids=["in front", "in the background"])
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=str,
)
def test_the_first_signal_unwinds_the_stack_and_gives_its_exit_code(number, code, ignoring):
    body = """
def main(argv):
    print("a result")
    try:
        with keeping(lambda: "two of three are kept"):
            wait()
    finally:
        say("cleaned up")
"""
    with started(body, ignoring=ignoring) as process:
        heard(process, "working")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "a result\n")
    assert err.splitlines() == ["cleaned up", "two of three are kept", f"error[{code}] stopped"]


def test_nohup_is_respected():
    body = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
def main(argv):
    os.kill(os.getpid(), signal.SIGHUP)
    return 0
"""
    with started(body) as process:
        assert process.wait(timeout=60) == 0


def test_a_second_signal_ends_the_process_and_its_children_at_once():
    body = """
runtime.stopping.SAME_S, runtime.stopping.PATIENCE_S = 0, 0.01
def main(argv):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
    try:
        say(f"child {child.pid}")
        wait()
    finally:
        time.sleep(1000)
"""
    with started(body) as process:
        child = int(heard(process, "child").split()[1])
        heard(process, "working")
        process.send_signal(signal.SIGTERM)
        heard(process, "stopping after")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130 and ended(child)


def test_the_same_signal_twice_within_a_moment_is_one():
    """timeout(1) sends its signal to the process and then to its group."""
    body = """
def main(argv):
    try:
        wait()
    finally:
        # the test writes a line when both are sent
        sys.stdin.readline()
        say("cleaned up")
"""
    with started(body) as process:
        heard(process, "working")
        process.send_signal(signal.SIGTERM)
        os.killpg(process.pid, signal.SIGTERM)
        _, err = process.communicate("both are sent\n", timeout=60)
    assert process.returncode == 143 and err.splitlines() == ["cleaned up", "error[143] stopped"]


@pytest.mark.parametrize(
    "raised",
    ["ConfigError('not installed')", "ImportError('numpy')", "OSError(28, 'disk')", "RuntimeError('x')"],
)
def test_what_a_library_makes_of_a_signal_is_still_a_stop(raised):
    body = f"""
def main(argv):
    try:
        wait()
    except KeyboardInterrupt:
        raise {raised} from None
"""
    with started(body) as process:
        heard(process, "working")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "error[143] stopped\n")


def test_a_signal_within_a_destructor_is_not_lost():
    body = """
class Slow:
    def __del__(self):
        say("within")
        time.sleep(1000)
def main(argv):
    slow = Slow()
    del slow
    wait()
"""
    with started(body) as process:
        heard(process, "within")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in err


def test_files_that_belong_together_are_written_together(tmp_path):
    body = """
def main(argv):
    folder = Path(sys.argv[1])
    with deferred():
        (folder / "first").touch()
        say("half done")
        sys.stdin.readline()
        (folder / "second").touch()
    say("not stopped")
"""
    with started(body, tmp_path) as process:
        heard(process, "half done")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate("go on\n", timeout=60)
    assert (process.returncode, err) == (143, "error[143] stopped\n") and (tmp_path / "second").exists()


def test_an_import_is_stopped_without_a_traceback(tmp_path):
    (tmp_path / "heavy.py").write_text(
        "import sys, time\nprint('working', file=sys.stderr, flush=True)\ntime.sleep(1000)\n"
    )
    body = """
from runtime.entry import run_main
sys.path.insert(0, sys.argv[1])
sys.exit(run_main("heavy"))
"""
    with started(body, tmp_path, ignoring=True) as process:
        heard(process, "working")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "error[130] stopped\n")


def test_a_step_is_stopped_by_the_same_signal_once_and_waited_for():
    body = """
STEP = '''
import os, sys, time
import runtime.stopping
from runtime.entry import guarded
runtime.stopping.SAME_S = 600
def main(argv):
    try:
        print(f"step {os.getpid()} working", file=sys.stderr, flush=True)
        time.sleep(1000)
    finally:
        print("step cleaned up", file=sys.stderr, flush=True)
sys.exit(guarded(main))
'''
def main(argv):
    return run_apart([sys.executable, "-c", STEP])[0]
"""
    with started(body) as process:
        step = int(heard(process, "step").split()[1])
        # as a terminal does: to the whole group
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and ended(step)
    assert err.splitlines() == ["step cleaned up", "error[130] stopped", "error[130] stopped"]


def double(value: int) -> int:
    if value == 13:
        raise ValueError("thirteen")
    return 2 * value


def end_at_once(code: int) -> None:
    os._exit(code)


def test_work_in_processes_of_their_own_comes_back_as_it_is_done():
    assert apart(double, 4) == 8
    assert sorted(each_apart(double, range(5), 2)) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="thirteen"):
        list(each_apart(double, [13, 1, 2], 1))
    with pytest.raises(ChildGone, match="code 3"):
        apart(end_at_once, 3)


def test_without_a_signal_handlers_are_as_before():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert guarded(lambda argv: 0) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
