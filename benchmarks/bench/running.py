"""The models of a run of bench.py: opened, tried once, and compared with the first of them. Times none.

With `--keep-going` a model that does not run here is reported, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench import plan
from benchmarks.bench.document import Seen
from benchmarks.candidate import open_candidate
from benchmarks.inputs import Crops, feeds
from benchmarks.options import Candidate
from runtime import console
from runtime.artifact import Artifact
from runtime.datasets import Dataset, count_warnings
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.errors import ConfigError, DeviceError
from runtime.gate import compare
from runtime.wording import reason_of

# (what was asked for, the model, the seconds that it took to open)
Opened = tuple[Candidate, Artifact, float]


@dataclass(frozen=True)
class Running:
    """An opened model that answers: the camera ids (N,) of the crops, or None where it takes none, and what it costs.

    `parity` says how near its features are to those of the first model (`runtime.gate.compare`); None where nobody asked.
    """

    candidate: Candidate
    artifact: Artifact
    ids: NDArray[np.int64] | None
    cost: plan.Cost
    parity: dict[str, Any] | None = None


def open_all(seen: Seen) -> list[Opened]:
    """The models that open. DeviceError where none does."""
    opened: list[Opened] = []
    for candidate in seen.options.candidates:
        started = time.monotonic()
        try:
            opened.append((candidate, open_candidate(candidate), time.monotonic() - started))
        # a compiler or a provider that is not there raises what it likes
        except Exception as error:
            _report(candidate, error, seen)
    if not opened:
        raise _nothing(seen)
    return opened


def try_all(
    opened: Sequence[Opened],
    crops: Crops,
    dataset: Dataset | None,
    batches: Sequence[int],
    seen: Seen,
) -> list[Running]:
    """The opened models that take these batches and answer two calls. DeviceError where none does."""
    running: list[Running] = []
    options = seen.options
    name = dataset_name(dataset.layout, count_warnings(dataset)) if dataset else None
    remarks = []
    for candidate, artifact, open_s in opened:
        try:
            _check_batch(artifact, batches)
            ids, remark = camera_ids(crops.camids, artifact.spec, policy=options.images.camera, dataset=name)
            if options.parity and running:
                _check_width(running[0].artifact, artifact)
            feed = feeds(crops, ids, artifact.spec, min(batches))[0]
            running.append(Running(candidate, artifact, ids, plan.calibrate(artifact, feed, open_s)))
            remarks += [remark] if remark and dataset else []
        except Exception as error:
            _report(candidate, error, seen)
    for remark in dict.fromkeys(remarks):
        console.note(remark)
    if not running:
        raise _nothing(seen)
    return running


def compared_with_first(running: Sequence[Running], crops: Crops, batch: int) -> list[Running]:
    """The same models with their parity. DataError where the first model sees no difference between the crops."""
    reference = _features(running[0], crops, batch)
    return [replace(one, parity=compare(reference, _features(one, crops, batch))) for one in running]


def _features(one: Running, crops: Crops, batch: int) -> NDArray[np.float32]:
    inputs = feeds(crops, one.ids, one.artifact.spec, batch)
    return np.concatenate([one.artifact.run(*feed) for feed in inputs])


def _report(candidate: Candidate, error: Exception, seen: Seen) -> None:
    """Note why a model does not run; without `--keep-going` that ends the run."""
    if not seen.options.keep_going:
        raise error
    reason = f"{type(error).__name__}: {reason_of(error)}"
    seen.failed.append({"model": candidate.name, "why": reason})
    console.note(f"WARNING {candidate.name} does not run here: {reason}")


def _nothing(seen: Seen) -> DeviceError:
    return DeviceError(f"nothing runs with --device {seen.options.device}; the reasons stand above")


def _check_batch(artifact: Artifact, batches: Sequence[int]) -> None:
    fixed = artifact.spec.batch
    if fixed is not None and set(batches) != {fixed}:
        raise ConfigError(
            f"{artifact.path}: has a fixed batch of {fixed}, so other sizes would time its padding; "
            f"use --batch {fixed}, or export it with --batch dynamic"
        )


def _check_width(first: Artifact, other: Artifact) -> None:
    if first.dim != other.dim:
        raise ConfigError(
            f"{other.path}: has features of {other.dim} numbers, and {first.path} of {first.dim}; give models of one network, "
            "or leave --parity out"
        )
