"""Sample the power of this machine in a thread: tegrastats, else its INA sensors; NVML, else nvidia-smi. Sums nothing up."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from benchmarks.device.power import nvml, tegrastats
from benchmarks.device.power.energy import Sample, total_of
from benchmarks.device.power.ina import chips, find_rails, read_rails

INTERVAL_MS = 100
# How long a sensor may take to its first sample.
FIRST_S = 3.0

# One reading: rail -> mW, or None where what came was not understood.
Rails = dict[str, float]
# When a line came, in seconds of `time.perf_counter`, and the line as it came.
Line = tuple[float, str]


@dataclass(frozen=True)
class Sensor:
    """`read` gives readings until it ends or `stop` makes it; `name` is what the result is labelled with."""

    name: str
    read: Callable[[], Iterator[Rails | None]]
    stop: Callable[[], None]


@dataclass
class Meter:
    """What a running sensor has said so far; `with meter:` stops it at the end. `malformed` counts lines not understood."""

    sensor: Sensor
    clock: Callable[[], float] = time.perf_counter
    samples: list[Sample] = field(default_factory=list)
    malformed: int = 0

    def __post_init__(self) -> None:
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._collect, name="power", daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sensor.stop()
        self._thread.join(timeout=FIRST_S)

    def works(self, wait_s: float = FIRST_S) -> bool:
        """Whether a sample with a power rail came within `wait_s`."""
        self._first.wait(wait_s)
        return any(total_of(sample.rails_mw) for sample in self.samples)

    def _collect(self) -> None:
        try:
            for rails in self.sensor.read():
                if rails is None:
                    self.malformed += 1
                    continue
                self.samples.append(Sample(self.clock(), rails))
                self._first.set()
        # a sensor that breaks costs the energy, never the bench: the gap in the samples shows it
        except Exception:
            self.malformed += 1
        finally:
            self._first.set()


def jetson_sensors(root: Path = Path("/"), keep: list[Line] | None = None) -> list[Sensor]:
    """What may tell a Jetson's power, the best first; every line of tegrastats goes into `keep`, understood or not."""
    found = []
    if command := shutil.which("tegrastats"):
        line = [command, "--interval", str(INTERVAL_MS)]
        found.append(lines_sensor("tegrastats", line, tegrastats_rails, keep))
    if rails := find_rails(root):
        found.append(polled_sensor(chips(rails), lambda: read_rails(rails)))
    return found


def gpu_sensors() -> list[Sensor]:
    """What may tell a graphics card's power, the best first."""
    found = []
    if read := nvml.reader():
        found.append(polled_sensor("NVML", read))
    if command := shutil.which("nvidia-smi"):
        found.append(lines_sensor("nvidia-smi", nvml.smi_line(command, INTERVAL_MS), nvml.parse_smi))
    return found


def open_meter(sensors: Sequence[Sensor], *, wait_s: float = FIRST_S) -> Meter | None:
    """The first of the sensors that gives a power rail, running; None where none does."""
    for sensor in sensors:
        with ExitStack() as stack:
            meter = stack.enter_context(Meter(sensor))
            if meter.works(wait_s):
                # it runs on
                stack.pop_all()
                return meter
    return None


def tegrastats_rails(line: str) -> Rails | None:
    """The rails of one line in mW, {} for one without any; None for a line that is not tegrastats'."""
    record = tegrastats.parse(line)
    return None if record is None else dict(record.rails_mw)


def polled_sensor(name: str, read: Callable[[], Rails], interval_ms: int = INTERVAL_MS) -> Sensor:
    """A sensor that is asked again and again."""
    stop = threading.Event()

    def readings() -> Iterator[Rails | None]:
        while not stop.is_set():
            yield read() or None
            stop.wait(interval_ms / 1000)

    return Sensor(name, readings, stop.set)


def lines_sensor(
    name: str,
    command: Sequence[str],
    parse: Callable[[str], Rails | None],
    keep: list[Line] | None = None,
) -> Sensor:
    """A program that prints a line for every sample, until it is stopped."""
    children: list[subprocess.Popen[str]] = []
    stopped = threading.Event()

    def readings() -> Iterator[Rails | None]:
        with subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        ) as child:
            children.append(child)
            # a program that took longer to start than anyone waited for it
            if stopped.is_set():
                child.kill()
            assert child.stdout is not None
            for line in _lines(child.stdout):
                if keep is not None and line is not None:
                    keep.append((time.perf_counter(), line))
                # what a killed program leaves without its end is no sample
                yield parse(line) if line is not None and line.endswith("\n") else None

    def stop() -> None:
        stopped.set()
        for child in children:
            child.kill()

    return Sensor(name, readings, stop)


def _lines(stream: IO[str]) -> Iterator[str | None]:
    """The lines of a program; None for every piece of one that is too long to be a line, which memory need not hold."""
    whole = True
    while piece := stream.readline(tegrastats.LONGEST):
        ended = piece.endswith("\n") or len(piece) < tegrastats.LONGEST
        yield piece if whole and ended else None
        whole = ended
