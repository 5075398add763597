"""Resize decoded crops and turn them into the input of a model, as its InputSpec describes it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.spec import InputSpec

Color = Literal["rgb", "bgr"]
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def resize(image: NDArray[np.uint8], spec: InputSpec, *, color: Color = "rgb") -> NDArray[np.uint8]:
    """Resize an image (H, W, 3) uint8 to (spec.height, spec.width, 3) uint8 RGB. `color` is the order of the channels of `image`.

    This uses Pillow's antialiased filter, as torchvision's Resize does for a PIL image in training. Resizing with OpenCV or on
    tensors gives other pixels and costs accuracy. `image` may be a part of a larger array. Nothing outside it is read, and the
    result is the same as that of a copy of the part.
    """
    if image.shape[:2] == (spec.height, spec.width):
        return image if color == "rgb" else np.ascontiguousarray(image[:, :, ::-1])
    resized = _picture(image, color).resize((spec.width, spec.height), FILTERS[spec.interpolation])
    return np.array(resized, dtype=np.uint8)


def _picture(image: NDArray[np.uint8], color: Color) -> Image.Image:
    """Return the image as a Pillow image in RGB.

    If the rows of `image` lie one after the other in memory, as in a box of a frame, Pillow reads them where they are and swaps the
    channels while it reads.
    """
    height, width = image.shape[:2]
    if image.strides[1:] != (3, 1) or image.strides[0] < 3 * width:
        rgb = image if color == "rgb" else image[:, :, ::-1]
        return Image.fromarray(np.ascontiguousarray(rgb))
    step = image.strides[0]
    # from the first byte of the first row to the last byte of the last row
    span = np.lib.stride_tricks.as_strided(image, ((height - 1) * step + 3 * width,), (1,), writeable=False)
    return Image.frombuffer("RGB", (width, height), span, "raw", color.upper(), step, 1)


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
