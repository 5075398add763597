"""The public function `choose_backend`: run a model's quality gate on every CPU backend, and time the backends that pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.backends.choice import this_machine, write_choice
from runtime.backends.library import BrokenLibrary
from runtime.checks.check_crops import Check, judge, load_check
from runtime.console import note
from runtime.errors import ConfigError, DeviceError
from runtime.files.manifest import ENGINES
from runtime.gate import backend_limits
from runtime.host.stopwatch import Call, Samples, interleave
from runtime.images.preprocess import to_input
from runtime.opening import load_artifact
from runtime.options.choices import BACKENDS, SECONDS
from runtime.spec import InputSpec

# The number of different batches; a backend runs all of them before the first is repeated.
FEEDS = 16
# A less accurate backend wins over a more accurate one only if its time is shorter by this fraction of the other's time.
MARGIN = 0.03
# Warn when the load average exceeds this fraction of the cores, because other work slows the backends down unequally.
BUSY = 0.5

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BackendTiming:
    """The time that a backend needs for one batch: the median `p50_ms` and the 95th percentile `p95_ms`, in milliseconds.

    `rounds` is the number of timed batches. `cpu_ms` is the median processor time of a batch, summed over all threads. `products`
    counts the matrix products of the graph by the number type of their arithmetic: {"u8": 36, "bf16": 4} means 36 in uint8 and 4
    in bfloat16. It is empty if the backend does not report the types.
    """

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    rounds: int
    products: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the values as {latency_ms: {p50, p95}, cpu_ms, rounds, products}, for JSON."""
        latency = {"p50": self.p50_ms, "p95": self.p95_ms}
        counts = dict(self.products)
        return {"latency_ms": latency, "cpu_ms": self.cpu_ms, "rounds": self.rounds, "products": counts}


@dataclass(frozen=True)
class BackendResult:
    """The result of `choose_backend` for one backend, which `backend` names.

    `missing` is the reason why the backend cannot be used on this machine; None if it can. `gate` is the verdict of the quality gate:
    {passed, failures, limits, numbers}, as `runtime.checks.check_crops.judge` returns it. It is empty for a missing backend. `timing`
    is None unless the gate passed.
    """

    backend: str
    missing: str | None = None
    gate: Mapping[str, Any] = field(default_factory=dict)
    timing: BackendTiming | None = None

    @property
    def passed(self) -> bool:
        """Whether the model passed its quality gate on this backend."""
        return self.gate.get("passed") is True

    def to_json(self) -> dict[str, Any]:
        """Return {engine, passed, failures, limits, numbers, latency_ms, cpu_ms, rounds, products}, for JSON.

        `engine` is the backend's name. The entries from `latency_ms` on exist only if the gate passed. For a missing backend, the
        result is {engine, missing}.
        """
        if self.missing is not None:
            return {"engine": self.backend, "missing": self.missing}
        return {"engine": self.backend, **self.gate, **(self.timing.to_json() if self.timing else {})}


@dataclass(frozen=True)
class BackendChoice:
    """The result of `choose_backend`. `chosen` is the fastest backend that passed the gate, or None where none passed.

    `results` has one entry for each backend. `model` is the sha256 of the model file, and `batch` is the number of images per call.
    `threads` None means all cores. `load_average` is the mean number of runnable processes in the minute before the measurement, or
    None if the system does not report it. `machine` is {processor, processor_kind, cores, versions}; the choice is valid only while
    these stay the same. `path` is the file that records the choice.
    """

    chosen: str | None
    results: tuple[BackendResult, ...]
    model: str
    batch: int
    threads: int | None
    load_average: float | None
    machine: Mapping[str, Any]
    path: Path

    def to_json(self) -> dict[str, Any]:
        """Return {model, processor, processor_kind, cores, versions, threads, batch, load_average, rows, chosen}, for JSON.

        `rows` is the list of the `results` as `BackendResult.to_json` returns them.
        """
        header = {"model": self.model, "threads": self.threads, "batch": self.batch}
        rows = [result.to_json() for result in self.results]
        measured = {"load_average": self.load_average, "rows": rows}
        return header | measured | dict(self.machine) | {"chosen": self.chosen}


def choose_backend(
    path: Path | str,
    *,
    threads: int | None = None,
    batch: int | None = None,
    seconds: float = SECONDS,
    progress: Progress = lambda text: None,
) -> BackendChoice:
    """Find the fastest backend for the ONNX file at `path` on this CPU, and record it for `open_model(path, backend="auto")`.

    Each backend first runs the file's quality gate. The backends that pass are then timed with the check crops of the file: in each
    round, each of them runs one batch. All rounds together take about `seconds` times the number of timed backends, but there are at
    least ten rounds. `threads` None uses all cores. `batch` is the number of images in a batch (None: the model's fixed batch, or 1).
    `progress` is called with a text about each step. The result is written to `<path>.choice.json`. When no backend passes, `chosen`
    is None, and `backend="auto"` refuses the model. If other work keeps the machine busy, a warning is printed on stderr.

    Raises ConfigError for a TensorRT engine and for arguments out of range. Raises ArtifactError for a file that is damaged, has no
    check crops or did not pass its gate at export. Raises DeviceError if no backend is installed or one is broken, and StorageError
    if the result cannot be written.
    """
    path = Path(path)
    if path.suffix in ENGINES:
        raise ConfigError(
            f"{path}: only an .onnx file runs on several backends of a CPU; give the .onnx file"
        )
    for name, value in (("threads", threads), ("batch", batch)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value}: give 1 or more")
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"seconds={seconds}: give more than 0")
    load, cores = _load_average(), os.cpu_count() or 1
    if load is not None and load > BUSY * cores:
        note(
            f"WARNING the load average is {load:.1f} on {cores} cores, so the times are unreliable; run this again on an idle machine"
        )
    opened = _open_all(path, threads)
    artifacts = [artifact for artifact in opened.values() if isinstance(artifact, Artifact)]
    if not artifacts:
        raise DeviceError(
            f"{path}: no backend for this CPU is installed; pip install '.[cpu]' or '.[openvino]'"
        )
    model = artifacts[0]
    size = _batch(model, batch)
    results = _measure(opened, load_check(path, model.manifest), size, seconds, progress)
    choice = BackendChoice(
        chosen=fastest(results),
        results=results,
        model=model.sha256,
        batch=size,
        threads=threads,
        load_average=load,
        machine=this_machine(),
        path=path,
    )
    return replace(choice, path=write_choice(path, choice.to_json()))


def fastest(results: Sequence[BackendResult]) -> str | None:
    """Return the name of the fastest backend that passed its gate, or None if none passed.

    `results` must be in the order of BACKENDS, which begins with the most accurate backend. Therefore an earlier backend is
    preferred: a later one wins only if its median time `p50_ms` is below (1 - MARGIN) times that of the earlier one.
    """
    best: tuple[str, float] | None = None
    for result in results:
        if result.timing and (best is None or result.timing.p50_ms < (1 - MARGIN) * best[1]):
            best = result.backend, result.timing.p50_ms
    return best[0] if best else None


def _open_all(path: Path, threads: int | None) -> dict[str, Artifact | str]:
    """Return the file opened with each of BACKENDS, or the reason why a backend is missing."""
    opened: dict[str, Artifact | str] = {}
    for backend in BACKENDS:
        try:
            opened[backend] = load_artifact(path, threads=threads, backend=backend)
        # A backend that is installed but broken is an error; it must not be skipped silently.
        except BrokenLibrary:
            raise
        except DeviceError as error:
            opened[backend] = str(error)
    return opened


def _measure(
    opened: Mapping[str, Artifact | str], check: Check, batch: int, seconds: float, progress: Progress
) -> tuple[BackendResult, ...]:
    """Run the gate on every opened backend, then time those that pass."""
    results: dict[str, BackendResult] = {}
    passing: dict[str, Artifact] = {}
    for backend, artifact in opened.items():
        if not isinstance(artifact, Artifact):
            results[backend] = BackendResult(backend, missing=artifact)
            continue
        progress(f"{backend}: running the quality gate on {len(check.images)} check crops")
        results[backend] = BackendResult(backend, gate=_gate_result(check, artifact, backend, batch))
        if results[backend].passed:
            passing[backend] = artifact
    if not passing:
        return tuple(results.values())
    # All backends run the same file, so one specification of the input serves them all.
    inputs = _input_batches(check, next(iter(passing.values())).spec, batch)
    calls = [_call(artifact, inputs) for artifact in passing.values()]
    for (backend, artifact), times in zip(passing.items(), interleave(calls, seconds=seconds)):
        results[backend] = replace(results[backend], timing=_timing(artifact, times))
    return tuple(results.values())


def _gate_result(check: Check, artifact: Artifact, backend: str, batch: int) -> dict[str, Any]:
    limits = backend_limits(artifact.manifest.get("precision", ""), backend)
    try:
        return judge(check, artifact.run, artifact.spec, limits, batch=batch)
    except DeviceError as error:
        return {"passed": False, "failures": [str(error)]}


def _timing(artifact: Artifact, times: Samples) -> BackendTiming:
    p50, p95 = (float(np.percentile(times.wall_ms, point)) for point in (50, 95))
    products: dict[str, int] = getattr(artifact.run, "matmul_types", dict)()
    return BackendTiming(p50, p95, float(np.median(times.cpu_ms)), len(times.wall_ms), products)


def _batch(model: Artifact, batch: int | None) -> int:
    fixed = model.spec.batch
    if fixed is not None and batch not in (None, fixed):
        raise ConfigError(
            f"{model.path}: has a fixed batch of {fixed}; remove the argument batch (--batch), or give {fixed}"
        )
    return batch or fixed or 1


def _input_batches(
    check: Check, spec: InputSpec, batch: int
) -> list[tuple[NDArray[Any], NDArray[np.int64] | None]]:
    """Return FEEDS batches of the check crops, preprocessed for the graph. Crops are repeated if there are too few."""
    indices = np.arange(FEEDS * batch).reshape(FEEDS, batch) % len(check.images)
    return [
        (to_input(check.images[chosen], spec), check.camera_ids[chosen] if spec.camera == "input" else None)
        for chosen in indices
    ]


def _call(artifact: Artifact, inputs: Sequence[tuple[NDArray[Any], NDArray[np.int64] | None]]) -> Call:
    return lambda turn: artifact.run(*inputs[turn % len(inputs)])


def _load_average() -> float | None:
    """Return the mean number of runnable processes over the last minute, or None if the system does not report it."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
