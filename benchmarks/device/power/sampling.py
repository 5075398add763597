"""Sample the power of this machine in a thread.

On a Jetson, the power comes from tegrastats, or else from the INA chips. On a graphics card, it comes from NVML, or else from
nvidia-smi.
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
# The seconds that a sensor may take for its first sample.
FIRST_S = 3.0

# One reading: the name of each rail -> its power in mW.
Rails = dict[str, float]
# A line that a sensor's program printed, after its time in seconds of `time.perf_counter`.
Line = tuple[float, str]


@dataclass(frozen=True)
class Sensor:
    """A source of power readings with a `name`, which the results show.

    `read()` yields the readings until the source ends or `stop()` is called. A reading has the power of each rail in mW, or is None if
    it cannot be parsed.
    """

    name: str
    read: Callable[[], Iterator[Rails | None]]
    stop: Callable[[], None]


@dataclass
class Meter:
    """A thread that reads `sensor` and collects its `samples` while the block of `with meter:` runs.

    `clock` returns the time of a sample in seconds. `malformed` counts the readings that could not be parsed.
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
        """Wait up to `wait_s` seconds for the first sample. Return whether a sample has the power of a rail."""
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
        # A sensor that fails does not end the measurement. The gap in its samples makes the energy null.
        except Exception:
            self.malformed += 1
        finally:
            self._first.set()


def jetson_sensors(root: Path = Path("/"), keep: list[Line] | None = None) -> list[Sensor]:
    """Return the power sensors that this Jetson has, the best one first: tegrastats, then the INA chips.

    Every line that tegrastats prints is added to `keep` with its time, also a line that cannot be parsed. If `keep` is None, no line
    is kept. `root` is the folder of the system files.
    """
    sensors = []
    if command := shutil.which("tegrastats"):
        line = [command, "--interval", str(INTERVAL_MS)]
        sensors.append(lines_sensor("tegrastats", line, tegrastats_rails, keep))
    if rails := find_rails(root):
        sensors.append(polled_sensor(chips(rails), lambda: read_rails(rails)))
    return sensors


def gpu_sensors() -> list[Sensor]:
    """Return the power sensors that this machine has for its graphics card, the best one first: NVML, then nvidia-smi."""
    sensors = []
    if read := nvml.reader():
        sensors.append(polled_sensor("NVML", read))
    if command := shutil.which("nvidia-smi"):
        sensors.append(lines_sensor("nvidia-smi", nvml.smi_line(command, INTERVAL_MS), nvml.parse_smi))
    return sensors


def open_meter(sensors: Sequence[Sensor], *, wait_s: float = FIRST_S) -> Meter | None:
    """Start the sensors one after the other, and return the running meter of the first that reports power within `wait_s` seconds.

    The others are stopped. Returns None if no sensor reports power.
    """
    for sensor in sensors:
        with ExitStack() as stack:
            meter = stack.enter_context(Meter(sensor))
            if meter.works(wait_s):
                # Do not stop this meter at the end of the block.
                stack.pop_all()
                return meter
    return None


def tegrastats_rails(line: str) -> Rails | None:
    """Return {rail: mW} of a line of tegrastats, or None for a line that is not from tegrastats."""
    record = tegrastats.parse(line)
    return None if record is None else dict(record.rails_mw)


def polled_sensor(name: str, read: Callable[[], Rails], interval_ms: int = INTERVAL_MS) -> Sensor:
    """Return a sensor that calls `read` every `interval_ms` milliseconds. `read()` returns {rail: mW}, or {} if the reading failed."""
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
    """Return a sensor that runs the program `command`, which prints a line for each reading until it is stopped.

    `parse(line)` returns the reading as {rail: mW}, or None for a line without one. Every line is also added to `keep` with its time
    in seconds of `time.perf_counter`, unless `keep` is None.
    """
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
            # The sensor may have been stopped while the program started.
            if stopped.is_set():
                child.kill()
            assert child.stdout is not None
            for line in _lines(child.stdout):
                if keep is not None and line is not None:
                    keep.append((time.perf_counter(), line))
                # A killed program may leave an unfinished line, which is not a reading.
                yield parse(line) if line is not None and line.endswith("\n") else None

    def stop() -> None:
        stopped.set()
        for child in children:
            child.kill()

    return Sensor(name, readings, stop)


def _lines(stream: IO[str]) -> Iterator[str | None]:
    """Yield the lines of a program. A line that is too long is read in pieces, to bound the memory, and each piece yields None."""
    at_start = True
    while piece := stream.readline(tegrastats.LONGEST):
        ended = piece.endswith("\n") or len(piece) < tegrastats.LONGEST
        yield piece if at_start and ended else None
        at_start = ended
