"""Transfer a threshold to another file of the same model, after a check on the calibration crops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError, GateError
from runtime.gallery.api import Gallery
from runtime.gallery.calibrations import THRESHOLD, write_calibration
from runtime.gallery.space import same_space, space_of
from runtime.images.decode import decode
from runtime.model import Model
from runtime.options.argument_types import camera_policy
from runtime.ranking.proportions import upper_bound

# The fewest crops: with fewer, chance hides a difference.
FEWEST = 40


@dataclass(frozen=True)
class Transferred:
    """How the distances of the calibration crops changed.

    `crops` is their number. `median_change` and `largest_change` are those of the distances of all pairs. `fmr_before` and
    `fmr_after` are the shares of the pairs of different people within the threshold, `tmr_before` and `tmr_after` those of the
    pairs of one person.
    """

    crops: int
    median_change: float
    largest_change: float
    fmr_before: float
    fmr_after: float
    tmr_before: float
    tmr_after: float


def transfer_threshold(source: Gallery, target: Gallery, model: Model) -> Transferred:
    """Store the threshold of `source` in `target`, whose features come from `model`, if it means the same there.

    The calibration crops of `source` are embedded with `model`. Raises ArtifactError if `target` holds features of another embedding
    space, DataError if there is no threshold or there are too few crops, and GateError if more pairs of different people are within
    the threshold than before, or fewer pairs of one person, by more than chance explains: the limits are 95 % bounds of the rates
    before.
    """
    policy = camera_policy(target.space.camera)
    same_space(target.space, space_of(model.artifact, policy), target.store.place)
    calibration = source.calibration
    threshold, number = calibration.threshold, calibration.threshold_id
    if threshold is None:
        folder = source.store.place
        raise DataError(
            f"{folder}: has no threshold to transfer; run: python -m runtime calibrate threshold --store {folder}"
        )
    records = source.store.crops(number or 0)
    if len(records) < FEWEST:
        raise DataError(
            f"{source.store.place}: its threshold was stored with {len(records)} crops, but the check needs {FEWEST}; calibrate "
            "with `crops` 200 (--crops 200)"
        )
    people = np.array([record[0] for record in records])
    cameras = np.array([-1 if record[1] is None else record[1] for record in records], np.int64)
    before = np.stack([np.frombuffer(record[3], "<f4") for record in records]).astype(np.float32)
    after = model.embed(
        [decode(record[4]).pixels for record in records],
        color="rgb",
        camera=(cameras if policy == "input" else policy) if model.artifact.spec.camera == "input" else None,
    )
    site, target_site = calibration.site, target.calibration.site
    old = _distances(before if site is None else site.apply(before, cameras))
    new = _distances(after if target_site is None else target_site.apply(after, cameras))
    accepted, accepted_now = old <= threshold.distance, new <= threshold.distance
    same = (people[:, None] == people[None])[np.triu_indices(len(people), 1)]
    result = Transferred(
        crops=len(records),
        median_change=float(np.median(np.abs(new - old))),
        largest_change=float(np.abs(new - old).max()),
        fmr_before=float(np.mean(accepted[~same])),
        fmr_after=float(np.mean(accepted_now[~same])),
        tmr_before=float(np.mean(accepted[same])),
        tmr_after=float(np.mean(accepted_now[same])),
    )
    worst_false = upper_bound(int(accepted[~same].sum()), int((~same).sum()))
    worst_missed = upper_bound(int((~accepted[same]).sum()), int(same.sum()))
    if result.fmr_after > worst_false or 1 - result.tmr_after > worst_missed:
        raise GateError(
            f"the threshold means something else here: pairs of different people within it {result.fmr_before:.4%} before, "
            f"{result.fmr_after:.4%} now; pairs of one person {result.tmr_before:.2%} before, {result.tmr_after:.2%} now; calibrate "
            "again"
        )
    record = {
        "threshold": threshold.to_json(),
        "site": target.calibration.site_id,
        "transferred": vars(result),
    }
    write_calibration(target.store, THRESHOLD, record)
    return result


def _distances(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distances of all pairs, as one row."""
    return np.asarray((1 - features @ features.T)[np.triu_indices(len(features), 1)], np.float32)
