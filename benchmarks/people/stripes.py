"""Compute HSV histograms of six horizontal stripes of an image as a feature, and score them. Parses no command line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime import datasets
from runtime.images.decode import load_image
from runtime.ranking import metrics

STRIPES = 6
BINS = (8, 4, 4)


def histogram(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the feature (STRIPES * 128,) of an image, `pixels` (H, W, 3) uint8 RGB, normalised to length 1.

    It consists of the square roots of one HSV histogram (8 x 4 x 4 bins) for each stripe. Pixels near the middle column count more.
    """
    hsv = np.asarray(Image.fromarray(pixels).convert("HSV"), np.int64)
    hue, saturation, value = (hsv[..., channel] * bins // 256 for channel, bins in enumerate(BINS))
    cell = (hue * BINS[1] + saturation) * BINS[2] + value
    size = int(np.prod(BINS))
    # The person stands in the middle. Without this weight, the background dominates the feature, and it is similar within a camera.
    weight = np.broadcast_to(1 - np.linspace(-1, 1, cell.shape[1]) ** 2, cell.shape)
    stripes = zip(np.array_split(cell, STRIPES), np.array_split(weight, STRIPES))
    counts = [np.bincount(stripe.ravel(), share.ravel(), minlength=size) for stripe, share in stripes]
    feature = np.sqrt(np.concatenate(counts))
    return np.asarray(feature / np.linalg.norm(feature), np.float32)


def scores(root: str, *, layout: str | None = None) -> metrics.Metrics:
    """Return the CMC and mAP of the feature `histogram` on the data set in the folder `root`.

    `layout` says how the folders and files of the data set are named, as a key of `runtime.datasets.READERS`, such as "market1501".
    If it is None, it is guessed from the folder.
    """
    data = datasets.read_dataset(root, layout or datasets.guess_layout(root))
    return metrics.evaluate(*_side(data.query), *_side(data.gallery))


def _side(items: Sequence[datasets.Item]) -> tuple[npt.NDArray[np.float32], list[int], list[int]]:
    features = np.stack([histogram(load_image(item.path)) for item in items])
    return features, [item.pid for item in items], [item.camid for item in items]
