"""Turn decoded crops into a model's input. Knows the input specification, not the model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.spec import InputSpec


def resize(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB -> (spec.height, spec.width, 3) uint8 RGB.

    Pillow's antialiased filter, which is what torchvision's Resize applies to a PIL image in training: a
    resize by OpenCV or on tensors gives other pixels and costs accuracy.
    """
    if image.shape[:2] == (spec.height, spec.width):
        return image
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    resized = Image.fromarray(image).resize((spec.width, spec.height), filters[spec.interpolation])
    return np.array(resized, dtype=np.uint8)


def to_input(crops: NDArray[np.uint8], spec: InputSpec) -> NDArray[Any]:
    """(B, height, width, 3) uint8 RGB -> what the graph takes, C-contiguous.

    uint8-nhwc: the crops themselves; float-nchw: (B, 3, height, width) float32, (rgb / 255 - mean) / std.
    """
    if crops.dtype != np.uint8 or crops.shape[1:] != (spec.height, spec.width, 3):
        raise ValueError(
            f"crops are {crops.dtype} {crops.shape}, not uint8 (B, {spec.height}, {spec.width}, 3)"
        )
    if spec.layout == "uint8-nhwc":
        return np.ascontiguousarray(crops)
    # The same operations in the same order and precision as torchvision's ToTensor and Normalize.
    scaled = crops.transpose(0, 3, 1, 2).astype(np.float32, order="C") / np.float32(255)
    mean = np.asarray(spec.mean, np.float32).reshape(3, 1, 1)
    std = np.asarray(spec.std, np.float32).reshape(3, 1, 1)
    normalised: NDArray[np.float32] = (scaled - mean) / std
    return normalised
