"""A threshold for "nobody we know": the largest distance at which a match is accepted, at a known rate of false matches.

The definitions are those of ISO/IEC 19795-1 and NIST IR 8271. A search is *mated* if its person is enrolled in the gallery. FPIR is
the share of the non-mated searches with a candidate within the threshold, and FNIR the share of the mated searches whose mate is not
within the threshold and the first R people. Works on arrays.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError, DataError
from runtime.ranking.probability import Probability, fit_probability
from runtime.ranking.proportions import fewest_trials, most_events, upper_bound
from runtime.ranking.rate_curve import RateCurve, rate_curve

# A gallery with this many times the people of the calibration has a higher FPIR than it states.
LARGER = 1.1
# The ranks R at which mated searches are counted.
RANKS = (1, 10)
# With fewer enrolled people, the rates say little about a real gallery.
FEWEST_ENROLLED = 10


@dataclass(frozen=True, eq=False)
class Trials:
    """Searches of labelled people in a gallery of others.

    `people` people with `images` images are enrolled. `non_mated` (M,) are the distances of the nearest candidate, for one probe of
    each of M people who are not enrolled. `mated` (K,) are the distances of the mate, for one probe of each of K enrolled people, and
    `ranks` (K,) the number of people, from 1, up to the mate. `nearest` (K,) are the distances of the nearest candidate, and `right`
    (K,) says whether this is the mate. `genuine` and `impostor` are the distances of all pairs of a probe and an image.
    """

    people: int
    images: int
    non_mated: NDArray[np.float32]
    mated: NDArray[np.float32]
    ranks: NDArray[np.int64]
    nearest: NDArray[np.float32]
    right: NDArray[np.bool_]
    genuine: NDArray[np.float32]
    impostor: NDArray[np.float32]


@dataclass(frozen=True)
class Threshold:
    """A calibrated threshold.

    A candidate is accepted at a cosine `distance` up to this one. `fpir` is the rate that was asked for, and `bound` the 95 % upper
    bound of the rate that was measured: `false_positives` in `searches` non-mated searches, among `people` enrolled people with
    `images` images. `tpir` has the share of the `mated` searches that are right and within the threshold, by rank. `eer` is the equal
    error rate of single comparisons, and `fmr` the share of impostor pairs within the threshold. `probability` turns a distance into
    the probability that the nearest candidate is the right person, for searches of which half are mated. `curve` has the FPIR at other
    distances.
    """

    distance: float
    fpir: float
    bound: float
    false_positives: int
    searches: int
    people: int
    images: int
    mated: int
    tpir: dict[str, float]
    eer: float
    fmr: float
    probability: Probability
    curve: RateCurve

    def to_json(self) -> dict[str, Any]:
        """Return the record that a gallery stores."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Threshold:
        """Return the threshold of a record. Raises TypeError or ValueError for a damaged one."""
        parts = {"probability": Probability(**record["probability"]), "curve": RateCurve(**record["curve"])}
        return cls(**{**record, **parts})

    def expected(self, people: int) -> float:
        """Return the bound of the FPIR that `people` enrolled people would have: it grows with their number."""
        return float(1 - (1 - self.bound) ** (max(1, people) / self.people))


def calibrate_threshold(trials: Trials, fpir: float) -> Threshold:
    """Return the largest distance whose FPIR is at most `fpir` (0..1) with a confidence of 95 %.

    The bound is that of Clopper and Pearson. Raises ConfigError for a rate outside 0..1, and DataError for too few non-mated searches:
    even without a false positive, about 3 / `fpir` are needed.
    """
    _check_rate(fpir)
    searches = len(trials.non_mated)
    allowed = most_events(searches, fpir)
    if allowed is None:
        raise DataError(
            f"{searches} people who are not enrolled cannot show a false positive rate of {fpir}; {fewest_trials(fpir)} are needed: "
            f"give more labelled people, or a higher rate"
        )
    # just below the first distance that is not allowed
    distance = float(np.nextafter(np.sort(trials.non_mated)[allowed], np.float32(-1)))
    count = int((trials.non_mated <= distance).sum())
    return Threshold(
        distance=distance,
        fpir=fpir,
        bound=upper_bound(count, searches),
        false_positives=count,
        searches=searches,
        people=trials.people,
        images=trials.images,
        mated=len(trials.mated),
        tpir={
            str(rank): float(np.mean((trials.ranks <= rank) & (trials.mated <= distance)))
            if len(trials.mated)
            else 0.0
            for rank in RANKS
        },
        eer=equal_error_rate(trials.genuine, trials.impostor),
        fmr=float(np.mean(trials.impostor <= distance)),
        probability=fit_probability(
            np.concatenate([trials.nearest, trials.non_mated]),
            np.concatenate([trials.right, np.zeros(searches, bool)]),
            mated=len(trials.mated),
        ),
        curve=rate_curve(trials.non_mated),
    )


def split_people(
    pids: NDArray[np.int64],
    camids: NDArray[np.int64],
    *,
    fpir: float,
    enrolled: int | None = None,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (enrolled people, people who are not enrolled), chosen at random among the known people (pid > 0).

    A person can be enrolled if two cameras show this person. `enrolled` None enrolls a third of all people, or as many as leave enough
    others to show `fpir`. Raises ConfigError for a rate outside 0..1, and DataError if there are too few people.
    """
    _check_rate(fpir)
    people = np.unique(pids[pids > 0])
    several = [pid for pid in people.tolist() if len(np.unique(camids[(pids == pid) & (camids >= 0)])) > 1]
    needed = fewest_trials(fpir)
    most = min(len(several), len(people) - needed)
    count = min(most, len(people) // 3) if enrolled is None else enrolled
    if not FEWEST_ENROLLED <= count <= most:
        fewer = (
            f", or enrol {FEWEST_ENROLLED} to {most}"
            if enrolled is not None and most >= FEWEST_ENROLLED
            else ""
        )
        raise DataError(
            f"{len(people)} labelled people, {len(several)} of them in two cameras: a false positive rate of {fpir} needs {needed} "
            f"people who are not enrolled, and at least {FEWEST_ENROLLED} enrolled ones who are in two cameras; give more people, or "
            f"a higher rate{fewer}"
        )
    chosen = np.random.default_rng(seed).permutation(np.array(several, np.int64))[:count]
    return np.sort(chosen), np.setdiff1d(people, chosen)


def _check_rate(fpir: float) -> None:
    if not 0 < fpir < 1:
        raise ConfigError(f"fpir={fpir}: give a rate between 0 and 1, such as 0.01")


def choose_images(
    pids: NDArray[np.int64], people: tuple[NDArray[np.int64], NDArray[np.int64]], *, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of (the probes of the enrolled people, the probes of the others, the enrolled images).

    `pids` (N,) are the people of the images, and `people` is what `split_people` returns. The probe of a person is a random image. All
    other images of the enrolled people are enrolled.
    """
    random = np.random.default_rng(seed)
    mated, non_mated = (
        np.array([random.choice(np.flatnonzero(pids == pid)) for pid in group], np.int64) for group in people
    )
    return mated, non_mated, np.setdiff1d(np.flatnonzero(np.isin(pids, people[0])), mated)


def make_trials(
    features: NDArray[np.float32],
    pids: NDArray[np.int64],
    camids: NDArray[np.int64],
    people: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    seed: int = 0,
) -> Trials:
    """Search one random image of each person, and return the distances.

    `features` (N, D) are L2-normalised, `pids` and `camids` (N,) their people and cameras, and `people` is what `split_people`
    returns; `choose_images` chooses the images. A mated search leaves out the person's images from the probe's own camera, as the
    published protocols do.
    """
    mated, non_mated, gallery = choose_images(pids, people, seed=seed)
    owner = pids[gallery]
    nearest, ranks, right, mate = [], [], [], []
    genuine, impostor = [], []
    for probe in mated:
        far = np.float32(1) - features[gallery] @ features[probe]
        same = owner == pids[probe]
        left = ~(same & (camids[gallery] == camids[probe]))
        far, same, owners = far[left], same[left], owner[left]
        if not same.any():
            continue
        own = far[same].min()
        mate.append(own)
        ranks.append(1 + len(np.unique(owners[~same & (far < own)])))
        nearest.append(far.min())
        right.append(bool(same[far.argmin()]))
        genuine.append(far[same])
        impostor.append(far[~same])
    outside = np.float32(1) - features[non_mated] @ features[gallery].T
    return Trials(
        people=len(people[0]),
        images=len(gallery),
        non_mated=outside.min(axis=1),
        mated=np.array(mate, np.float32),
        ranks=np.array(ranks, np.int64),
        nearest=np.array(nearest, np.float32),
        right=np.array(right, bool),
        genuine=np.concatenate([*genuine, np.empty(0, np.float32)]),
        impostor=np.concatenate([*impostor, outside.ravel()]),
    )


def equal_error_rate(genuine: NDArray[np.float32], impostor: NDArray[np.float32]) -> float:
    """Return the rate at which as many genuine pairs are refused as impostor pairs are accepted. NaN without pairs of both kinds."""
    if not len(genuine) or not len(impostor):
        return float("nan")
    steps = np.unique(genuine)
    refused = 1 - np.searchsorted(np.sort(genuine), steps, "right") / len(genuine)
    accepted = np.searchsorted(np.sort(impostor), steps, "right") / len(impostor)
    at = int(np.argmin(np.abs(refused - accepted)))
    return float((refused[at] + accepted[at]) / 2)
