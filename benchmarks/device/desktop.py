"""Measure what `bench.py --device cuda` reports besides latency: whole galleries, trtexec's times and the card's state."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.candidate import facts
from benchmarks.device import gpu_state
from benchmarks.device.document import gallery_row, measured_with, missing_reasons, trtexec_row
from benchmarks.device.jetson import PERSONS
from benchmarks.device.power.energy import LEAST_S, energy
from benchmarks.device.power.gpu_energy import SETTLE_S, card_meter
from benchmarks.device.scenarios import GALLERY_BATCH, time_gallery
from benchmarks.device.trtexec import run_trtexec
from runtime.artifact import Artifact
from runtime.console import note
from runtime.datasets import Dataset, count_warnings
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.spec import InputSpec


class Loaded(NamedTuple):
    """The path, manifest and input format of a model whose session is closed, because trtexec needs the session's memory."""

    path: Path
    manifest: Mapping[str, Any]
    spec: InputSpec


def sizes(*, fixed: bool, card: bool) -> tuple[int, ...]:
    """Return the batch sizes to time if the command line gives none.

    `card` says whether the device is a graphics card, and `fixed` whether a model has a fixed batch size. On a graphics card without
    such a model, the sizes are 1, 8, 16 and 32, numbers of persons that a camera's frame may show. Otherwise, the only size is 1.
    """
    return PERSONS if card and not fixed else (1,)


def galleries(
    artifacts: Sequence[Artifact],
    dataset: Dataset,
    policy: str | int | None,
    *,
    least_s: float = LEAST_S,
    settle_s: float = SETTLE_S,
) -> list[dict[str, Any]]:
    """Extract the features of the data set's whole gallery with each model, and return how long it took and its energy.

    The result has one entry for each model, as `benchmarks.device.document.gallery_row` makes it. `policy` says which camera
    embedding the models use (see `runtime.datasets.cameras.camera_ids`). The extraction is repeated until `least_s` seconds have
    passed, and the card works for `settle_s` seconds before its power counts.
    """
    name, rows = dataset_name(dataset.layout, count_warnings(dataset)), []
    with card_meter(least_s=least_s, settle_s=settle_s) as (meter, idle):
        for artifact in artifacts:
            note(f"{artifact.path}: extracting the gallery of {len(dataset.gallery)} images")
            camids = [item.camid for item in dataset.gallery]
            ids, _ = camera_ids(camids, artifact.spec, policy=policy, dataset=name)
            # The card works before its energy counts, because it reports its mean power over the last second.
            first_batch = dataclasses.replace(dataset, gallery=dataset.gallery[:GALLERY_BATCH])
            first_ids = None if ids is None else ids[:GALLERY_BATCH]
            time_gallery(artifact, first_batch, first_ids, least_s=settle_s, clock=time.perf_counter)
            gallery = time_gallery(artifact, dataset, ids, least_s=least_s, clock=time.perf_counter)
            joules = energy(
                meter.samples if meter else (),
                gallery.window,
                images=gallery.images * gallery.passes,
                idle=idle,
                least_s=least_s,
            )
            rows.append(gallery_row(facts(artifact), gallery, joules))
    return rows


def trtexec_times(model: Mapping[str, Any], loaded: Loaded, seconds: float) -> dict[str, Any]:
    """Return {measured, trtexec}: the settings under which this model was timed, and trtexec's times of its engine.

    `model` is the model's row of the document, and `loaded` describes its file. trtexec runs twice for `seconds` seconds: without the
    transfers between CPU and GPU, and with the copying of the images to the GPU and of the features back. For an ONNX file, `trtexec`
    is empty.
    """
    runs = []
    if model["kind"] == "engine":
        runs = run_trtexec(loaded.path, loaded.manifest, loaded.spec, [model["batch"]], seconds=seconds)
    return {"measured": measured_with(model["engine"]), "trtexec": [trtexec_row(run) for run in runs]}


def state(states: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return {before, during, after, commands} from the `states` of the card, in the order of time.

    `before` is the first state, `after` is the last one, and `during` has the others. A state is None if nvidia-smi does not work.
    `commands` are commands that would lock the card's clocks for steadier times.
    """
    before, *during, after = states
    return {"before": before, "during": during, "after": after, "commands": gpu_state.advice(before)}


def warnings(document: Mapping[str, Any]) -> list[str]:
    """Return the warnings for a bench.py document: that the card was slowed down, and why times of trtexec are missing."""
    runs = [run for model in document["models"] for run in model["trtexec"]]
    return [
        *gpu_state.doubts(document["state"]["during"]),
        *(f"times of trtexec are missing: {why}" for why in missing_reasons(runs)),
    ]
