"""Data sets of people partly hidden, searched among whole bodies: Occluded-REID, Partial-REID and P-DukeMTMC-reID.

The names of the first two say no camera (camid -1), so that no image is ever left out as one of the query's camera: their
protocol ranks every whole-body image for every query. P-DukeMTMC-reID keeps DukeMTMC's names and cameras; its published
protocol does not leave out images of the query's camera either (`runtime.datasets.published.SAME_CAMERA_STAYS`).
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.datasets.files import present
from runtime.datasets.folders import read_named
from runtime.datasets.item import Dataset, Listing

OCCLUDED, PARTIAL, WHOLE = "occluded_body_images", "partial_body_images", "whole_body_images"
PLACES: dict[str, Mapping[str, tuple[str, ...]]] = {
    "occluded_reid": {"train": (), "query": (OCCLUDED,), "gallery": (WHOLE,)},
    # Partial-REID has two sets of queries: bodies behind things, and what is visible of them, cut out by hand.
    "partial_reid": {"train": (), "query": (PARTIAL,), "gallery": (WHOLE,)},
    "partial_reid_occluded": {"train": (), "query": (OCCLUDED,), "gallery": (WHOLE,)},
    "p_dukemtmc": {
        "train": (f"train/{OCCLUDED}", f"train/{WHOLE}"),
        "query": (f"test/{OCCLUDED}",),
        "gallery": (f"test/{WHOLE}",),
    },
}


def read_occluded(layout: str, root: str, listing: Listing) -> Dataset:
    """A data set of this layout, its images in the folders themselves or in a folder for each person there."""
    places = PLACES[layout]
    for split in ("query", "gallery"):
        for folder in places[split]:
            if not present(listing, folder):
                raise FileNotFoundError(folder)
    train = tuple(folder for folder in places["train"] if present(listing, folder))
    return read_named(layout, root, listing, {**places, "train": train})


def guess_occluded(listing: Listing, own_name: str) -> str | None:
    """Which of these layouts the folders are; None where they are none."""
    if present(listing, f"test/{OCCLUDED}") and present(listing, f"test/{WHOLE}"):
        return "p_dukemtmc"
    if not present(listing, WHOLE):
        return None
    if present(listing, PARTIAL):
        return "partial_reid"
    if present(listing, OCCLUDED):
        return "partial_reid_occluded" if "partial" in own_name else "occluded_reid"
    return None
