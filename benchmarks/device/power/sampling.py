"""Sample the power of this machine in a thread.

A Jetson's sensors are tegrastats, or else its INA chips. A graphics card's are NVML, or else nvidia-smi.
"""

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
# How long a sensor may take for its first sample.
FIRST_S = 3.0

# One reading: rail -> mW.
Rails = dict[str, float]
# The time of a line, in seconds of `time.perf_counter`, and the line itself.
Line = tuple[float, str]


@dataclass(frozen=True)
class Sensor:
    """A source of power readings. `read` yields them until the source ends or `stop` is called; None is a malformed reading.

    `name` labels the result.
    """

    name: str
    read: Callable[[], Iterator[Rails | None]]
    stop: Callable[[], None]


@dataclass
class Meter:
    """The samples that a running sensor has given so far. `with meter:` starts the sensor and stops it at the end.

    `malformed` counts the readings that could not be parsed.
    """

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
        """Wait up to `wait_s` for the first sample, and return whether a sample has a power rail."""
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
        # A sensor that fails spoils the energy, never the bench: the gap in the samples makes the energy null.
        except Exception:
            self.malformed += 1
        finally:
            self._first.set()


def jetson_sensors(root: Path = Path("/"), keep: list[Line] | None = None) -> list[Sensor]:
    """Return the sensors of a Jetson's power, the best first. Every line of tegrastats is added to `keep`, even a malformed one."""
    sensors = []
    if command := shutil.which("tegrastats"):
        line = [command, "--interval", str(INTERVAL_MS)]
        sensors.append(lines_sensor("tegrastats", line, tegrastats_rails, keep))
    if rails := find_rails(root):
        sensors.append(polled_sensor(chips(rails), lambda: read_rails(rails)))
    return sensors


def gpu_sensors() -> list[Sensor]:
    """Return the sensors of a graphics card's power, the best first."""
    sensors = []
    if read := nvml.reader():
        sensors.append(polled_sensor("NVML", read))
    if command := shutil.which("nvidia-smi"):
        sensors.append(lines_sensor("nvidia-smi", nvml.smi_line(command, INTERVAL_MS), nvml.parse_smi))
    return sensors


def open_meter(sensors: Sequence[Sensor], *, wait_s: float = FIRST_S) -> Meter | None:
    """Start the first sensor that gives a power rail, and return its running meter; None where none does."""
    for sensor in sensors:
        with ExitStack() as stack:
            meter = stack.enter_context(Meter(sensor))
            if meter.works(wait_s):
                # the meter keeps running
                stack.pop_all()
                return meter
    return None


def tegrastats_rails(line: str) -> Rails | None:
    """Return the rails of one line in mW, {} for a line without any; None for a line that is not from tegrastats."""
    record = tegrastats.parse(line)
    return None if record is None else dict(record.rails_mw)


def polled_sensor(name: str, read: Callable[[], Rails], interval_ms: int = INTERVAL_MS) -> Sensor:
    """Return a sensor that calls `read` every `interval_ms`."""
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
    """Return a sensor that runs a program, which prints a line for every sample until it is stopped."""
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
            # the sensor was stopped while the program started
            if stopped.is_set():
                child.kill()
            assert child.stdout is not None
            for line in _lines(child.stdout):
                if keep is not None and line is not None:
                    keep.append((time.perf_counter(), line))
                # a killed program may leave an unfinished line, which is not a sample
                yield parse(line) if line is not None and line.endswith("\n") else None

    def stop() -> None:
        stopped.set()
        for child in children:
            child.kill()

    return Sensor(name, readings, stop)


def _lines(stream: IO[str]) -> Iterator[str | None]:
    """Yield the lines of a program. A line that is too long is never held in memory: each piece of it yields None."""
    at_start = True
    while piece := stream.readline(tegrastats.LONGEST):
        ended = piece.endswith("\n") or len(piece) < tegrastats.LONGEST
        yield piece if at_start and ended else None
        at_start = ended
