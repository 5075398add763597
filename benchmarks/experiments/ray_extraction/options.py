"""The options of the measurement. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RayOptions:
    """How extraction on Ray is compared with the worker processes of the preset "throughput".

    `model` is an ONNX file. `count` different JPEG files are made of the images at the path `images`. Each of `rounds` rounds extracts
    them once in each way. `kills` actors are killed in one more extraction on Ray. With `as_json`, the result is printed as one JSON
    document.
    """

    model: str
    images: str
    count: int
    rounds: int
    kills: int
    as_json: bool
