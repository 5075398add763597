"""Find references to other files, and control flow, in an ONNX file. Reads protobuf's wire format, without the onnx package."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import ArtifactError

# Message -> {field number: the message in it}: the parts of onnx.proto that lead to a TensorProto.
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
EXTERNAL_DATA, DATA_LOCATION = 13, 14
# Attributes that hold graphs: the bodies of Loop, Scan and If.
BODIES = (6, 11)
EXTERNAL, BODY = "external", "body"
MAX_DEPTH = 64


def refuse_external_data(path: Path | str) -> None:
    """Raise ArtifactError when the ONNX file keeps any tensor in another file, or is not a complete ONNX file.

    A path inside a model could make the library read other files of the device (ONNX Runtime still follows hard links), and the
    manifest's hash does not cover such a file.
    """
    if EXTERNAL in _findings(path):
        raise ArtifactError(
            f"{path}: keeps tensors in other files, which is refused; export it again as one file"
        )


def refuse_control_flow(path: Path | str) -> None:
    """Raise ArtifactError when the ONNX file holds a Loop, a Scan or an If, or is not a complete ONNX file.

    No exported model has one, and a damaged or forged loop can run for ever, because no library stops it.
    """
    if BODY in _findings(path):
        raise ArtifactError(
            f"{path}: holds a loop or a branch, which no exported model does; export it again"
        )


def _findings(path: Path | str) -> set[str]:
    try:
        with open(path, "rb") as file:
            # The file is mapped into memory, and weights are skipped, so a 350 MB model costs a few pages.
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return set(_found(data, "model", 0))
    except (OSError, IndexError, ValueError) as error:
        raise ArtifactError(f"{path}: not a whole ONNX file ({error}); export it again") from None


def _found(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    for number, value in _fields(message):
        if kind == "tensor" and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0)):
            yield EXTERNAL
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
