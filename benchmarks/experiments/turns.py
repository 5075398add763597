"""Time the model alone in turns with extraction from files, and time whole extractions in new processes."""

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
    """One extraction that runs in its own process."""

    candidate: Candidate
    preset: str
    items: tuple[Item, ...]


def encode_again(sources: Sequence[Item], count: int, folder: Path) -> list[Item]:
    """Write `count` JPEG files to `folder`, from the sources in turn: mirrored, shifted, brighter or darker, quality 85 to 95.

    All files differ, and every run writes the same ones. They have the size of their source, and their names state no person.
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
    """Compare the model alone (`bare`) with full extraction from files, in alternating rounds. `ratio` is extract / bare.

    Return {host, model, preset, processes, threads, batch, rounds[], bare_images_per_s, extract_images_per_s, ratio, runs[]}.
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
        bare = [one.process.pid for one in runners]
        with extractor(artifact, preset, allow_ungated=ungated) as run:
            _warm_up(run, artifact, items, chosen)
            workers = [one.pid for one in multiprocessing.active_children() if one.pid not in bare]

            def engine() -> tuple[float, float]:
                before = cpu_seconds(bare)
                found = measure(runners, load, seconds=options.seconds)
                return found["images_per_s"], 1000 * (cpu_seconds(bare) - before) / found["images"]

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
    ratios = [one["extract"] / one["bare"] for one in rounds]
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
    """Return {images, bare, extract, bare_cpu_ms, extract_cpu_ms} for each slice. Both callables give (images/s, CPU ms an image).

    Because the machine drifts, the extraction of a slice is compared with the mean of two timings of the model alone, right before
    and right after it. Each finished round is appended to `rounds`.
    """
    rounds, before = [] if rounds is None else rounds, engine()
    for part in slices:
        console.note(f"model alone: {before[0]:.1f} images/s; now extracting {len(part)} images from files")
        rate, cpu = whole(part)
        after = engine()
        bare, bare_cpu = ((one + other) / 2 for one, other in zip(before, after))
        costs = {"bare_cpu_ms": bare_cpu, "extract_cpu_ms": cpu}
        rounds.append({"images": float(len(part)), "bare": bare, "extract": rate} | costs)
        before = after
    return rounds


def cpu_seconds(pids: Sequence[int | None]) -> float:
    """Return the CPU seconds of these running processes so far, in steps of the system's tick (most often 0.01 s). Linux only."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(found[11]) + int(found[12]) for found in fields) / os.sysconf("SC_CLK_TCK")


def _median(rounds: Sequence[dict[str, float]], key: str) -> float:
    return float(np.median([one[key] for one in rounds]))


def _extraction(task: Extraction) -> dict[str, Any]:
    """Run one extraction in a new process. `start_s` lasts until the model is open and warm; `seconds` is the time of the images."""
    console.note(f"extracting {len(task.items)} images in a new process")
    found: dict[str, Any] = apart(_extract, task)
    return found


def _extract(task: Extraction) -> dict[str, Any]:
    """Return {images, start_s, seconds, images_per_s, features_bytes, parent_peak_bytes, workers_peak_bytes[]}."""
    started = time.monotonic()
    artifact = _artifact(task.candidate, task.preset)
    with extractor(artifact, task.preset, allow_ungated=task.candidate.allow_ungated) as run:
        _warm_up(run, artifact, task.items, plan(task.preset, artifact))
        ready = time.monotonic()
        features = run(task.items, camera_ids=_mean_camera(artifact, [-1] * len(task.items)))
        done = time.monotonic()
        workers = [high_water(Path(f"/proc/{one.pid}/status")) for one in multiprocessing.active_children()]
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
