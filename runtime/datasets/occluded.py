"""Read the data sets of partly hidden people: Occluded-REID, Partial-REID and P-DukeMTMC-reID.

Their queries show occluded people and their galleries show whole bodies. File names of Occluded-REID and Partial-REID contain no
camera, so camid is -1, and no gallery image counts as one from the query's camera. All gallery images stay in the ranking, as the
protocol of these two data sets demands. P-DukeMTMC-reID has DukeMTMC's names and cameras, but its published protocol does not remove
images of the query's camera either (`runtime.datasets.published.SAME_CAMERA_STAYS`).
"""

from __future__ import annotations

from runtime.datasets.files import present
from runtime.datasets.folders import LAYOUT_FOLDERS, OCCLUDED, PARTIAL, WHOLE, read_named
from runtime.datasets.item import Dataset, Listing


def read_occluded(layout: str, root: str, listing: Listing) -> Dataset:
    """Read a data set of `layout`, one of LAYOUT_FOLDERS. Each folder contains images, or one folder for each person.

    Raises FileNotFoundError with the name of a folder of query or gallery that is missing.
    """
    folders = LAYOUT_FOLDERS[layout]
    for split in ("query", "gallery"):
        for folder in folders[split]:
            if not present(listing, folder):
                raise FileNotFoundError(folder)
    train = tuple(folder for folder in folders["train"] if present(listing, folder))
    return read_named(layout, root, listing, {**folders, "train": train})


def guess_occluded(listing: Listing, own_name: str) -> str | None:
    """Return the layout of LAYOUT_FOLDERS whose folders of query and gallery exist, or None.

    `own_name` is the name of the root folder in lower case. It decides between two layouts with the same folders: the result is
    "partial_reid_occluded" if `own_name` contains "partial", and otherwise "occluded_reid".
    """
    if present(listing, f"test/{OCCLUDED}") and present(listing, f"test/{WHOLE}"):
        return "p_dukemtmc"
    if not present(listing, WHOLE):
        return None
    if present(listing, PARTIAL):
        return "partial_reid"
    if present(listing, OCCLUDED):
        return "partial_reid_occluded" if "partial" in own_name else "occluded_reid"
    return None
