"""Measure the method beside others on prepared sequences: tune on the training sequences, then score the test sequences once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.identities import ours, simple
from benchmarks.identities.intervals import against
from benchmarks.identities.prepared.sequences import Answer, PreparedSequence, TrackKey, load_sequence
from benchmarks.identities.scores import Hits, Scorer
from benchmarks.identities.strangers import false_matches
from runtime.identities.options import IdentityOptions
from runtime.identities.track import Track

# The rates of false matches that are tried on the training sequences, and that are compared with what happens.
RATES = (0.05, 0.1, 0.2, 0.3, 0.4)
STATED = (0.01, 0.02, 0.05, 0.1, 0.2)
# The ingredients of the method. `separate_cameras` is for sites whose cameras never show the same place, and includes `exclusion`.
EXCLUSION, SEPARATE, LOOK_AHEAD = "exclusion", "separate_cameras", "look_ahead"
# What was tried and does not ship: the means of the cameras, and weights of the crops of a track.
SITE, QUALITY, CONSISTENCY = "site", "quality", "consistency"
SWITCHES = (EXCLUSION, SEPARATE, LOOK_AHEAD, SITE, QUALITY, CONSISTENCY)


@dataclass(frozen=True)
class Folders:
    """The folders of prepared sequences: to tune on (`train`), for scores (`test`), and for false matches (`strangers`)."""

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    strangers: tuple[Path, ...] = ()


class Group:
    """Several sequences with one kind of tracks and the features of one model. What is computed from them is kept."""

    def __init__(self, folders: Sequence[Path], kind: str, model: str) -> None:
        """Load the prepared sequences. Raises ConfigError if one was not prepared with this model."""
        self.sequences = [load_sequence(folder, kind, model) for folder in folders]

    @cached_property
    def scorers(self) -> list[Scorer]:
        """The scorer of each sequence."""
        return [Scorer(sequence) for sequence in self.sequences]

    @cached_property
    def means(self) -> list[simple.MeanTracks]:
        """The mean features of the tracks of each sequence."""
        return [simple.mean_tracks(sequence) for sequence in self.sequences]

    @cached_property
    def tracks(self) -> list[list[Track]]:
        """The tracks of each sequence, as the method gets them."""
        return [ours.tracks(sequence) for sequence in self.sequences]

    def hits(self, answers: Sequence[Mapping[TrackKey, object]]) -> list[Hits]:
        """Return what IDF1 counts for one answer for each sequence."""
        return [
            scorer.hits(answer) for scorer, answer in zip(self.scorers, self.completed(answers), strict=True)
        ]

    def completed(self, answers: Sequence[Mapping[TrackKey, object]]) -> list[Answer]:
        """Return the answers with an identity of its own for each track that they leave out."""
        return [
            simple.completed(sequence, answer)
            for sequence, answer in zip(self.sequences, answers, strict=True)
        ]

    def idf1(self, answers: Sequence[Mapping[TrackKey, object]]) -> float:
        """Return the mean IDF1 of one answer for each sequence."""
        return float(np.mean([hits.idf1 for hits in self.hits(answers)]))


@dataclass(frozen=True)
class Variant:
    """Settings of the method, and which of SITE, QUALITY and CONSISTENCY it gets (`extras`)."""

    options: IdentityOptions
    extras: frozenset[str] = frozenset()

    def at(self, rate: float) -> Variant:
        """Return these settings with another rate of false matches."""
        return replace(self, options=replace(self.options, false_match_rate=rate))

    def tracks(self, group: Group) -> list[list[Track]]:
        """Return the tracks that the method gets."""
        if not self.extras & {QUALITY, CONSISTENCY}:
            return group.tracks
        flags = {"quality": QUALITY in self.extras, "consistency": CONSISTENCY in self.extras}
        return [[ours.weighted(track, **flags) for track in tracks] for tracks in group.tracks]

    def calibrated(self, group: Group) -> ours.Calibration:
        """Return the calibration from the tracks of a group."""
        return ours.calibrate(self.tracks(group), self.options, site=SITE in self.extras)


def shipped_switches() -> tuple[str, ...]:
    """Return the names of the ingredients that are on where nobody says anything."""
    usual = IdentityOptions()
    flags = {EXCLUSION: usual.exclusion, SEPARATE: usual.separate_cameras, LOOK_AHEAD: usual.look_ahead_s > 0}
    return tuple(name for name in SWITCHES if flags.get(name))


def with_ingredients(options: IdentityOptions, names: Sequence[str]) -> Variant:
    """Return the settings that have exactly the ingredients with these names."""
    changed = replace(
        options,
        exclusion=EXCLUSION in names or SEPARATE in names,
        separate_cameras=SEPARATE in names,
        look_ahead_s=options.look_ahead_s if LOOK_AHEAD in names else 0.0,
    )
    return Variant(changed, frozenset(names) & {SITE, QUALITY, CONSISTENCY})


def run(variant: Variant, calibration: ours.Calibration, group: Group) -> list[ours.Identified]:
    """Return what the method says about each sequence of a group."""
    return [ours.identify(tracks, calibration, variant.options) for tracks in variant.tracks(group)]


def tuned(variant: Variant, train: Group) -> tuple[Variant, ours.Calibration]:
    """Return the settings with the rate that has the highest mean IDF1 on the training sequences, and the calibration from there."""
    calibration = variant.calibrated(train)

    def score(rate: float) -> float:
        return train.idf1([said.answer for said in run(variant.at(rate), calibration, train)])

    return variant.at(max(RATES, key=score)), calibration


def best_threshold(train: Group, method: Callable[[simple.MeanTracks, float], dict[TrackKey, int]]) -> float:
    """Return the distance with the highest mean IDF1 of a simple method on the training sequences."""

    def score(threshold: float) -> float:
        return train.idf1([method(means, threshold) for means in train.means])

    return float(max(simple.thresholds(train.means), key=score))


def cost(
    variant: Variant, calibration: ours.Calibration, sequences: Sequence[PreparedSequence]
) -> dict[str, Any]:
    """Return what the association of the sequences costs, the making of tracks included, beside the features, in CPU time."""
    embedding = sum(sequence.crops * sequence.cpu_ms_per_crop / 1000 for sequence in sequences)
    started = time.process_time()
    tracks = [ours.tracks(sequence) for sequence in sequences]
    for one in tracks:
        ours.identify(one, calibration, variant.options)
    spent = time.process_time() - started
    count = sum(map(len, tracks))
    return {
        "tracks": count,
        "crops": sum(sequence.crops for sequence in sequences),
        "association_cpu_ms_per_track": 1000 * spent / count,
        "embedding_cpu_ms_per_track": 1000 * embedding / count,
        "share": spent / embedding,
    }


def strangers(variant: Variant, calibration: ours.Calibration, group: Group) -> list[dict[str, Any]]:
    """Return the stated rates of false matches, and how often they happened to people who were never seen before."""
    people = [sequence.people_of_tracks() for sequence in group.sequences]
    rows = []
    for rate in STATED:
        said = [one.events for one in run(variant.at(rate), calibration, group)]
        rows.append({"stated": rate, **false_matches(said, people)})
    return rows


def described(
    group: Group, answers: Sequence[Mapping[TrackKey, object]], base: Sequence[Hits] | None
) -> dict[str, Any]:
    """Return the scores of the answers, of each sequence and their means, and the difference to `base` (None: no difference)."""
    scores = [
        scorer.scores(answer).to_json()
        for scorer, answer in zip(group.scorers, group.completed(answers), strict=True)
    ]
    mean = {key: float(np.mean([one[key] for one in scores])) for key in scores[0]}
    result: dict[str, Any] = {"mean": mean, "sequences": scores}
    return result if base is None else result | {"against_nearest": against(base, group.hits(answers))}


def settings(variant: Variant) -> dict[str, Any]:
    """Return the settings as a JSON object."""
    return asdict(variant.options) | {"extras": sorted(variant.extras)}
