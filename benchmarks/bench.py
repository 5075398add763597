"""`python bench.py MODEL [MODEL ...]`: latency, throughput, size, memory and mAP of models, side by side.

All models run interleaved in one process, on the same distinct images; ratios are to the first one. What they
computed while being timed is compared with a fresh run of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import desktop, gpu_state, jetson, timing
from benchmarks.arguments import apply_preset, parser, subjects_of
from benchmarks.compare import compare, interval, read_document
from benchmarks.device_report import print_device_report
from benchmarks.gpu_energy import gpu_energy
from benchmarks.host import describe_host, doubts, load_average
from benchmarks.inputs import Crops, Feed, feeds, random_crops, read_crops
from benchmarks.memory import peak_memory
from benchmarks.report import print_report
from benchmarks.stages import stages
from benchmarks.subject import Subject, facts, open_subject, reopen_subject
from benchmarks.throughput import Load, throughput
from runtime import console
from runtime.accuracy import accuracy
from runtime.cameras import camera_ids, dataset_name
from runtime.datasets import Dataset, count_warnings, read_dataset
from runtime.errors import ConfigError, guarded
from runtime.preset import THROUGHPUT
from runtime.processes import usable_cores
from runtime.session import Artifact

# As many different images, and as many different batches, as a model sees before they repeat.
IMAGES, BATCHES = 64, 4
# Trustworthy times vary less than this (standard deviation over mean).
STEADY = 0.025
# From here on the p99 is not simply the slowest round.
FULL = 101
# One engine gives the same features twice but for the order of a parallel sum.
SAME = 1e-5


@dataclass(frozen=True)
class Timed:
    """One model at one batch size: its times, and by feed the features of the last timed call on it."""

    samples: timing.Samples
    feeds: list[Feed]
    produced: dict[int, NDArray[np.float32]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the models and print tables or one JSON document. Returns 0; raises a Refusal otherwise."""
    args = parser(__doc__).parse_args(argv)
    if args.replay is not None and args.device != "jetson":
        raise ConfigError("--replay: only with --device jetson, whose recorded runs it reads")
    if args.record is not None and (args.device != "jetson" or args.replay is not None):
        raise ConfigError(
            "--record: only with --device jetson and without --replay; it keeps what a board did"
        )
    apply_preset(args)
    # before anything is measured for nothing
    before = read_document(args.compare) if args.compare else None
    document = jetson.measure(args) if args.device == "jetson" else measure(subjects_of(args), args)
    if before is not None:
        document["compared"] = compare(before, document)
        document["warnings"] += document["compared"]["warnings"]
    for text in document["warnings"]:
        console.note(f"WARNING {text}")
    if args.json:
        console.print_json(document)
    elif args.device == "jetson":
        print_device_report(document)
    else:
        print_report(document)
    return 0


def measure(subjects: Sequence[Subject], args: argparse.Namespace) -> dict[str, Any]:
    """{host, images, models[], ratios[], warnings[]}: one model and one ratio for each batch size and subject.

    Of a graphics card {state, galleries} besides, and each model's {measured, trtexec} (`benchmarks.desktop`).
    """
    card = args.device == "cuda"
    host = describe_host(device=args.device, threads=args.threads)
    dataset = read_dataset(args.data, args.layout) if args.data else None
    artifacts = [open_subject(subject) for subject in subjects]
    batches = desktop.sizes(args.batch, artifacts) if card else args.batch
    for artifact in artifacts:
        _check_batch(artifact, batches)
    crops = _crops(dataset, max(IMAGES, BATCHES * max(batches)))
    ids = _camera_ids(artifacts, crops, dataset, args.camera)

    models, ratios = [], []
    states = [gpu_state.state()] if card else []
    for batch in batches:
        console.note(f"timing {len(artifacts)} models at batch {batch} on {len(crops.pixels)} {crops.source}")
        timed = time_models(artifacts, crops, ids, batch, rounds=args.rounds, seconds=args.seconds)
        if card:
            states.append(gpu_state.state())
        energies = _energies(artifacts, timed, batch, args.device)
        models += [
            facts(artifact) | result(one, batch) | compared(reopen_subject(subject), one) | {"energy": joules}
            for subject, artifact, one, joules in zip(subjects, artifacts, timed, energies)
        ]
        ratios += [ratio(timed[0], one, artifacts[0], artifact) for artifact, one in zip(artifacts, timed)]
    scored = dataset if args.accuracy else None
    scores = [accuracy(one, scored, camera=args.camera) if scored else None for one in artifacts]
    split = [_stages(one, dataset, args.camera) if dataset else None for one in artifacts]
    galleries = desktop.galleries(artifacts, dataset, args.camera) if card and dataset else []
    loaded = [desktop.Loaded(one.path, one.manifest, one.spec) for one in artifacts]
    # A child that opens a model needs its memory once more: give ours back first.
    del artifacts, artifact
    for index, model in enumerate(models):
        which = index % len(subjects)
        peak = peak_memory(subjects[which], model["batch"])
        model |= {"accuracy": scores[which], "stages": split[which], "peak_memory_bytes": peak}
        if card:
            model |= desktop.beside(model, loaded[which], args.seconds)
        if args.preset == THROUGHPUT:
            load = Load(subjects[which], crops, ids[which], model["batch"])
            model["throughput"] = throughput(load, usable_cores(), seconds=args.seconds)
    document = {
        "host": host | {"load_average_after": load_average()},
        "preset": args.preset,
        "images": {"source": crops.source, "count": len(crops.pixels)},
        "models": models,
        "ratios": ratios,
        "warnings": doubts(host) + doubtful(models),
    }
    if card:
        document |= {"state": desktop.state([*states, gpu_state.state()]), "galleries": galleries}
        document["warnings"] += desktop.doubtful(document)
    return document


def time_models(
    artifacts: Sequence[Artifact],
    crops: Crops,
    ids: Sequence[NDArray[np.int64] | None],
    batch: int,
    *,
    rounds: int | None,
    seconds: float,
) -> list[Timed]:
    """Each model's times and features, interleaved; in one round all models see the same crops.

    `ids` are one array of camera ids (N,) for each model, or None where it takes none.
    """
    inputs = [feeds(crops, own, one.spec, batch) for one, own in zip(artifacts, ids)]
    produced: list[dict[int, NDArray[np.float32]]] = [{} for _ in artifacts]
    calls = [_call(*parts) for parts in zip(artifacts, inputs, produced)]
    samples = timing.interleave(calls, rounds=rounds, seconds=seconds)
    return [Timed(*parts) for parts in zip(samples, inputs, produced)]


def result(timed: Timed, batch: int) -> dict[str, Any]:
    """The numbers of one model at one batch size; times in ms of one call on a whole batch."""
    wall, cpu = timed.samples.wall_ms, timed.samples.cpu_ms
    return {
        "batch": batch,
        "rounds": len(wall),
        "latency_ms": timing.latency(wall),
        "images_per_s": 1000 * batch / float(wall.mean()),
        "cpu_ms": float(np.median(cpu)),
        "cv": timing.variation(wall),
        # every round, for a later --compare
        "wall_ms": [round(float(ms), 4) for ms in wall],
    }


def compared(fresh: Artifact, timed: Timed) -> dict[str, Any]:
    """{features_equal, features_difference}: timed features against those of a freshly opened, untimed model."""
    differences = [
        float(np.abs(fresh.run(*timed.feeds[index]) - features).max())
        for index, features in timed.produced.items()
    ]
    return {"features_equal": max(differences) <= SAME, "features_difference": max(differences)}


def ratio(first: Timed, other: Timed, first_model: Artifact, model: Artifact) -> dict[str, Any]:
    """How many times faster than the first model: by wall time and by CPU time, median and 5-95 % of rounds.

    `interval_95` is the ratio of the median wall times with its 95 % interval (`benchmarks.compare.interval`).
    """
    wall = timing.speed(first.samples.wall_ms, other.samples.wall_ms)
    cpu = timing.speed(first.samples.cpu_ms, other.samples.cpu_ms)
    return {
        "path": str(model.path),
        "engine": model.engine,
        "relative_to": str(first_model.path),
        "batch": len(other.feeds[0][0]),
        "speed": asdict(wall) if wall else None,
        "cpu_speed": asdict(cpu) if cpu else None,
        "interval_95": asdict(interval(first.samples.wall_ms, other.samples.wall_ms, paired=True)),
    }


def doubtful(models: Sequence[dict[str, Any]]) -> list[str]:
    """What about the models' numbers makes them unreliable, in sentences for people."""
    found = [
        f"{model['path']}, batch {model['batch']}: features while timing differ by "
        f"{model['features_difference']:.1e} from a fresh run; do not trust this model's numbers"
        for model in models
        if not model["features_equal"]
    ]
    unsteady = [
        f"{model['path']} at batch {model['batch']} by {model['cv']:.1%}"
        for model in models
        if model["cv"] > STEADY
    ]
    if unsteady:
        found.append(
            f"times vary by more than {STEADY:.1%} ({', '.join(unsteady)}): trust the ratios, or measure "
            "longer on an idle machine"
        )
    if (rounds := min(model["rounds"] for model in models)) < FULL:
        found.append(f"p99 of {rounds} rounds is the slowest of them; for a real one give --rounds {FULL}")
    return found


def _call(
    artifact: Artifact, inputs: list[Feed], produced: dict[int, NDArray[np.float32]]
) -> Callable[[int], None]:
    def call(turn: int) -> None:
        index = turn % len(inputs)
        produced[index] = artifact.run(*inputs[index])

    return call


def _energies(
    artifacts: Sequence[Artifact], timed: Sequence[Timed], batch: int, device: str
) -> list[dict[str, Any] | None]:
    """What an image costs each model in joules, where the device tells; None for each elsewhere."""
    if device != "cuda":
        return [None] * len(artifacts)
    return gpu_energy([_call(model, one.feeds, {}) for model, one in zip(artifacts, timed)], batch)


def _crops(dataset: Dataset | None, count: int) -> Crops:
    if dataset is None:
        return random_crops(count)
    return read_crops([*dataset.query, *dataset.gallery], count, f"crops of {dataset.root}")


def _stages(artifact: Artifact, dataset: Dataset, policy: str | int | None) -> dict[str, Any]:
    """Where the time of one image goes, over some of the queries."""
    items = dataset.query[:IMAGES]
    name = dataset_name(dataset.layout, count_warnings(dataset))
    ids, _ = camera_ids([item.camid for item in items], artifact.spec, policy=policy, dataset=name)
    return stages(artifact, items, ids)


def _camera_ids(
    artifacts: Sequence[Artifact], crops: Crops, dataset: Dataset | None, policy: str | int | None
) -> list[NDArray[np.int64] | None]:
    name = dataset_name(dataset.layout, count_warnings(dataset)) if dataset else None
    chosen = [camera_ids(crops.camids, one.spec, policy=policy, dataset=name) for one in artifacts]
    if dataset is not None:
        for remark in dict.fromkeys(remark for _, remark in chosen if remark):
            console.note(remark)
    return [ids for ids, _ in chosen]


def _check_batch(artifact: Artifact, batches: Sequence[int]) -> None:
    fixed = artifact.spec.batch
    if fixed is not None and set(batches) != {fixed}:
        raise ConfigError(
            f"{artifact.path}: has a fixed batch of {fixed}, so other sizes would time its padding; "
            f"use --batch {fixed}, or export it with --batch dynamic"
        )


if __name__ == "__main__":
    raise SystemExit(guarded(main))
