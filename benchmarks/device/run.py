"""The results of a Jetson run, measured here or read from a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.device.power.energy import LEAST_S, Sample, Window


@dataclass(frozen=True)
class Scenario:
    """The times of one model at one batch size: `wall_ms` has the time of each timed call with `batch` images.

    `window` is the period in which all calls ran, and `images` is the number of images that all of these calls processed, including
    the untimed calls.

    An engine with fixed batch sizes may split the `batch` images of one call over several runs, or pad them. For each run of one
    call, `calls` has a pair: the number of images in this run, and the batch size of the engine, which includes the padding.
    """

    name: str
    batch: int
    wall_ms: Sequence[float]
    images: int
    window: Window
    calls: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class Gallery:
    """The extraction of a whole gallery from its files, which includes reading, decoding and resizing.

    The gallery has `images` images, and was extracted `passes` times within the period `window`, in batches of `batch` images.
    """

    images: int
    passes: int
    batch: int
    window: Window


@dataclass(frozen=True)
class Trtexec:
    """One run of trtexec with `batch` images per inference and the command line `line`.

    `transfers` says whether the times include copying the images to the GPU and the features back. `output` is all that trtexec
    printed. It is None if trtexec did not run, and `why` gives the reason.
    """

    batch: int
    transfers: bool
    line: Sequence[str] = ()
    output: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class ModelRun:
    """The results of one model.

    `facts` come from `benchmarks.candidate.facts`, and `accuracy` comes from `runtime.extraction.accuracy`. `scenarios` has the times
    at each batch size, and `trtexec` has the runs of trtexec. `gallery` says how often the whole gallery was extracted, and in which
    period. `gallery` and `accuracy` are None if they were not measured.
    """

    facts: Mapping[str, Any]
    scenarios: Sequence[Scenario]
    trtexec: Sequence[Trtexec] = ()
    gallery: Gallery | None = None
    accuracy: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Power:
    """The power samples of a run, read from the sensor with the name `sensor`, which is None if no sensor could be read.

    `malformed` counts the readings that could not be parsed. `idle` is the period before the first model in which the idle power was
    measured, or None if it was not measured.
    """

    sensor: str | None
    samples: Sequence[Sample] = ()
    malformed: int = 0
    idle: Window | None = None


@dataclass(frozen=True)
class DeviceRun:
    """All results of a Jetson run.

    `host` comes from `benchmarks.host.describe_host`. `board` describes the board, and `before`, `during` and `after` are its states
    at the start, after each timing and at the end (see `benchmarks.device.board`). `images` is {source, count} of the images that are
    timed. `advice` has commands for steadier times, and `doubts` has warnings. `replayed` says whether the results come from a
    recording. `stopped` is the name of the signal that stopped the run, or None for a complete run. `missing` has the names of the
    parts that a stopped run did not measure, and is empty for a complete run. Energy is computed only for periods of at least
    `least_s` seconds.
    """

    host: Mapping[str, Any]
    board: Mapping[str, Any]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    power: Power
    models: Sequence[ModelRun]
    images: Mapping[str, Any]
    advice: Sequence[str] = ()
    doubts: Sequence[str] = ()
    during: Sequence[Mapping[str, Any]] = ()
    replayed: bool = False
    stopped: str | None = None
    missing: Sequence[str] = ()
    least_s: float = field(default=LEAST_S)
