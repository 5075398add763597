"""`python bench.py MODEL [MODEL ...]`: latency, throughput, size, memory and mAP of models, side by side.

All models run interleaved in one process, on the same distinct images; ratios are to the first one. What they
computed while being timed is compared with a fresh run of each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import subjects_of
from benchmarks.bench import plan
from benchmarks.bench.arguments import apply_preset, parser
from benchmarks.bench.compare import compare, read_document
from benchmarks.bench.document import Seen
from benchmarks.bench.document import document as document_of
from benchmarks.bench.memory import peak_memory
from benchmarks.bench.report import print_report
from benchmarks.bench.stages import stages
from benchmarks.bench.throughput import Load, throughput
from benchmarks.bench.times import CutShort, Timed, compared, on_feeds, ratio, result, time_models
from benchmarks.candidate import Subject, facts, open_subject, reopen_subject
from benchmarks.device import desktop, gpu_state, jetson
from benchmarks.device.power.gpu_energy import gpu_energy
from benchmarks.device.report import print_device_report
from benchmarks.device.run import document as device_document
from benchmarks.host import describe_host
from benchmarks.inputs import Crops, feeds, random_crops, read_crops
from benchmarks.labels import name_of
from runtime import console
from runtime.artifact import Artifact
from runtime.datasets import Dataset, count_warnings, read_dataset
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.errors import ConfigError
from runtime.extraction.accuracy import accuracy
from runtime.extraction.processes import usable_cores
from runtime.options.choices import THROUGHPUT
from runtime.stopping import Stopped, stopped

# As many different images, and as many different batches, as a model sees before they repeat.
IMAGES, BATCHES = 64, 4
# Trustworthy times vary less than this (standard deviation over mean).
STEADY = 0.025
# From here on the p99 is not simply the slowest round.
FULL = 101


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the models and print tables or one JSON document. Returns 0; raises a UserError otherwise."""
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
    seen = Seen()
    stop: Stopped | None = None
    try:
        document = jetson.measure(args) if args.device == "jetson" else measure(subjects_of(args), args, seen)
    except jetson.Interrupted as error:
        document, stop = device_document(error.run), error
    except KeyboardInterrupt as error:
        stop = stopped(error)
        document = document_of(seen, args, doubtful(seen.models), stop=stop)
    if before is not None and document["models"]:
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
    if stop is not None:
        raise Stopped(stop.number, "what is complete is printed, and marked as incomplete")
    return 0


def measure(
    subjects: Sequence[Subject], args: argparse.Namespace, seen: Seen | None = None
) -> dict[str, Any]:
    """{host, images, models[], ratios[], warnings[]}: one model and one ratio for each batch size and subject.

    Of a graphics card {state, galleries} besides, and each model's {measured, trtexec} (`benchmarks.device.desktop`). `seen` is
    filled on the way, for a caller that is stopped in between.
    """
    seen, card = seen or Seen(), args.device == "cuda"
    seen.host = describe_host(device=args.device, threads=args.threads)
    dataset = read_dataset(args.data, args.layout) if args.data else None
    opened = [_opened(subject) for subject in subjects]
    artifacts, opened_s = [one for one, _ in opened], [seconds for _, seconds in opened]
    del opened
    batches = desktop.sizes(args.batch, artifacts) if card else args.batch
    for artifact in artifacts:
        _check_batch(artifact, batches)
    crops = _crops(dataset, max(IMAGES, BATCHES * max(batches)))
    seen.images = {"source": crops.source, "count": len(crops.pixels)}
    ids = _camera_ids(artifacts, crops, dataset, args.camera)
    names = plan.names([name_of(facts(artifact)) for artifact in artifacts])
    smallest = [feeds(crops, own, one.spec, min(batches))[0] for one, own in zip(artifacts, ids)]
    costs = plan.calibrate(artifacts, smallest, opened_s)
    agenda = seen.agenda = plan.agenda(names, costs, _wanted(args, batches, dataset))
    agenda.announce()

    seen.states += [gpu_state.state()] if card else []
    for batch in batches:
        with agenda.part(plan.times_at(batch)):
            _time_batch(subjects, artifacts, crops, ids, batch, args=args, seen=seen)
    for place, (artifact, name) in enumerate(zip(artifacts, names)):
        if dataset is not None and args.accuracy:
            with agenda.part(plan.accuracy_of(name)):
                _add(seen, subjects, place, {"accuracy": accuracy(artifact, dataset, camera=args.camera)})
    if dataset is not None:
        with agenda.part(plan.STAGES):
            for place, artifact in enumerate(artifacts):
                _add(seen, subjects, place, {"stages": _stages(artifact, dataset, args.camera)})
    if card and dataset:
        with agenda.part(plan.GALLERIES):
            seen.galleries += desktop.galleries(artifacts, dataset, args.camera)
    loaded = [desktop.Loaded(one.path, one.manifest, one.spec) for one in artifacts]
    # A child that opens a model needs its memory once more: give ours back first.
    del artifacts, artifact
    for index, model in enumerate(seen.models):
        which = index % len(subjects)
        with agenda.part(plan.beside(names[which], model["batch"])):
            found: dict[str, Any] = {"peak_memory_bytes": peak_memory(subjects[which], model["batch"])}
            if card:
                found |= desktop.beside(model, loaded[which], args.seconds)
            if args.preset == THROUGHPUT:
                load = Load(subjects[which], crops, ids[which], model["batch"])
                found["throughput"] = throughput(load, usable_cores(), seconds=args.seconds)
            model |= found
    return document_of(seen, args, doubtful(seen.models))


def _time_batch(
    subjects: Sequence[Subject],
    artifacts: Sequence[Artifact],
    crops: Crops,
    ids: Sequence[NDArray[np.int64] | None],
    batch: int,
    *,
    args: argparse.Namespace,
    seen: Seen,
) -> None:
    """Add a row and a ratio for each model; of a timing that is stopped after enough rounds, those rounds."""
    try:
        timed = time_models(artifacts, crops, ids, batch, rounds=args.rounds, seconds=args.seconds)
    except CutShort as cut:
        unknown = {"features_equal": None, "features_difference": None, "energy": None, "cut_short": True}
        seen.models += [
            facts(one) | result(times, batch) | unknown for one, times in zip(artifacts, cut.timed)
        ]
        seen.ratios += [
            ratio(cut.timed[0], times, artifacts[0], one) for one, times in zip(artifacts, cut.timed)
        ]
        raise
    if args.device == "cuda":
        seen.states.append(gpu_state.state())
    energies = _energies(artifacts, timed, batch, args.device)
    rows = [
        facts(artifact) | result(one, batch) | compared(reopen_subject(subject), one) | {"energy": joules}
        for subject, artifact, one, joules in zip(subjects, artifacts, timed, energies)
    ]
    # all at once: a stop finds the batch whole, or not at all
    seen.models += rows
    seen.ratios += [ratio(timed[0], one, artifacts[0], artifact) for artifact, one in zip(artifacts, timed)]


def _add(seen: Seen, subjects: Sequence[Subject], place: int, found: dict[str, Any]) -> None:
    """The same for every batch size of the model in that place."""
    for model in seen.models[place :: len(subjects)]:
        model |= found


def doubtful(models: Sequence[dict[str, Any]]) -> list[str]:
    """What about the models' numbers makes them unreliable, in sentences for people."""
    found = [
        f"{model['path']}, batch {model['batch']}: features while timing differ by "
        f"{model['features_difference']:.1e} from a fresh run; do not trust this model's numbers"
        for model in models
        if model["features_equal"] is False
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
    if (rounds := min((model["rounds"] for model in models), default=FULL)) < FULL:
        found.append(f"p99 of {rounds} rounds is the slowest of them; for a real one give --rounds {FULL}")
    return found


def _energies(
    artifacts: Sequence[Artifact], timed: Sequence[Timed], batch: int, device: str
) -> list[dict[str, Any] | None]:
    """What an image costs each model in joules, where the device tells; None for each elsewhere."""
    if device != "cuda":
        return [None] * len(artifacts)
    return gpu_energy([on_feeds(model, one.feeds, {}) for model, one in zip(artifacts, timed)], batch)


def _opened(subject: Subject) -> tuple[Artifact, float]:
    """(the model, the seconds it took to open)."""
    started = time.monotonic()
    return open_subject(subject), time.monotonic() - started


def _wanted(args: argparse.Namespace, batches: Sequence[int], dataset: Dataset | None) -> plan.Wanted:
    items = len(dataset.query) + len(dataset.gallery) if dataset else 0
    card = args.device == "cuda"
    return plan.Wanted(
        batches,
        args.rounds,
        args.seconds,
        images=items if args.accuracy else 0,
        staged=dataset is not None,
        card=card,
        gallery=len(dataset.gallery) if card and dataset else 0,
        throughput=args.preset == THROUGHPUT,
    )


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
