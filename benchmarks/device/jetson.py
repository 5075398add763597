"""`bench.py --device jetson`: measure latency, energy, the throughput of a whole gallery, and trtexec's times on a Jetson.

The latency is measured for calls with 1, 8, 16 and 32 images, one image for each person in a camera's frame. With `--replay`, the
results come from a recorded run instead. The command changes neither the power mode nor the clocks.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.agenda import Agenda
from benchmarks.candidate import facts, open_candidate
from benchmarks.device import board
from benchmarks.device.document import document
from benchmarks.device.plan import IDLE, Windows, accuracy_of, agenda_of, gallery_of, scenario_of, trtexec_of
from benchmarks.device.power.energy import LEAST_S, Window
from benchmarks.device.power.sampling import Line, Meter, jetson_sensors, open_meter
from benchmarks.device.record import Heard, new_folder, system_files, write_recording
from benchmarks.device.replay import read_replay
from benchmarks.device.run import DeviceRun, ModelRun, Power, Scenario
from benchmarks.device.scenarios import Clock, idle_window, time_gallery, time_scenario
from benchmarks.device.trtexec import run_trtexec
from benchmarks.host import describe_host, doubts, load_average
from benchmarks.inputs import Crops, Feed, feeds, random_crops, read_crops
from benchmarks.options import Candidate, Images, Timing
from engines.doctor.doctor import nvpmodel_output
from runtime.artifact import Artifact
from runtime.backends.tensorrt.io import split
from runtime.console import note
from runtime.datasets import Dataset, count_warnings, read_dataset
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.errors import ConfigError, DeviceError
from runtime.extraction.accuracy import accuracy
from runtime.files.manifest import read_manifest
from runtime.host.jetson import this_l4t
from runtime.stopping import Stopped, stopped

# The numbers of persons in a camera's frame that are timed, for example in an empty street, a shop and a station.
PERSONS = (1, 8, 16, 32)
CROPS = 128


class Interrupted(Stopped):
    """A signal stopped a run. `run` has the results that were complete when the signal arrived."""

    def __init__(self, number: int, run: DeviceRun) -> None:
        super().__init__(number)
        self.run = run


@dataclass(frozen=True)
class JetsonOptions:
    """The models to measure on a Jetson, and how.

    Each model is timed at the batch sizes 1, 8, 16 and 32 and at those in `batches`, for the duration `timing`, on `images`. The run
    is recorded in the new folder `record`, or not at all if `record` is None.
    """

    candidates: tuple[Candidate, ...]
    batches: tuple[int, ...]
    timing: Timing
    images: Images
    record: Path | None = None


def measure(options: JetsonOptions) -> dict[str, Any]:
    """Measure the models on this Jetson, and return the JSON document (see `benchmarks.device.document`).

    Raises DeviceError on a machine that is not a Jetson, and the errors of `collect`.
    """
    refuse_elsewhere(Path("/"), os.environ)
    return document(collect(options))


def replayed(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the JSON document of the run that is recorded in `folder`, with only the models that `names` lists.

    Each of `names` is the path or the file name of a recorded model. Raises the errors of `benchmarks.device.replay.read_replay`.
    """
    return document(read_replay(folder, names))


def refuse_elsewhere(root: Path, environment: Mapping[str, str]) -> None:
    """Raise DeviceError if this machine is not a Jetson.

    A Jetson has the file etc/nv_tegra_release below `root`, and a container on a Jetson has L4T_VERSION in `environment`.
    """
    if this_l4t(root, environment) is None:
        raise DeviceError(
            "--device jetson: this is not a Jetson, because it has neither the file /etc/nv_tegra_release nor the environment "
            "variable L4T_VERSION of a Jetson container; run the command on a Jetson, or use --device cuda or cpu"
        )


@dataclass(frozen=True)
class Setting:
    """The options, images and clock that the measurements of all models in a run share.

    `crops` are the images that are timed: images of `dataset`, or random pixels if `dataset` is None, which means that the option
    --data was not given. `agenda` lists the parts of the run and those that are done. Power is averaged over a window of at least
    `least_s` seconds of `clock`, which returns a time in seconds. `watch()` records the present state of the board. If a signal stops
    the run while a model is measured, one ModelRun with the finished parts of this model is appended to `partly`. It has no runs of
    trtexec. If no batch size was timed yet, nothing is appended.
    """

    options: JetsonOptions
    dataset: Dataset | None
    crops: Crops
    least_s: float
    clock: Clock
    watch: Callable[[], None]
    agenda: Agenda
    partly: list[ModelRun]


def collect(
    options: JetsonOptions,
    *,
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    least_s: float = LEAST_S,
    clock: Clock = time.perf_counter,
) -> DeviceRun:
    """Measure every model at every batch size, on the whole gallery and with trtexec. Record the run in `options.record`.

    Each measurement lasts at least `least_s` seconds of `clock`, so that its mean power is reliable. The board's system files are
    read below `root`. If a signal stops the run, it is not recorded, and Interrupted is raised. The `run` of this error has the
    results that were complete at that time. Raises ConfigError for torch weights, and ArtifactError for a missing or damaged file.
    """
    candidates, data = options.candidates, options.images
    if weights := next((candidate for candidate in candidates if candidate.torch), None):
        raise ConfigError(
            f"{weights.path}: --device jetson does not run torch weights; give an engine of the exported model, "
            "or use --device cpu or cuda"
        )
    for candidate in candidates:
        # Find a damaged or missing file before the first model is measured for minutes.
        read_manifest(candidate.path)
    if options.record is not None:
        new_folder(options.record)
    nvpmodel = nvpmodel_output() if root == Path("/") else ""
    files, lines = system_files(root), list[Line]()
    description, before = board.describe(root, environment, nvpmodel), board.state(root)
    for command in board.advice(root, description, before):
        note(
            f"for the shortest and steadiest times, run this command before bench.py, which does not run it itself: {command}"
        )
    host = describe_host(device="jetson", threads=None)
    dataset = read_dataset(data.root, data.layout) if data.root else None
    crops = _crops(dataset)
    during: list[dict[str, Any]] = []
    meter = open_meter(jetson_sensors(root, lines))
    agenda = agenda_of(
        [str(candidate.path) for candidate in candidates],
        sorted({*PERSONS, *options.batches}),
        Windows(max(options.timing.seconds, least_s), least_s, idle=meter is not None),
        gallery=len(dataset.gallery) if dataset else 0,
        scored=dataset is not None and data.accuracy,
    )
    agenda.announce()
    setting = Setting(
        options, dataset, crops, least_s, clock, lambda: during.append(board.state(root)), agenda, []
    )
    idle, runs = None, list[ModelRun]()
    stop: Stopped | None = None
    try:
        if meter:
            with agenda.part(IDLE):
                idle = idle_window(clock, least_s)
        for candidate in candidates:
            runs.append(_model(candidate, setting))
    except KeyboardInterrupt as error:
        stop = stopped(error)
        runs += setting.partly
    finally:
        if meter:
            meter.__exit__(None, None, None)
    after = board.state(root)
    run = DeviceRun(
        host=host | {"load_average_after": load_average()},
        board=description,
        before=before,
        after=after,
        power=_power(meter, idle),
        models=runs,
        images={"source": crops.source, "count": len(crops.pixels)},
        advice=board.advice(root, description, before),
        doubts=[*doubts(host), *board.doubts(root, description, [before, *during, after])],
        during=during,
        stopped=stop.name if stop else None,
        missing=agenda.missing if stop else (),
        least_s=least_s,
    )
    if stop is not None:
        if options.record is not None:
            note(f"WARNING --record {options.record}: the run was stopped, so it is not recorded")
        raise Interrupted(stop.number, run)
    if options.record is not None:
        heard = Heard(nvpmodel, environment, lines)
        try:
            write_recording(options.record, run, before=files, after=system_files(root), heard=heard)
            note(f"the run is recorded in {options.record}; show it again with --replay {options.record}")
        except OSError as error:
            # The results must not be lost if the recording fails.
            note(
                f"WARNING --record {options.record}: the recording is incomplete, because a file could not be written ({error})"
            )
    return run


def _model(candidate: Candidate, setting: Setting) -> ModelRun:
    options, dataset, crops = setting.options, setting.dataset, setting.crops
    timing, data = options.timing, options.images
    least_s, clock = setting.least_s, setting.clock
    artifact = _open(candidate)
    persons = sorted({*PERSONS, *options.batches})
    seconds = max(timing.seconds, least_s)
    name = dataset_name(dataset.layout, count_warnings(dataset)) if dataset else None
    ids, _ = camera_ids(crops.camids, artifact.spec, policy=data.camera, dataset=name)
    known, scenarios = facts(artifact), list[Scenario]()
    gallery = scores = None
    part, title = setting.agenda.part, str(candidate.path)
    try:
        for count in persons:
            with part(scenario_of(title, count)):
                inputs = feeds(crops, ids, artifact.spec, count)
                call = _call(artifact, inputs)
                scenario = time_scenario(call, count, least_s=seconds, rounds=timing.rounds, clock=clock)
                setting.watch()
                scenarios.append(Scenario(**{**vars(scenario), "calls": _calls(artifact, count)}))
        if dataset is not None:
            with part(gallery_of(title)):
                camids = [item.camid for item in dataset.gallery]
                gallery_ids, _ = camera_ids(camids, artifact.spec, policy=data.camera, dataset=name)
                gallery = time_gallery(artifact, dataset, gallery_ids, least_s=least_s, clock=clock)
            if data.accuracy:
                with part(accuracy_of(title)):
                    scores = accuracy(artifact, dataset, camera=data.camera)
        spec, manifest = artifact.spec, artifact.manifest
        # Close the session, because trtexec needs its memory.
        close = getattr(artifact.run, "close", None)
        if close is not None:
            close()
        with part(trtexec_of(title)):
            trtexec = run_trtexec(candidate.path, manifest, spec, persons, seconds=seconds)
    except KeyboardInterrupt:
        if scenarios:
            setting.partly.append(ModelRun(known, scenarios, (), gallery, scores))
        raise
    return ModelRun(known, scenarios, trtexec, gallery, scores)


def _open(candidate: Candidate) -> Artifact:
    try:
        return open_candidate(candidate)
    except DeviceError as error:
        if candidate.path.suffix != ".onnx":
            raise
        # Leave out the package that the message recommends, because it does not exist for a Jetson.
        build = shlex.join(["python", "-m", "engines", "build", str(candidate.path)])
        raise DeviceError(
            f"{candidate.path}: {str(error).partition(';')[0]}; on a Jetson, build an engine and give it instead: {build}"
        ) from None


def _call(artifact: Artifact, inputs: Sequence[Feed]) -> Callable[[int], object]:
    return lambda turn: artifact.run(*inputs[turn % len(inputs)])


def _calls(artifact: Artifact, count: int) -> list[tuple[int, int]]:
    """Return (images, batch size) of each run of the engine in a call with `count` images.

    An engine with fixed batch sizes splits the images over several runs, or pads them to its batch size.
    """
    fixed = (artifact.spec.batch,) if artifact.spec.batch else None
    sizes = getattr(artifact.run, "batches", fixed)
    return split(count, sizes) if sizes else [(count, count)]


def _crops(dataset: Dataset | None) -> Crops:
    if dataset is None:
        return random_crops(CROPS)
    return read_crops([*dataset.query, *dataset.gallery], CROPS, f"crops of {dataset.root}")


def _power(meter: Meter | None, idle: Window | None) -> Power:
    if meter is None:
        return Power(None)
    return Power(meter.sensor.name, tuple(meter.samples), meter.malformed, idle)
