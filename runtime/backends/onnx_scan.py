"""Refuse an ONNX file that refers to other files or contains control flow, and find FP16 in it.

Parses protobuf itself, without the onnx package.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import ArtifactError

# For each kind of message, {field number: the kind of message in that field}. These are the parts of onnx.proto in which a
# TensorProto or a graph can be.
MESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
# The fields of a TensorProto that say that its data are in another file, and the field with its type; the number of FP16.
EXTERNAL_DATA, DATA_LOCATION, DATA_TYPE = 13, 14, 2
FLOAT16 = 10
# The fields of an attribute that hold graphs: the bodies of Loop, Scan and If.
BODIES = (6, 11)
EXTERNAL, BODY, HALF = "external", "body", "half"
MAX_DEPTH = 64


def refuse_external_data(path: Path | str) -> None:
    """Raise ArtifactError if the ONNX file stores a tensor in another file, or is damaged.

    Such a model is not safe to load: its path to the other file could point to any file of the device. The content of that file
    could also be changed unnoticed, because the hash in the manifest covers only the ONNX file.
    """
    if EXTERNAL in _findings(path):
        raise ArtifactError(
            f"{path}: stores tensors in other files, which is not allowed; export the model again with export_onnx.py, "
            "which writes one file"
        )


def refuse_control_flow(path: Path | str) -> None:
    """Raise ArtifactError if the ONNX file contains a Loop, a Scan or an If, or is damaged.

    No exported model contains one of these operators. A loop in a damaged or forged file could run for ever.
    """
    if BODY in _findings(path):
        raise ArtifactError(
            f"{path}: contains a loop or a branch (Loop, Scan or If), which export_onnx.py never writes; export the model again"
        )


def has_fp16(path: Path | str) -> bool:
    """Return whether the ONNX file has constants in FP16; raise ArtifactError if it is damaged."""
    return HALF in _findings(path)


def _findings(path: Path | str) -> set[str]:
    try:
        with open(path, "rb") as file:
            # The file is mapped into memory, and weights are skipped, so a 350 MB model costs a few pages.
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return set(_found(data, "model", 0))
    except (OSError, IndexError, ValueError) as error:
        raise ArtifactError(f"{path}: not a complete ONNX file ({error}); export it again") from None


def _found(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    for number, value in _fields(message):
        if kind == "tensor" and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0)):
            yield EXTERNAL
        if kind == "tensor" and number == DATA_TYPE and value == FLOAT16:
            yield HALF
        if kind == "attribute" and number in BODIES:
            yield BODY
        inner = MESSAGES[kind].get(number)
        if inner and isinstance(value, memoryview):
            yield from _found(value, inner, depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, varint or bytes) of one message; fixed-size fields hold no message and are skipped."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("cut off")
            yield number, message[at : at + size]
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
            if at > len(message):
                raise ValueError("cut off")
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than 10 bytes")
