"""Resize decoded crops and turn them into the input of a model, as its InputSpec describes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.spec import InputSpec


def resize(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Resize an image (H, W, 3) uint8 RGB to (spec.height, spec.width, 3) uint8 RGB.

    This uses Pillow's antialiased filter, as torchvision's Resize does for a PIL image in training. Resizing with OpenCV or on
    tensors gives other pixels and costs accuracy.
    """
    if image.shape[:2] == (spec.height, spec.width):
        return image
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    resized = Image.fromarray(image).resize((spec.width, spec.height), filters[spec.interpolation])
    return np.array(resized, dtype=np.uint8)


def to_input(crops: NDArray[np.uint8], spec: InputSpec) -> NDArray[Any]:
    """Turn crops (B, height, width, 3) uint8 RGB into the input of the graph, C-contiguous.

    With the layout "uint8-nhwc", the crops are returned unchanged. With "float-nchw", the result is (B, 3, height, width) float32,
    (rgb / 255 - mean) / std. Raises ValueError for crops of another type or shape.
    """
    if crops.dtype != np.uint8 or crops.shape[1:] != (spec.height, spec.width, 3):
        raise ValueError(
            f"crops are {crops.dtype} {crops.shape}, not uint8 (B, {spec.height}, {spec.width}, 3)"
        )
    if spec.layout == "uint8-nhwc":
        return np.ascontiguousarray(crops)
    # These are the operations of torchvision's ToTensor and Normalize, in the same order and precision.
    scaled = crops.transpose(0, 3, 1, 2).astype(np.float32, order="C") / np.float32(255)
    mean = np.asarray(spec.mean, np.float32).reshape(3, 1, 1)
    std = np.asarray(spec.std, np.float32).reshape(3, 1, 1)
    normalised: NDArray[np.float32] = (scaled - mean) / std
    return normalised
