"""Resize crops with OpenCV: several times as fast as Pillow, and other pixels. Only ever used when asked for by name."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.images.preprocess import Resize, resize
from runtime.library import Library, importing
from runtime.options.choices import FAST
from runtime.spec import InputSpec

LIBRARY = Library(
    "cv2",
    "pip install '.[fast]', or leave --resize fast out",
    # the other builds want the libraries of a desktop, libGL before all
    "pip uninstall opencv-python opencv-contrib-python, then pip install --force-reinstall --no-deps opencv-python-headless",
)


def resizer(name: str) -> Resize:
    """What `--resize NAME` means. DeviceError where OpenCV, which `fast` runs on, cannot be used."""
    if name != FAST:
        return resize
    _opencv()
    return resize_fast


def resize_fast(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB -> (spec.height, spec.width, 3) uint8 RGB, by OpenCV's cubic or linear filter.

    OpenCV does not widen its filter when it shrinks an image, so that large crops alias.
    """
    if image.shape[:2] == (spec.height, spec.width):
        return image
    opencv = _opencv()
    filters = {"bicubic": opencv.INTER_CUBIC, "bilinear": opencv.INTER_LINEAR}
    resized: NDArray[np.uint8] = opencv.resize(
        image, (spec.width, spec.height), interpolation=filters[spec.interpolation]
    )
    return resized


def opencv_version() -> str:
    """The version of the OpenCV that `resize_fast` runs on."""
    return str(_opencv().__version__)


@lru_cache(maxsize=1)
def _opencv() -> Any:
    with importing(LIBRARY, needs=("resize", "setNumThreads")):
        import cv2
    # the threads that decode are as many as there should be
    cv2.setNumThreads(1)
    return cv2
