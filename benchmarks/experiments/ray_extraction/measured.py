"""Run extractions in new processes, alternately with worker processes and on Ray, and one whose actors are killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.candidate import facts
from benchmarks.experiments.ray_extraction.options import RayOptions
from benchmarks.experiments.turns import cpu_seconds, encode_again
from benchmarks.host import describe_host, doubts, load_average
from benchmarks.unfinished import printed
from runtime import console, load_features, open_gallery, open_model, save_features
from runtime.extraction.preset import plan
from runtime.extraction.processes import apart
from runtime.gallery.ingest import add_files
from runtime.gallery.resume import embed_files_resumed, resume_folder
from runtime.images.sources import labelled_images, read_images
from runtime.options.choices import THROUGHPUT
from runtime.options.cluster import Cluster
from runtime.stopping import descendants

# The steady state lasts from this part of the images to that one: without the start, and without the last tasks of Ray's actors,
# when one of them may have nothing to do.
FROM, TO = 0.1, 0.9
# Ray gives its actors this name.
ACTOR = "MapWorker"


@dataclass(frozen=True)
class Task:
    """An extraction of the images in the folder `images` with a `cluster` or, if that is None, with worker processes.

    `out` is the feature file to write. If `kills` actors are to be killed, it is the folder of a gallery.
    """

    model: str
    images: Path
    out: Path
    cluster: Cluster | None
    kills: int = 0


@dataclass
class Marks:
    """What `done` of `total` images meant in seconds and CPU seconds, at the first of them and at the ends of the steady state."""

    total: int
    started: float
    done: int = 0
    seen: list[tuple[int, float, float]] = field(default_factory=list)
    last: float = 0.0
    memory_mb: float = 0.0

    def progress(self, images: int) -> None:
        """Count images, and read the clocks where a part of the extraction begins or ends."""
        self.done += images
        self.last = time.monotonic()
        if self.done >= self.total * (0, FROM, TO, 2)[len(self.seen)]:
            pids = [os.getpid(), *descendants(os.getpid())]
            self.seen.append((self.done, self.last, _cpu(pids)))
            self.memory_mb = max(self.memory_mb, sum(map(_memory, pids)) / 1e6)

    def result(self) -> dict[str, float]:
        """Return {start_s, images_per_s, cpu_ms, memory_mb, end_s, total_s}."""
        (_, first, _), (done, since, cpu), (later, until, more) = self.seen
        ended = time.monotonic()
        return {
            "start_s": first - self.started,
            "images_per_s": (later - done) / (until - since),
            "cpu_ms": 1000 * (more - cpu) / (later - done),
            "memory_mb": self.memory_mb,
            "end_s": ended - self.last,
            "total_s": ended - self.started,
        }


def measure(options: RayOptions, folder: Path) -> dict[str, Any]:
    """Measure both ways in each round, and then an extraction whose actors are killed. `folder` takes the files.

    Returns {host, model, tools, images, processes, batch, rounds[], killed, warnings[]}. A round is {plain, ray}, each with the values
    of `Marks.result` and the load average after it. `killed` is {kills, rows, lost, twice, equal}.
    """
    host = describe_host(device="cpu", threads=1)
    model = open_model(options.model, preset=THROUGHPUT)
    chosen = plan(THROUGHPUT, model.artifact)
    images = folder / "images"
    images.mkdir()
    encode_again(read_images(options.images), options.count, images)
    rounds: list[dict[str, Any]] = []
    with printed(lambda: {"host": host, "rounds": rounds} if rounds else None):
        for number in range(options.rounds):
            turn: dict[str, Any] = {}
            # Each way is the first one in every other round.
            for way in ("plain", "ray")[:: 1 if number % 2 == 0 else -1]:
                cluster = None if way == "plain" else Cluster()
                turn[way] = apart(_extract, Task(options.model, images, folder / f"{way}.npz", cluster))
                turn[way]["load_average"] = load_average()
                console.note(f"round {number + 1}, {way}: {turn[way]['images_per_s']:.0f} images/s")
            rounds.append(turn)
        killing = Task(options.model, images, folder / "killed", Cluster(), options.kills)
        kills = apart(_extract_with_kills, killing)
    killed = {"kills": kills} | _compared(folder / "killed", folder / "plain.npz")
    same = _equal(folder / "ray.npz", folder / "plain.npz")
    return {
        "host": host | {"load_average_after": load_average()},
        "model": facts(model.artifact),
        "tools": {"ray": version("ray")},
        "images": options.count,
        "processes": chosen.processes,
        "batch": chosen.batch,
        "rounds": rounds,
        "equal": same,
        "killed": killed,
        "warnings": doubts(host),
    }


def _extract(task: Task) -> dict[str, float]:
    started = time.monotonic()
    model = open_model(task.model, preset=THROUGHPUT)
    images = labelled_images(str(task.images))
    marks = Marks(len(images.items), started)
    features = embed_files_resumed(model, images, out=task.out, cluster=task.cluster, progress=marks.progress)
    result = marks.result()
    save_features(task.out, features)
    shutil.rmtree(resume_folder(task.out))
    return result


def _extract_with_kills(task: Task) -> int:
    """Add the images to a gallery, kill an actor whenever another part of them is done, and return the number of killed actors."""
    model = open_model(task.model, preset=THROUGHPUT)
    images = labelled_images(str(task.images))
    generator, killed, done = random.Random(0), 0, 0

    def progress(more: int) -> None:
        nonlocal killed, done
        done += more
        # The last kill comes before the actors run out of work.
        if killed < task.kills and done > (killed + 1) * TO * len(images.items) / task.kills:
            if living := [pid for pid in descendants(os.getpid()) if ACTOR in _title(pid)]:
                with suppress(ProcessLookupError):
                    os.kill(generator.choice(living), signal.SIGKILL)
                    killed += 1

    with open_gallery(task.out, model=model) as gallery:
        add_files(gallery, model, images, cluster=task.cluster, progress=progress)
    return killed


def _compared(store: Path, expected: Path) -> dict[str, Any]:
    """Compare the rows of a gallery with a feature file of the same images."""
    wanted = load_features(expected)
    rows = dict(zip(wanted.images, wanted.features))
    with open_gallery(store) as gallery:
        stored, features = gallery.rows(gallery.ids())
    digests = [row.sha256 for row in stored]
    return {
        "rows": len(digests),
        "lost": len(set(rows) - set(digests)),
        "twice": len(digests) - len(set(digests)),
        "equal": all(np.array_equal(rows[digest], feature) for digest, feature in zip(digests, features)),
    }


def _equal(one: Path, other: Path) -> bool:
    """Return whether two feature files have the same features of the same files, bit for bit."""
    first, second = load_features(one), load_features(other)
    return first.images == second.images and np.array_equal(first.features, second.features)


def _cpu(pids: Sequence[int]) -> float:
    return sum(_read(lambda pid: cpu_seconds([pid]), pid) for pid in pids)


def _memory(pid: int) -> float:
    """Return the proportional set size of a process in bytes: a page that several processes share counts once in their sum."""

    def size(pid: int) -> float:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))

    return _read(size, pid)


def _read(value: Callable[[int], float], pid: int) -> float:
    """Return `value(pid)`, or 0 if the process has ended."""
    try:
        return value(pid)
    except OSError:
        return 0.0


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
