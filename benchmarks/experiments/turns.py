"""Time the model alone and extraction from files, alternately, and time whole extractions in new processes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.bench.throughput import Load, measure, open_runners
from benchmarks.candidate import facts, open_candidate
from benchmarks.experiments.options import PipelineOptions
from benchmarks.host import describe_host, doubts, load_average
from benchmarks.inputs import read_crops
from benchmarks.options import Candidate
from benchmarks.unfinished import printed
from runtime import console
from runtime.artifact import Artifact
from runtime.datasets import Item
from runtime.datasets.cameras import camera_ids
from runtime.extraction.preset import Extract, Plan, extractor, plan
from runtime.extraction.processes import apart
from runtime.host.memory import high_water
from runtime.opening import verify_artifact
from runtime.options.choices import THROUGHPUT

# The number of different crops that the model alone runs on before they repeat.
CROPS = 128


@dataclass(frozen=True)
class Extraction:
    """An extraction that runs in a new process: `candidate` extracts the images `items` with the settings of `preset`."""

    candidate: Candidate
    preset: str
    items: tuple[Item, ...]


def encode_again(sources: Sequence[Item], count: int, folder: Path) -> list[Item]:
    """Write `count` different JPEG files to `folder`, and return one item for each, with pid and camid -1.

    The files are changed copies of the images `sources`, which are used one after the other and then again from the first. A copy may
    be mirrored, is shifted by up to 4 pixels, is made brighter or darker, and is encoded with a quality from 85 to 95. The size stays
    the same. Every run writes the same files.
    """
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        with Image.open(sources[number % len(sources)].path) as opened:
            picture = opened.convert("RGB")
        if random.random() < 0.5:
            picture = ImageOps.mirror(picture)
        shift = tuple(int(pixels) for pixels in random.integers(-4, 5, 2))
        picture = picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, shift[0], 0, 1, shift[1]))
        picture = ImageEnhance.Brightness(picture).enhance(float(random.uniform(0.6, 1.4)))
        file = BytesIO()
        picture.save(file, "JPEG", quality=int(random.integers(85, 96)))
        path = folder / f"{number:06}.jpg"
        path.write_bytes(file.getvalue())
        made.append(Item(str(path), -1, -1))
    return made


def measure_pipeline(options: PipelineOptions, items: Sequence[Item]) -> dict[str, Any]:
    """Compare the extraction of features from files ("extract") with the model alone on crops in memory ("bare").

    `items` are the files, of which `options.count` are extracted. Returns {host, model, preset, processes, threads, batch, rounds[],
    bare_images_per_s, extract_images_per_s, ratio, ratio_range, cpu_ratio, runs[], warnings[]}. `rounds` come from `take_turns`. The
    two values of images per second are medians over the rounds. In each round, the images per second of "extract" are divided by those
    of "bare". `ratio` is the median of these quotients, and `ratio_range` has the lowest and the highest of them. `cpu_ratio` is the
    median CPU time per image of "bare", divided by that of "extract". It is None if the CPU time was too short to measure. `runs` has
    the times and the peak memory of the extractions in new processes.
    """
    candidate, preset = options.candidate, options.preset
    artifact = _artifact(candidate, preset)
    chosen = plan(preset, artifact)
    host = describe_host(device="cpu", threads=chosen.threads)
    crops = read_crops(items, CROPS, options.images)
    load = Load(
        replace(candidate, threads=chosen.threads), crops, _mean_camera(artifact, crops.camids), chosen.batch
    )
    files = items[: options.count]
    slices = [files[at : at + options.slice] for at in range(0, len(files), options.slice)]
    ungated = candidate.allow_ungated
    with open_runners(load, chosen.processes) as runners:
        bare = [runner.process.pid for runner in runners]
        with extractor(artifact, preset, allow_ungated=ungated) as run:
            _warm_up(run, artifact, items, chosen)
            workers = [child.pid for child in multiprocessing.active_children() if child.pid not in bare]

            def engine() -> tuple[float, float]:
                before = cpu_seconds(bare)
                result = measure(runners, load, seconds=options.seconds)
                return result["images_per_s"], 1000 * (cpu_seconds(bare) - before) / result["images"]

            def whole(part: Sequence[Item]) -> tuple[float, float]:
                before, started = cpu_seconds([*workers, os.getpid()]), time.monotonic()
                run(part, camera_ids=_mean_camera(artifact, [-1] * len(part)))
                seconds, cpu = time.monotonic() - started, cpu_seconds([*workers, os.getpid()]) - before
                return len(part) / seconds, 1000 * cpu / len(part)

            rounds: list[dict[str, float]] = []
            with printed(
                lambda: {"host": host, "model": facts(artifact), "rounds": rounds} if rounds else None
            ):
                take_turns(engine, whole, slices, rounds)
    # This is 0 if a slice is shorter than the system's tick.
    extract_cpu = _median(rounds, "extract_cpu_ms")
    ratios = [turn["extract"] / turn["bare"] for turn in rounds]
    runs = [_extraction(Extraction(candidate, preset, tuple(items[:count]))) for count in options.runs]
    return {
        "host": host | {"load_average_after": load_average()},
        "model": facts(artifact),
        "preset": preset,
        "processes": chosen.processes,
        "threads": chosen.threads,
        "batch": chosen.batch,
        "rounds": rounds,
        "bare_images_per_s": _median(rounds, "bare"),
        "extract_images_per_s": _median(rounds, "extract"),
        "ratio": float(np.median(ratios)),
        "ratio_range": [min(ratios), max(ratios)],
        "cpu_ratio": _median(rounds, "bare_cpu_ms") / extract_cpu if extract_cpu else None,
        "runs": runs,
        "warnings": doubts(host),
    }


def take_turns(
    engine: Callable[[], tuple[float, float]],
    whole: Callable[[Sequence[Item]], tuple[float, float]],
    slices: Sequence[Sequence[Item]],
    rounds: list[dict[str, float]] | None = None,
) -> list[dict[str, float]]:
    """Time two things alternately: the model alone, and the extraction of one slice. Return one dictionary for each slice.

    Each of `slices` is a list of images. The dictionary of a slice is {images, bare, extract, bare_cpu_ms, extract_cpu_ms}: the number
    of images, the images per second of the model alone and of the extraction, and their CPU ms per image. `engine()` times the model
    alone, and `whole(images)` extracts images from files. Both return (images per second, CPU ms per image). The speed of a machine
    changes with time. The values of the model alone are therefore the means of two timings, right before and right after the
    extraction of the slice. The dictionaries are appended to the list `rounds`, if that is given, and else to a new list. This list is
    returned.
    """
    rounds, before = [] if rounds is None else rounds, engine()
    for part in slices:
        console.note(f"model alone: {before[0]:.1f} images/s; now extracting {len(part)} images from files")
        rate, cpu = whole(part)
        after = engine()
        bare, bare_cpu = ((first + second) / 2 for first, second in zip(before, after))
        costs = {"bare_cpu_ms": bare_cpu, "extract_cpu_ms": cpu}
        rounds.append({"images": float(len(part)), "bare": bare, "extract": rate} | costs)
        before = after
    return rounds


def cpu_seconds(pids: Sequence[int | None]) -> float:
    """Return the CPU seconds that the running processes with the ids `pids` have used in total. Works only on Linux.

    The resolution is the system's clock tick, most often 0.01 s.
    """
    # The fields after the program's name. Numbers 11 and 12 are the ticks in user mode and in the kernel.
    stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def _median(rounds: Sequence[dict[str, float]], key: str) -> float:
    return float(np.median([turn[key] for turn in rounds]))


def _extraction(task: Extraction) -> dict[str, Any]:
    """Run one extraction in a new process, and return the result of `_extract`."""
    console.note(f"extracting {len(task.items)} images in a new process")
    result: dict[str, Any] = apart(_extract, task)
    return result


def _extract(task: Extraction) -> dict[str, Any]:
    """Return {images, start_s, seconds, images_per_s, features_bytes, parent_peak_bytes, workers_peak_bytes[]}.

    `start_s` is the time until the model is open and warmed up, and `seconds` the time of the extraction. The peaks are those of this
    process and of each of its worker processes.
    """
    started = time.monotonic()
    artifact = _artifact(task.candidate, task.preset)
    with extractor(artifact, task.preset, allow_ungated=task.candidate.allow_ungated) as run:
        _warm_up(run, artifact, task.items, plan(task.preset, artifact))
        ready = time.monotonic()
        features = run(task.items, camera_ids=_mean_camera(artifact, [-1] * len(task.items)))
        done = time.monotonic()
        workers = [
            high_water(Path(f"/proc/{child.pid}/status")) for child in multiprocessing.active_children()
        ]
    return {
        "images": len(task.items),
        "start_s": ready - started,
        "seconds": done - ready,
        "images_per_s": len(task.items) / (done - ready),
        "features_bytes": features.features.nbytes,
        "parent_peak_bytes": high_water(),
        "workers_peak_bytes": workers,
    }


def _warm_up(run: Extract, artifact: Artifact, items: Sequence[Item], chosen: Plan) -> None:
    """Run at least one batch in each process, because OpenVINO compiles a model when it sees the size of its batches."""
    first = items[: 2 * chosen.batch * chosen.processes]
    run(first, camera_ids=_mean_camera(artifact, [-1] * len(first)))


def _artifact(candidate: Candidate, preset: str) -> Artifact:
    if preset == THROUGHPUT:
        # The worker processes open the model themselves.
        return verify_artifact(
            candidate.path, allow_ungated=candidate.allow_ungated, backend=candidate.backend
        )
    return open_candidate(candidate)


def _mean_camera(artifact: Artifact, camids: Sequence[int]) -> NDArray[np.int64] | None:
    ids, _ = camera_ids(camids, artifact.spec)
    return ids
