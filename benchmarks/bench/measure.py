"""Measure models for bench.py: first the times of all models in one process, then the memory of each in processes of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.bench import plan
from benchmarks.bench.arguments import BenchOptions
from benchmarks.bench.document import Progress, document
from benchmarks.bench.memory import peak_memory
from benchmarks.bench.running import RunnableModel, compared_with_first, open_all, try_all
from benchmarks.bench.stages import stages
from benchmarks.bench.throughput import Load, throughput
from benchmarks.bench.times import CutShort, Timed, compared, on_feeds, ratio, result, time_models
from benchmarks.candidate import facts, reopen_candidate
from benchmarks.device import desktop, gpu_state, jetson
from benchmarks.device.document import document as device_document
from benchmarks.device.power.gpu_energy import gpu_energy
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

# A model gets this many different images, and this many different batches, before they repeat.
IMAGES, BATCHES = 64, 4


def measured(options: BenchOptions) -> tuple[dict[str, Any], Stopped | None]:
    """Measure the models of `options`. Return (document, stop): the JSON document, and the signal that stopped the run.

    `stop` is None if the run is complete. Otherwise, the document has the results that were complete when the signal arrived.
    """
    progress = Progress(options)
    try:
        if options.device == "jetson":
            return _on_jetson(options), None
        return measure(progress), None
    except jetson.Interrupted as error:
        return device_document(error.run), error
    except KeyboardInterrupt as error:
        stop = stopped(error)
        return document(progress, stop=stop), stop


def jetson_options(options: BenchOptions) -> jetson.JetsonOptions:
    """Convert the options of bench.py into those of `benchmarks.device.jetson`."""
    batches = options.batches or ()
    return jetson.JetsonOptions(options.candidates, batches, options.timing, options.images, options.record)


def _on_jetson(options: BenchOptions) -> dict[str, Any]:
    if options.replay is not None:
        return jetson.replayed(options.replay, options.recorded)
    return jetson.measure(jetson_options(options))


def measure(progress: Progress) -> dict[str, Any]:
    """Measure all models on a CPU or a graphics card, and return the JSON document.

    The document is {host, images, models[], ratios[], failed[], warnings[]}. `models` and `ratios` have one entry for each model
    and batch size. For a graphics card, the document also has {state, galleries}, and each entry of `models` has {measured, trtexec}
    (see `benchmarks.device.desktop`). `progress` holds the options. Every result is stored in `progress` as soon as it is complete, so
    that the caller can report the results of a stopped run.
    """
    options = progress.options
    card = options.device == "cuda"
    progress.host = describe_host(device=options.device, threads=options.threads)
    data = options.images
    dataset = read_dataset(data.root, data.layout) if data.root else None
    opened = open_all(progress)
    fixed = any(artifact.spec.batch is not None for _, artifact, _ in opened)
    batches = options.batches or desktop.sizes(fixed=fixed, card=card)
    crops = _crops(dataset, max(IMAGES, BATCHES * max(batches)))
    progress.images = {"source": crops.source, "count": len(crops.pixels)}
    runnable = try_all(opened, crops, dataset, batches, progress)
    del opened
    names = plan.names([name_of(facts(model.artifact)) for model in runnable])
    costs = [model.cost for model in runnable]
    agenda = progress.agenda = plan.agenda(names, costs, _settings(options, batches, dataset, crops))
    agenda.announce()
    if options.parity:
        # The parity is measured before the minutes of timing, because it fails if all images give the same features.
        with agenda.part(plan.PARITY):
            runnable = compared_with_first(runnable, crops, min(batches))
    _time_all(runnable, crops, batches, progress)
    _measure_on_dataset(runnable, names, dataset, progress)
    artifacts = [model.artifact for model in runnable]
    loaded = [desktop.Loaded(artifact.path, artifact.manifest, artifact.spec) for artifact in artifacts]
    inputs = [(model.candidate, model.ids) for model in runnable]
    # Close the models first, because the child processes that open them need the same memory again.
    del artifacts
    runnable.clear()
    for index, model in enumerate(progress.models):
        position = index % len(inputs)
        candidate, ids = inputs[position]
        with agenda.part(plan.separate_part(names[position], model["batch"])):
            values: dict[str, Any] = {"peak_memory_bytes": peak_memory(candidate, model["batch"])}
            if card:
                values |= desktop.trtexec_times(model, loaded[position], options.timing.seconds)
            if options.preset == THROUGHPUT:
                load = Load(candidate, crops, ids, model["batch"])
                values["throughput"] = throughput(load, usable_cores(), seconds=options.timing.seconds)
            model |= values
    return document(progress)


def _time_all(
    runnable: Sequence[RunnableModel], crops: Crops, batches: Sequence[int], progress: Progress
) -> None:
    """Time all models at one batch size after the other."""
    assert progress.agenda is not None
    options = progress.options
    progress.states += [gpu_state.state()] if options.device == "cuda" else []
    for batch in batches:
        with progress.agenda.part(plan.times_at(batch)):
            _time_batch(runnable, crops, batch, progress)


def _time_batch(runnable: Sequence[RunnableModel], crops: Crops, batch: int, progress: Progress) -> None:
    """Time all models at one batch size, and add a row and a ratio for each model to `progress`.

    If a signal stops the timing after enough rounds, rows of these rounds are added before CutShort is raised again.
    """
    artifacts, ids = [model.artifact for model in runnable], [model.ids for model in runnable]
    options, timing = progress.options, progress.options.timing
    try:
        timed = time_models(artifacts, crops, ids, batch, rounds=timing.rounds, seconds=timing.seconds)
    except CutShort as cut:
        unknown = {"features_equal": None, "features_difference": None, "energy": None, "cut_short": True}
        progress.models += [
            _facts(model) | result(times, batch) | unknown for model, times in zip(runnable, cut.timed)
        ]
        progress.ratios += [
            ratio(cut.timed[0], times, artifacts[0], artifact)
            for artifact, times in zip(artifacts, cut.timed)
        ]
        raise
    if options.device == "cuda":
        progress.states.append(gpu_state.state())
    energies = _energies(artifacts, timed, batch, options.device)
    rows = [
        _facts(model)
        | result(times, batch)
        | compared(reopen_candidate(model.candidate), times)
        | {"energy": joules}
        for model, times, joules in zip(runnable, timed, energies)
    ]
    # The rows are added at once, so that a stopped run has all models at a batch size or none.
    progress.models += rows
    progress.ratios += [
        ratio(timed[0], times, artifacts[0], artifact) for artifact, times in zip(artifacts, timed)
    ]


def _facts(model: RunnableModel) -> dict[str, Any]:
    return facts(model.artifact) | {"parity": model.parity}


def _measure_on_dataset(
    runnable: Sequence[RunnableModel], names: Sequence[str], dataset: Dataset | None, progress: Progress
) -> None:
    """Measure each model on the data set: accuracy, the time of each stage and, on a graphics card, a whole gallery."""
    if dataset is None:
        return
    assert progress.agenda is not None
    options, part, camera = progress.options, progress.agenda.part, progress.options.images.camera
    for index, (model, name) in enumerate(zip(runnable, names)):
        if options.images.accuracy:
            with part(plan.accuracy_of(name)):
                scores = accuracy(model.artifact, dataset, camera=camera)
                _add(progress, runnable, index, {"accuracy": scores})
    with part(plan.STAGES):
        for index, model in enumerate(runnable):
            _add(progress, runnable, index, {"stages": _stages(model.artifact, dataset, camera)})
    if options.device == "cuda":
        with part(plan.GALLERIES):
            progress.galleries += desktop.galleries([model.artifact for model in runnable], dataset, camera)


def _add(progress: Progress, runnable: Sequence[RunnableModel], index: int, values: dict[str, Any]) -> None:
    """Add `values` to the rows of model number `index`, at every batch size."""
    for row in progress.models[index :: len(runnable)]:
        row |= values


def _energies(
    artifacts: Sequence[Artifact], timed: Sequence[Timed], batch: int, device: str
) -> list[dict[str, Any] | None]:
    """Return the energy per image of each model on a graphics card, or None for each model on a CPU."""
    if device != "cuda":
        return [None] * len(artifacts)
    return gpu_energy(
        [on_feeds(artifact, times.feeds, {}) for artifact, times in zip(artifacts, timed)], batch
    )


def _settings(
    options: BenchOptions, batches: Sequence[int], dataset: Dataset | None, crops: Crops
) -> plan.RunSettings:
    items = len(dataset.query) + len(dataset.gallery) if dataset else 0
    card = options.device == "cuda"
    return plan.RunSettings(
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
    """Time the stages of one image over the first queries of the data set."""
    items = dataset.query[:IMAGES]
    name = dataset_name(dataset.layout, count_warnings(dataset))
    ids, _ = camera_ids([item.camid for item in items], artifact.spec, policy=policy, dataset=name)
    return stages(artifact, items, ids)
