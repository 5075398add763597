"""Measure models side by side for bench.py: together, then each alone. Opens none itself, and prints no result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.bench import plan
from benchmarks.bench.arguments import BenchOptions
from benchmarks.bench.document import Seen, document
from benchmarks.bench.memory import peak_memory
from benchmarks.bench.running import Running, compared_with_first, open_all, try_all
from benchmarks.bench.stages import stages
from benchmarks.bench.throughput import Load, throughput
from benchmarks.bench.times import CutShort, Timed, compared, on_feeds, ratio, result, time_models
from benchmarks.candidate import facts, reopen_candidate
from benchmarks.device import desktop, gpu_state, jetson
from benchmarks.device.power.gpu_energy import gpu_energy
from benchmarks.device.run import document as device_document
from benchmarks.host import describe_host
from benchmarks.inputs import Crops, random_crops, read_crops
from benchmarks.labels import name_of
from runtime.artifact import Artifact
from runtime.datasets import Dataset, count_warnings, read_dataset
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.extraction.accuracy import accuracy
from runtime.extraction.processes import usable_cores
from runtime.options.choices import THROUGHPUT
from runtime.stopping import Stopped, stopped

# As many different images, and as many different batches, as a model sees before they repeat.
IMAGES, BATCHES = 64, 4


def measured(options: BenchOptions) -> tuple[dict[str, Any], Stopped | None]:
    """(the document of what the options ask for, the signal that ended it early or None)."""
    seen = Seen(options)
    try:
        if options.device == "jetson":
            return _on_jetson(options), None
        return measure(seen), None
    except jetson.Interrupted as error:
        return device_document(error.run), error
    except KeyboardInterrupt as error:
        stop = stopped(error)
        return document(seen, stop=stop), stop


def jetson_options(options: BenchOptions) -> jetson.JetsonOptions:
    """What `benchmarks.device.jetson` measures for these options."""
    batches = options.batches or ()
    return jetson.JetsonOptions(options.candidates, batches, options.timing, options.images, options.record)


def _on_jetson(options: BenchOptions) -> dict[str, Any]:
    if options.replay is not None:
        return jetson.replayed(options.replay, options.recorded)
    return jetson.measure(jetson_options(options))


def measure(seen: Seen) -> dict[str, Any]:
    """{host, images, models[], ratios[], failed[], warnings[]}: one model and one ratio for each batch size and candidate.

    Of a graphics card {state, galleries} besides, and each model's {measured, trtexec} (`benchmarks.device.desktop`). `seen` says what
    was asked for, and is filled on the way, for a caller that is stopped in between.
    """
    options = seen.options
    card = options.device == "cuda"
    seen.host = describe_host(device=options.device, threads=options.threads)
    data = options.images
    dataset = read_dataset(data.root, data.layout) if data.root else None
    opened = open_all(seen)
    fixed = any(artifact.spec.batch is not None for _, artifact, _ in opened)
    batches = options.batches or desktop.sizes(fixed=fixed, card=card)
    crops = _crops(dataset, max(IMAGES, BATCHES * max(batches)))
    seen.images = {"source": crops.source, "count": len(crops.pixels)}
    running = try_all(opened, crops, dataset, batches, seen)
    del opened
    names = plan.names([name_of(facts(one.artifact)) for one in running])
    costs = [one.cost for one in running]
    agenda = seen.agenda = plan.agenda(names, costs, _wanted(options, batches, dataset, crops))
    agenda.announce()
    if options.parity:
        # before minutes of timing, which a set of images that proves nothing would lose
        with agenda.part(plan.PARITY):
            running = compared_with_first(running, crops, min(batches))
    _together(running, crops, batches, seen)
    _each(running, names, dataset, seen)
    loaded = [desktop.Loaded(one.artifact.path, one.artifact.manifest, one.artifact.spec) for one in running]
    known = [(one.candidate, one.ids) for one in running]
    # A child that opens a model needs its memory once more: give ours back first.
    running.clear()
    for index, model in enumerate(seen.models):
        which = index % len(known)
        candidate, ids = known[which]
        with agenda.part(plan.beside(names[which], model["batch"])):
            found: dict[str, Any] = {"peak_memory_bytes": peak_memory(candidate, model["batch"])}
            if card:
                found |= desktop.trtexec_times(model, loaded[which], options.timing.seconds)
            if options.preset == THROUGHPUT:
                load = Load(candidate, crops, ids, model["batch"])
                found["throughput"] = throughput(load, usable_cores(), seconds=options.timing.seconds)
            model |= found
    return document(seen)


def _together(running: Sequence[Running], crops: Crops, batches: Sequence[int], seen: Seen) -> None:
    """Time all models interleaved, batch by batch."""
    assert seen.agenda is not None
    options = seen.options
    seen.states += [gpu_state.state()] if options.device == "cuda" else []
    for batch in batches:
        with seen.agenda.part(plan.times_at(batch)):
            _time_batch(running, crops, batch, seen)


def _time_batch(running: Sequence[Running], crops: Crops, batch: int, seen: Seen) -> None:
    """Add a row and a ratio for each model; of a timing that is stopped after enough rounds, those rounds."""
    artifacts, ids = [one.artifact for one in running], [one.ids for one in running]
    options, timing = seen.options, seen.options.timing
    try:
        timed = time_models(artifacts, crops, ids, batch, rounds=timing.rounds, seconds=timing.seconds)
    except CutShort as cut:
        unknown = {"features_equal": None, "features_difference": None, "energy": None, "cut_short": True}
        seen.models += [
            _facts(one) | result(times, batch) | unknown for one, times in zip(running, cut.timed)
        ]
        seen.ratios += [
            ratio(cut.timed[0], times, artifacts[0], one) for one, times in zip(artifacts, cut.timed)
        ]
        raise
    if options.device == "cuda":
        seen.states.append(gpu_state.state())
    energies = _energies(artifacts, timed, batch, options.device)
    rows = [
        _facts(one)
        | result(times, batch)
        | compared(reopen_candidate(one.candidate), times)
        | {"energy": joules}
        for one, times, joules in zip(running, timed, energies)
    ]
    # all at once: a stop finds the batch whole, or not at all
    seen.models += rows
    seen.ratios += [ratio(timed[0], one, artifacts[0], artifact) for artifact, one in zip(artifacts, timed)]


def _facts(one: Running) -> dict[str, Any]:
    return facts(one.artifact) | {"parity": one.parity}


def _each(running: Sequence[Running], names: Sequence[str], dataset: Dataset | None, seen: Seen) -> None:
    """What each model does with a data set: its accuracy, where its time goes, and on a graphics card a whole gallery."""
    if dataset is None:
        return
    assert seen.agenda is not None
    options, part, camera = seen.options, seen.agenda.part, seen.options.images.camera
    for place, (one, name) in enumerate(zip(running, names)):
        if options.images.accuracy:
            with part(plan.accuracy_of(name)):
                _add(seen, running, place, {"accuracy": accuracy(one.artifact, dataset, camera=camera)})
    with part(plan.STAGES):
        for place, one in enumerate(running):
            _add(seen, running, place, {"stages": _stages(one.artifact, dataset, camera)})
    if options.device == "cuda":
        with part(plan.GALLERIES):
            seen.galleries += desktop.galleries([one.artifact for one in running], dataset, camera)


def _add(seen: Seen, running: Sequence[Running], place: int, found: dict[str, Any]) -> None:
    """The same for every batch size of the model in that place."""
    for model in seen.models[place :: len(running)]:
        model |= found


def _energies(
    artifacts: Sequence[Artifact], timed: Sequence[Timed], batch: int, device: str
) -> list[dict[str, Any] | None]:
    """What an image costs each model in joules, where the device tells; None for each elsewhere."""
    if device != "cuda":
        return [None] * len(artifacts)
    return gpu_energy([on_feeds(model, one.feeds, {}) for model, one in zip(artifacts, timed)], batch)


def _wanted(
    options: BenchOptions, batches: Sequence[int], dataset: Dataset | None, crops: Crops
) -> plan.Wanted:
    items = len(dataset.query) + len(dataset.gallery) if dataset else 0
    card = options.device == "cuda"
    return plan.Wanted(
        batches,
        options.timing.rounds,
        options.timing.seconds,
        images=items if options.images.accuracy else 0,
        staged=dataset is not None,
        card=card,
        gallery=len(dataset.gallery) if card and dataset else 0,
        throughput=options.preset == THROUGHPUT,
        compared=len(crops.pixels) if options.parity else 0,
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
