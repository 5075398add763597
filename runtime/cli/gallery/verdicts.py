"""Say which calibrations a gallery applies, and how far its threshold can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime import Gallery


def threshold_json(gallery: Gallery) -> dict[str, Any] | None:
    """Return the threshold of a gallery and its rate of false matches, or None if it has none.

    `fpir` is the rate that was asked for, `bound` the 95 % upper bound for `people` enrolled people, and `bound_here` what it becomes
    for the number of people in this gallery, `people_here`.
    """
    threshold = gallery.calibration.threshold
    if threshold is None:
        return None
    here = gallery.columns().enrolled
    return {
        "distance": threshold.distance,
        "fpir": threshold.fpir,
        "bound": threshold.bound,
        "false_positives": threshold.false_positives,
        "searches": threshold.searches,
        "people": threshold.people,
        "people_here": here,
        "bound_here": threshold.expected(here),
    }


def print_calibration(gallery: Gallery) -> dict[str, Any] | None:
    """Print on stderr which calibrations a search applies, and a warning where the threshold does not fit the gallery.

    Returns what `threshold_json` does.
    """
    from runtime import console
    from runtime.ranking.thresholds import LARGER

    calibration = gallery.calibration
    if calibration.site is not None:
        console.note(
            f"site calibration {calibration.site_id}: the means of {len(calibration.site.cameras)} cameras are subtracted"
        )
    if calibration.stale is not None:
        console.note(
            f"threshold {calibration.stale} was made under another site calibration and is not used; run: python -m runtime calibrate "
            f"threshold --store {gallery.store.place}"
        )
    if (verdict := threshold_json(gallery)) is None:
        return None
    console.note(
        f"threshold {calibration.threshold_id}: accepted up to distance {verdict['distance']:.4f}; of searches for a stranger among "
        f"{verdict['people']} people, at most {verdict['bound']:.2%} accept somebody (95 % confidence)"
    )
    if verdict["people_here"] > LARGER * verdict["people"]:
        console.note(
            f"WARNING this gallery has up to {verdict['people_here']} people, so that rate grows to about "
            f"{verdict['bound_here']:.2%}; calibrate with --enrolled for this number"
        )
    return verdict
