"""Run the server in a process of its own on one core, and read its memory, descriptors and threads from /proc."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.service.options import ServiceOptions
from benchmarks.steps import ROOT
from runtime.errors import DeviceError

START_S, STOP_S = 120, 60
# Each library computes with one thread, because the server has one core.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Use:
    """What a process holds and has used.

    These are its resident memory in bytes, its open file descriptors, its threads, and the CPU time since its start in seconds.
    """

    bytes: int
    descriptors: int
    threads: int
    cpu_s: float


@dataclass(frozen=True)
class Server:
    """A running server: its process and the port that it listens on."""

    process: subprocess.Popen[str]
    port: int

    def use(self) -> Use:
        """Return what the server holds now."""
        proc = Path("/proc") / str(self.process.pid)
        lines = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        memory = 1024 * int(lines["VmRSS"].split()[0])
        times = (proc / "stat").read_text().rpartition(")")[2].split()[11:13]
        cpu_s = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        return Use(memory, len(os.listdir(proc / "fd")), int(lines["Threads"]), cpu_s)

    def stop(self) -> int:
        """Ask the server to stop, wait until it has ended, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


@contextmanager
def running(options: ServiceOptions, store: Path) -> Iterator[Server]:
    """Run a server on its core while the block runs. Raises DeviceError if it does not start."""
    words = ["serve", "--store", str(store), "--model", str(options.model), "--port", "0", "--threads", "1"]
    words += ["--allow-ungated"] if options.allow_ungated else []
    with TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime", *words],
            cwd=ROOT,
            env=os.environ | dict.fromkeys(THREADS, "1"),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {options.cores[0]}),
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url or not _ready(url):
                log.seek(0)
                lines = log.read().splitlines() or ["no reason was printed"]
                raise DeviceError(f"python -m runtime {shlex.join(words)} does not serve: {lines[-1]}")
            yield Server(process, int(url.rstrip("/").rpartition(":")[2]))
        finally:
            if process.poll() is None:
                process.terminate()
                # a server that does not stop is killed below
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_S)
            process.kill()
            process.wait()


def _ready(url: str) -> bool:
    # the service listens before it prints its address, so the connection waits until the service answers
    try:
        with urllib.request.urlopen(f"{url}health/ready", timeout=START_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        # the caller reports why, from the log of the service
        return False
