"""What `bench.py --device cuda` measures besides times: a frame's persons, whole galleries, trtexec, the card's state."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.candidate import facts
from benchmarks.device import gpu_state
from benchmarks.device.jetson import PERSONS
from benchmarks.device.power.energy import LEAST_S, energy
from benchmarks.device.power.gpu_energy import SETTLE_S, card_meter
from benchmarks.device.run import gallery_row, measured_with, trtexec_row
from benchmarks.device.scenarios import GALLERY_BATCH, time_gallery
from benchmarks.device.trtexec import run_trtexec
from runtime.artifact import Artifact
from runtime.console import note
from runtime.datasets import Dataset, count_warnings
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.spec import InputSpec


class Loaded(NamedTuple):
    """What is known of a model once its session is closed, whose memory trtexec needs."""

    path: Path
    manifest: Mapping[str, Any]
    spec: InputSpec


def sizes(*, fixed: bool, card: bool) -> tuple[int, ...]:
    """The batch sizes to time where none were asked for: on a graphics card those of a frame's persons, unless one is `fixed`."""
    return PERSONS if card and not fixed else (1,)


def galleries(
    artifacts: Sequence[Artifact],
    dataset: Dataset,
    policy: str | int | None,
    *,
    least_s: float = LEAST_S,
    settle_s: float = SETTLE_S,
) -> list[dict[str, Any]]:
    """Throughput and energy of extracting the data set's gallery from its files on, a row for each model."""
    name, rows = dataset_name(dataset.layout, count_warnings(dataset)), []
    with card_meter(least_s=least_s, settle_s=settle_s) as (meter, idle):
        for artifact in artifacts:
            note(f"{artifact.path}: gallery of {len(dataset.gallery)} images")
            camids = [item.camid for item in dataset.gallery]
            own, _ = camera_ids(camids, artifact.spec, policy=policy, dataset=name)
            # works before its window opens, for a card that answers with the mean of the last second
            few = dataclasses.replace(dataset, gallery=dataset.gallery[:GALLERY_BATCH])
            first = None if own is None else own[:GALLERY_BATCH]
            time_gallery(artifact, few, first, least_s=settle_s, clock=time.perf_counter)
            found = time_gallery(artifact, dataset, own, least_s=least_s, clock=time.perf_counter)
            joules = energy(
                meter.samples if meter else (),
                found.window,
                images=found.images * found.passes,
                idle=idle,
                least_s=least_s,
            )
            rows.append(gallery_row(facts(artifact), found, joules))
    return rows


def beside(model: Mapping[str, Any], loaded: Loaded, seconds: float) -> dict[str, Any]:
    """{measured, trtexec}: what this model's times hold, and those of its engine by trtexec, without and with the copies.

    `model` is its row of the document. An ONNX file has no times of trtexec.
    """
    runs = []
    if model["kind"] == "engine":
        runs = run_trtexec(loaded.path, loaded.manifest, loaded.spec, [model["batch"]], seconds=seconds)
    return {"measured": measured_with(model["engine"]), "trtexec": [trtexec_row(one) for one in runs]}


def state(states: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """{before, during, after, commands}: the card around and right behind each time; null without nvidia-smi."""
    before, *during, after = states
    return {"before": before, "during": during, "after": after, "commands": gpu_state.advice(before)}


def doubtful(document: Mapping[str, Any]) -> list[str]:
    """What about the card and trtexec makes the numbers doubtful, in sentences for people."""
    runs = [one for model in document["models"] for one in model["trtexec"]]
    missing = dict.fromkeys(one["why"] for one in runs if one["why"] is not None)
    return [
        *gpu_state.doubts(document["state"]["during"]),
        *(f"trtexec beside it is missing: {why}" for why in missing),
    ]
