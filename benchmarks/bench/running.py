"""Open the models of a bench.py run, test that they run, and compare their features with those of the first model.

With `--keep-going`, a model that does not run here is reported, and the run continues with the others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench import plan
from benchmarks.bench.document import Progress
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

# (the requested model, the opened model, the seconds that opening took)
Opened = tuple[Candidate, Artifact, float]


@dataclass(frozen=True)
class RunnableModel:
    """An opened model that has returned features for a first batch.

    `ids` are the camera ids (N,) of the N crops on which it is timed, or None for a model that takes no camera ids. `cost` is the time
    to open it and to run it on an image. `parity` is the result of `runtime.gate.compare` for its features and those of the first
    model. It is None without --parity.
    """

    candidate: Candidate
    artifact: Artifact
    ids: NDArray[np.int64] | None
    cost: plan.Cost
    parity: dict[str, Any] | None = None


def open_all(progress: Progress) -> list[Opened]:
    """Open the models in `progress.options`, and return (requested model, opened model, seconds to open it) for each.

    The error of a model that cannot be opened is raised. With `--keep-going`, the model is added to `progress.failed` instead, and
    DeviceError is raised if no model can be opened.
    """
    opened: list[Opened] = []
    for candidate in progress.options.candidates:
        started = time.monotonic()
        try:
            opened.append((candidate, open_candidate(candidate), time.monotonic() - started))
        # A missing compiler or execution provider can raise any exception.
        except Exception as error:
            _report(candidate, error, progress)
    if not opened:
        raise _nothing_runs(progress)
    return opened


def try_all(
    opened: Sequence[Opened],
    crops: Crops,
    dataset: Dataset | None,
    batches: Sequence[int],
    progress: Progress,
) -> list[RunnableModel]:
    """Call each opened model twice on a batch of `crops` of the smallest size in `batches`, and return the models that run.

    Raises the error of the first model that fails, and ConfigError for a model with a fixed batch size if `batches` has another size.
    With `--keep-going`, the model is added to `progress.failed` instead, and DeviceError is raised if no model runs. `dataset` is
    the data set of the crops, or None for random pixels.
    """
    runnable: list[RunnableModel] = []
    options = progress.options
    name = dataset_name(dataset.layout, count_warnings(dataset)) if dataset else None
    camera_notes = []
    for candidate, artifact, open_s in opened:
        try:
            _check_batch(artifact, batches)
            policy = options.images.camera
            ids, camera_note = camera_ids(crops.camids, artifact.spec, policy=policy, dataset=name)
            if options.parity and runnable:
                _check_width(runnable[0].artifact, artifact)
            feed = feeds(crops, ids, artifact.spec, min(batches))[0]
            runnable.append(RunnableModel(candidate, artifact, ids, plan.calibrate(artifact, feed, open_s)))
            camera_notes += [camera_note] if camera_note and dataset else []
        except Exception as error:
            _report(candidate, error, progress)
    for camera_note in dict.fromkeys(camera_notes):
        console.note(camera_note)
    if not runnable:
        raise _nothing_runs(progress)
    return runnable


def compared_with_first(runnable: Sequence[RunnableModel], crops: Crops, batch: int) -> list[RunnableModel]:
    """Compare the features of each model with those of the first, and return the models with the result in `parity`.

    The features are those of `crops`, in batches of `batch` images. Raises DataError if the first model gives all crops the same
    features.
    """
    reference = _features(runnable[0], crops, batch)
    return [replace(model, parity=compare(reference, _features(model, crops, batch))) for model in runnable]


def _features(model: RunnableModel, crops: Crops, batch: int) -> NDArray[np.float32]:
    inputs = feeds(crops, model.ids, model.artifact.spec, batch)
    return np.concatenate([model.artifact.run(*feed) for feed in inputs])


def _report(candidate: Candidate, error: Exception, progress: Progress) -> None:
    """Raise the error of a model that does not run. With `--keep-going`, add it to `progress.failed` and print it instead."""
    if not progress.options.keep_going:
        raise error
    reason = f"{type(error).__name__}: {reason_of(error)}"
    progress.failed.append({"model": candidate.name, "why": reason})
    console.note(f"WARNING {candidate.name} does not run here: {reason}")


def _nothing_runs(progress: Progress) -> DeviceError:
    return DeviceError(
        f"no model runs with --device {progress.options.device}; correct one of the reasons above, or use another --device"
    )


def _check_batch(artifact: Artifact, batches: Sequence[int]) -> None:
    fixed = artifact.spec.batch
    if fixed is not None and set(batches) != {fixed}:
        raise ConfigError(
            f"{artifact.path}: the model has a fixed batch size of {fixed}, so times at other sizes would include padding; "
            f"use --batch {fixed}, or export the model with --batch dynamic"
        )


def _check_width(first: Artifact, other: Artifact) -> None:
    if first.dim != other.dim:
        raise ConfigError(
            f"{other.path}: its features have {other.dim} numbers, but the features of {first.path} have {first.dim}; give models "
            "that were made from the same network, or remove --parity"
        )
