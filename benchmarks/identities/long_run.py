"""Run the association for simulated hours: does its memory stay flat, and its time for a track constant?

The features are drawn from a Gaussian model that is fitted to features of rendered people, because no video of a day is at hand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.identities.ours import Calibration
from runtime.identities.api import Identities
from runtime.identities.options import IdentityOptions
from runtime.identities.track import Track

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Traffic:
    """A new person every `every_s` seconds, who passes through 1 to `visits` of the `cameras`, each for about `stays_s` seconds.

    A track has `crops` crops. `hours` is the length of the run.
    """

    hours: float = 24.0
    every_s: float = 20.0
    visits: int = 4
    cameras: int = 4
    stays_s: float = 8.0
    crops: int = 8


@dataclass(frozen=True)
class Hour:
    """One simulated hour: its tracks, the identities that were open at its end, times of a track in ms, and the memory in MiB."""

    hour: int
    tracks: int
    open_identities: int
    median_ms: float
    p99_ms: float
    memory_mib: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the hour as a JSON object."""
        return asdict(self)


class PeopleModel:
    """Draws features like those of measured tracks: a Gaussian over people, and one over the crops of a person."""

    def __init__(self, tracks: Sequence[Track], *, seed: int = 0) -> None:
        """Fit the model to the mean features of `tracks`, and to how their crops differ from these means."""
        means = np.stack([track.features.mean(axis=0) for track in tracks])
        self._mean = means.mean(axis=0)
        self._between = (means - self._mean) / np.sqrt(max(len(means) - 1, 1))
        spread = np.concatenate([track.features - track.features.mean(axis=0) for track in tracks])
        random = np.random.default_rng(seed)
        # a thousand deviations span more than enough directions
        chosen = random.permutation(len(spread))[:1000]
        self._within = spread[chosen] / np.sqrt(max(len(chosen) - 1, 1))
        self._random = random

    def person(self) -> NDArray[np.float32]:
        """Return the mean feature (D,) of a new person."""
        draws = self._random.standard_normal(len(self._between)).astype(np.float32)
        return np.asarray(self._mean + draws @ self._between, np.float32)

    def crops(self, person: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Return `count` features (count, D) of a person, L2-normalised."""
        draws = self._random.standard_normal((count, len(self._within))).astype(np.float32)
        features = person + draws @ self._within
        return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True), np.float32)


def traffic(model: PeopleModel, plan: Traffic, *, seed: int = 0) -> Iterator[Track]:
    """Yield the tracks of a simulated day in the order of their ends."""
    random = np.random.default_rng(seed)
    waiting: list[tuple[float, int, Track]] = []
    number, limit = 0, plan.hours * 3600
    for begins in np.arange(0, limit, plan.every_s):
        # nobody who comes later ends earlier
        waiting.sort(key=lambda entry: entry[:2])
        while waiting and waiting[0][0] <= begins:
            yield waiting.pop(0)[2]
        person, now = model.person(), float(begins)
        for _ in range(int(random.integers(1, plan.visits + 1))):
            stay = plan.stays_s * float(random.uniform(0.5, 1.5))
            features = model.crops(person, plan.crops)
            times = np.linspace(now, now + stay, plan.crops)
            camera, quality = int(random.integers(plan.cameras)), np.ones(plan.crops, np.float32)
            number += 1
            waiting.append((now + stay, number, Track(camera, str(number), times, features, quality)))
            now += stay + float(random.uniform(5, 60))
    yield from (entry[2] for entry in sorted(waiting, key=lambda entry: entry[:2]))


def run_day(
    tracks: Iterator[Track], calibration: Calibration, options: IdentityOptions, *, hours: float
) -> list[Hour]:
    """Return what each simulated hour cost. Only the calls of `observe` are timed."""
    identities = Identities(None, calibration.different, options=options, site=calibration.site)
    result: list[Hour] = []
    spent: list[float] = []

    def finish() -> None:
        if spent:
            median, p99 = (float(value) for value in 1000 * np.percentile(spent, (50, 99)))
            result.append(Hour(len(result) + 1, len(spent), len(identities), median, p99, memory_mib()))
            spent.clear()

    for track in tracks:
        while track.last_s >= 3600 * (len(result) + 1) and spent:
            finish()
        if track.last_s >= 3600 * hours:
            break
        started = time.perf_counter()
        identities.observe(track)
        spent.append(time.perf_counter() - started)
    finish()
    return result


def memory_mib() -> float | None:
    """Return the resident memory of this process in MiB, or None where the system does not say."""
    if not STATUS.exists():
        return None
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
