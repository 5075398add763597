"""Drive one worker process over seeds: kill what hangs, note what dies. Knows no kind of file."""

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

# Of its own processor time, so that a busy machine makes nothing a hang; and of the clock, for what waits for ever.
CPU_SECONDS, WALL_SECONDS = 2.0, 60.0
TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[2]


class Worker:
    """One process of `tests.campaigns.worker`, ready for seeds."""

    def __init__(self, kind: str, folder: Path) -> None:
        # no library may spread over cores: the time it takes is counted
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "REID_DEBUG": ""}
        # a folder of its own: what one input leaves behind must not meet another worker's
        place = tempfile.mkdtemp(prefix=f"{kind}-", dir=folder)
        self._log = open(Path(place) / "stderr.log", "w+b")  # it lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaigns.worker", kind, place],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=ROOT, env=environment,
        )  # fmt: skip
        self._unread = b""
        self._child = int(self._line(timed=False))

    def ask(self, seed: int) -> str:
        """What became of the seed's input."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % seed)
        self._process.stdin.flush()
        # writing the input is not what is measured
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
        """End the process, which has nothing more to answer."""
        self._process.communicate()
        self._log.close()

    def _line(self, *, timed: bool) -> str:
        """The next line the worker says; "" when it is `timed` and its time is up."""
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
    """What became of every seed's input; `done` is told each seed as it ends."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(processes) as pool:
        everything = list(seeds)
        shares = [everything[part::processes] for part in range(processes)]
        parts = pool.map(lambda share: _share(kind, share, Path(folder), done), shares)
        return dict(sorted(pair for part in parts for pair in part.items()))


def _share(kind: str, seeds: list[int], folder: Path, done: Callable[[int], None]) -> dict[int, str]:
    if not seeds:
        return {}
    worker, found = Worker(kind, folder), {}
    for seed in seeds:
        found[seed] = worker.ask(seed)
        done(seed)
    worker.close()
    return found
