"""Cut crops out of a frame as Ultralytics 8.4.190 and BoxMOT 25.0.0 do, with NumPy alone. Imports neither of them, and not OpenCV.

`make integrations-check` compares these functions with the installed packages. The channels of a frame are resized independently of
each other; all frames here are RGB, and so are the crops, which both trackers convert to RGB.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from export.integrations.table import IMAGENET

Floats = NDArray[np.float32]
Corners = tuple[int, int, int, int]
# (frame (H, W, 3) uint8 RGB, box, (height, width)) -> the model's input (3, height, width) float32, or None for an empty box
Crop = Callable[[NDArray[np.uint8], ArrayLike, tuple[int, int]], Floats | None]

# Ultralytics enlarges a box to 1.02 times its width and height plus 10 pixels.
GAIN, PAD = np.float32(1.02), np.float32(10)
# OpenCV resizes uint8 images with weights in fractions of 2048 (11 bits).
WEIGHT_BITS = 11


def ultralytics_corners(box: ArrayLike, shape: tuple[int, ...]) -> Corners:
    """Return the corners x1, y1, x2, y2 (x2 and y2 exclusive) of the crop that Ultralytics cuts for `box` from a frame of `shape`.

    `box` is x1, y1, x2, y2 in pixels. The box is enlarged around its centre, its corners are rounded towards zero, and it is clipped
    to the frame. All numbers have float32 precision, as in the tracker.
    """
    values = np.asarray(box, np.float32)
    centre = (values[:2] + values[2:]) / np.float32(2)
    half = ((values[2:] - values[:2]) * GAIN + PAD) / np.float32(2)
    return _clipped(np.trunc([*(centre - half), *(centre + half)]), shape)


def boxmot_corners(box: ArrayLike, shape: tuple[int, ...]) -> Corners:
    """Return the corners of the crop that BoxMOT cuts: those of `box`, rounded to whole pixels and clipped to the frame."""
    return _clipped(np.round(np.asarray(box, np.float32)), shape)


def ultralytics_crop(frame: NDArray[np.uint8], box: ArrayLike, size: tuple[int, int]) -> Floats | None:
    """Return the crop that Ultralytics feeds to the model, (3, height, width) float32 RGB 0..1; None for a box without pixels.

    `size` is (height, width). The crop is resized as float numbers, bilinear and without antialiasing. It is not normalised.
    """
    left, top, right, bottom = ultralytics_corners(box, frame.shape)
    if right <= left or bottom <= top:
        return None
    pixels = frame[top:bottom, left:right].astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(bilinear_float(pixels, size).transpose(2, 0, 1))


def boxmot_crop(frame: NDArray[np.uint8], box: ArrayLike, size: tuple[int, int]) -> Floats:
    """Return the crop that BoxMOT feeds to the model, (3, height, width) float32 RGB, normalised with ImageNet's mean and std.

    `size` is (height, width). The crop is resized as OpenCV resizes uint8 images, bilinear and without antialiasing. A box without
    pixels gives a black crop.
    """
    left, top, right, bottom = boxmot_corners(box, frame.shape)
    if right <= left or bottom <= top:
        resized = np.zeros((*size, 3), np.uint8)
    else:
        resized = bilinear_uint8(frame[top:bottom, left:right], size)
    planes = resized.transpose(2, 0, 1).astype(np.float32, order="C") / np.float32(255)
    mean, std = (np.asarray(value, np.float32).reshape(3, 1, 1) for value in IMAGENET)
    normalised: Floats = (planes - mean) / std
    return normalised


def bilinear_float(image: Floats, size: tuple[int, int]) -> Floats:
    """Return the image (H, W, C) float32 resized to `size`, (height, width, C) float32, as torch's `interpolate` does.

    This is the mode "bilinear" with `align_corners=False` and without antialiasing: a pixel of the result is a mean of four pixels
    of the image, however much smaller the result is.
    """
    top, bottom, lower = _neighbours(image.shape[0], size[0])
    left, right, later = _neighbours(image.shape[1], size[1])
    weight = later[None, :, None]
    rows = image[:, left] * (np.float32(1) - weight) + image[:, right] * weight
    weight = lower[:, None, None]
    resized: Floats = rows[top] * (np.float32(1) - weight) + rows[bottom] * weight
    return resized


def _neighbours(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return, for each of `target` positions, the two positions of `source` around it and the weight of the second one."""
    scale = np.float32(source) / np.float32(target)
    place = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    first = np.minimum(place.astype(np.int64), source - 1)
    return first, np.minimum(first + 1, source - 1), (place - first).astype(np.float32)


def bilinear_uint8(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image (H, W, C) uint8 resized to `size`, (height, width, C) uint8, as OpenCV's `resize` with INTER_LINEAR does.

    OpenCV computes with whole numbers: weights of 11 bits, and a second pass over the rows that drops 4 bits of the sums before and
    16 bits after the multiplication. An image of exactly twice the size is averaged over blocks of 2 x 2 pixels.
    """
    height, width = size
    numbers = image.astype(np.int64)
    if image.shape[:2] == (2 * height, 2 * width):
        blocks = numbers.reshape(height, 2, width, 2, -1).sum(axis=(1, 3))
        averaged: NDArray[np.uint8] = ((blocks + 2) >> 2).astype(np.uint8)
        return averaged
    left, right, columns = _weights(image.shape[1], width, keep_edges=True)
    top, bottom, rows = _weights(image.shape[0], height, keep_edges=False)
    first, second = columns[:, :, None]
    sums = (numbers[:, left] * first + numbers[:, right] * second) >> 4
    above, below = rows[:, :, None, None]
    mixed = ((above * sums[top]) >> 16) + ((below * sums[bottom]) >> 16)
    resized: NDArray[np.uint8] = ((mixed + 2) >> 2).astype(np.uint8)
    return resized


def _weights(
    source: int, target: int, *, keep_edges: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each of `target` positions, the two positions of `source` around it and their weights (2, target) in 1/2048.

    Beyond the first and the last pixel, both positions are that pixel. OpenCV gives it the whole weight in a row (`keep_edges`), but
    in a column the two weights of the position, which round differently.
    """
    place = ((np.arange(target) + 0.5) * (1 / (target / source)) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    weight = place - first.astype(np.float32)
    if keep_edges:
        weight[(first < 0) | (first >= source - 1)] = 0
    scale = np.float32(1 << WEIGHT_BITS)
    weights = np.rint(np.stack([(np.float32(1) - weight) * scale, weight * scale])).astype(np.int64)
    return np.clip(first, 0, source - 1), np.clip(first + 1, 0, source - 1), weights


def _clipped(corners: NDArray[np.floating], shape: tuple[int, ...]) -> Corners:
    height, width = shape[:2]
    x1, y1, x2, y2 = np.clip(corners, 0, (width, height, width, height)).astype(int).tolist()
    return x1, y1, x2, y2
