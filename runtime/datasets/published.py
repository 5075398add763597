"""The published numbers of images, people and cameras of each data set. Compares a data set with them."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.datasets.item import SPLITS, Dataset

# For each layout, the published (images, identities) of each split in each of its editions, without junk (pid -1). Pid 0, which all
# distractors share, counts as one identity. CUHK03-NP has two editions: boxes that people drew, and boxes that a detector found.
PUBLISHED: dict[str, Sequence[dict[str, tuple[int, int]]]] = {
    "market1501": [{"train": (12936, 751), "query": (3368, 750), "gallery": (15913, 751)}],
    "dukemtmc": [{"train": (16522, 702), "query": (2228, 702), "gallery": (17661, 1110)}],
    "occluded_duke": [{"train": (15618, 702), "query": (2210, 519), "gallery": (17661, 1110)}],
    "msmt17": [{"train": (32621, 1041), "query": (11659, 3060), "gallery": (82161, 3060)}],
    "cuhk03_np": [
        {"train": (7368, 767), "query": (1400, 700), "gallery": (5328, 700)},
        {"train": (7365, 767), "query": (1400, 700), "gallery": (5332, 700)},
    ],
    "p_dukemtmc": [{"train": (12927, 665), "query": (2163, 634), "gallery": (9053, 634)}],
    "occluded_reid": [{"train": (0, 0), "query": (1000, 200), "gallery": (1000, 200)}],
    **dict.fromkeys(
        ("partial_reid", "partial_reid_occluded"),
        [{"train": (0, 0), "query": (300, 60), "gallery": (300, 60)}],
    ),
}
# The number of cameras of each data set with training images. A model that was trained on it has as many camera embeddings.
CAMERAS = {
    "market1501": 6,
    "dukemtmc": 8,
    "occluded_duke": 8,
    "msmt17": 15,
    "cuhk03_np": 2,
    "p_dukemtmc": 8,
    "anny": 4,
}
# Layouts whose published protocol keeps images of the query's person from the query's camera in the ranking.
SAME_CAMERA_STAYS = ("p_dukemtmc",)


def counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the numbers of images, identities and cameras of each split: {train|query|gallery: {images, identities, cameras}}.

    Pid 0, which all distractors share, counts as one identity. Unknown cameras are not counted.
    """
    return {
        split: {
            "images": len(items),
            "identities": len({item.pid for item in items}),
            "cameras": len({item.camid for item in items} - {-1}),
        }
        for split, items in ((split, getattr(dataset, split)) for split in SPLITS)
    }


def count_warnings(dataset: Dataset) -> list[str]:
    """Return warnings about the numbers of images and identities in `dataset`; [] if there is nothing to report.

    There is one for each split whose numbers differ from the published ones, and one if queries have pid 0: these are distractors,
    which never match.
    """
    warnings = []
    numbers = counts(dataset)
    editions = PUBLISHED.get(dataset.layout, ())
    here = {split: (numbers[split]["images"], numbers[split]["identities"]) for split in SPLITS}
    # Of several editions, compare with the one that has the most splits in common.
    closest = max(
        editions, key=lambda edition: sum(edition[split] == here[split] for split in SPLITS), default={}
    )
    for split, published in closest.items():
        if here[split] != published:
            warnings.append(
                "{}: {} has {} images of {} identities, the published {} has {} of {}; do not compare"
                " results with published ones".format(
                    dataset.root, split, *here[split], dataset.layout, *published
                )
            )
    if distractors := sum(item.pid == 0 for item in dataset.query):
        warnings.append(f"{dataset.root}: {distractors} queries have pid 0 (distractor), which never matches")
    return warnings
