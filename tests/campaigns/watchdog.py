"""Give seeds to worker processes, kill a process that hangs, and record the outcome of each seed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# An input hangs if it uses more CPU time than this, which a busy machine does not change, or if it waits longer than this by the
# clock.
CPU_SECONDS, WALL_SECONDS = 2.0, 60.0
TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[2]


class Worker:
    """A running process of `tests.campaigns.worker`, which reads damaged inputs of one kind."""

    def __init__(self, kind: str, folder: Path) -> None:
        # Libraries use one thread, because the CPU time is limited.
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "REID_DEBUG": ""}
        # Each worker has its own folder, so that the files of two inputs do not mix.
        place = tempfile.mkdtemp(prefix=f"{kind}-", dir=folder)
        self._log = open(Path(place) / "stderr.log", "w+b")  # it lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaigns.worker", kind, place],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=ROOT, env=environment,
        )  # fmt: skip
        self._unread = b""
        self._child = int(self._line(timed=False))

    def ask(self, seed: int) -> str:
        """Return the outcome of the input with this seed: "used", "refused CODE" or a text that begins with FAIL."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % seed)
        self._process.stdin.flush()
        # The time to write the input is not limited.
        if self._line(timed=False) != "go":
            raise RuntimeError(f"seed {seed}: its input could not be written: {self._said()}")
        hung, line = False, self._line(timed=True)
        if not line:
            hung = True
            os.kill(self._child, signal.SIGKILL)
            line = self._line(timed=False)
        if not line.startswith("died "):
            return line
        self._child = int(self._line(timed=False))
        code = int(line.removeprefix("died "))
        if hung:
            return "FAIL hang"
        return f"FAIL crash {signal.Signals(-code).name}" if code < 0 else f"FAIL exit {code}"

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._log.close()

    def _line(self, *, timed: bool) -> str:
        """Return the next line that the worker prints. If `timed`, return "" when the time limit has passed."""
        assert self._process.stdout is not None
        start, used = time.monotonic(), self._cpu_seconds() if timed else 0
        while b"\n" not in self._unread:
            if select.select([self._process.stdout], [], [], 0.1)[0]:
                if not (more := os.read(self._process.stdout.fileno(), 1 << 16)):
                    raise RuntimeError(f"the worker died: {self._said()}")
                self._unread += more
            elif timed and (
                self._cpu_seconds() - used > CPU_SECONDS or time.monotonic() - start > WALL_SECONDS
            ):
                return ""
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()[-2000:].decode(errors="replace")

    def _cpu_seconds(self) -> float:
        try:
            fields = Path(f"/proc/{self._child}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / TICKS


def outcomes(
    kind: str, seeds: Iterable[int], *, processes: int, done: Callable[[int], None]
) -> dict[int, str]:
    """Return the outcome of the input of each seed, from `processes` workers. After each input, `done` is called with its seed."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(processes) as pool:
        everything = list(seeds)
        shares = [everything[part::processes] for part in range(processes)]
        parts = pool.map(lambda share: _share(kind, share, Path(folder), done), shares)
        return dict(sorted(pair for part in parts for pair in part.items()))


def _share(kind: str, seeds: list[int], folder: Path, done: Callable[[int], None]) -> dict[int, str]:
    if not seeds:
        return {}
    worker, outcome_of = Worker(kind, folder), {}
    for seed in seeds:
        outcome_of[seed] = worker.ask(seed)
        done(seed)
    worker.close()
    return outcome_of
