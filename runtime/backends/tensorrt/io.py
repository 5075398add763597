"""Read the inputs, outputs and batch sizes of an engine, and choose the batch sizes for a number of images. Runs no engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, ConfigError
from runtime.spec import InputSpec

# The names of TensorRT's data types. TensorRT 8.6 has no INT64, so its engines take camera ids as INT32.
DTYPES = {"FLOAT": np.float32, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64}


@dataclass(frozen=True)
class Tensor:
    """One input or output of an engine: `row` is its shape for one image, without the batch dimension."""

    row: tuple[int, ...]
    dtype: np.dtype[Any]
    is_input: bool

    @property
    def row_bytes(self) -> int:
        """The size of the tensor for one image, in bytes."""
        return int(np.prod(self.row)) * self.dtype.itemsize


@dataclass(frozen=True)
class EngineIO:
    """The tensors of an engine by name, and the batch sizes that it runs.

    `profiles` has (smallest, largest) batch of each optimisation profile. An engine with one fixed batch size has one such pair, of
    two equal numbers, and is not `dynamic`.
    """

    tensors: Mapping[str, Tensor]
    profiles: tuple[tuple[int, int], ...]
    dynamic: bool


def read_io(engine: Any, path: Path, spec: InputSpec, again: str) -> EngineIO:
    """Return the tensors and batch sizes of a deserialised engine; raise ArtifactError unless the tensors fit `spec`.

    The engine must have the input `images` of `spec`, the input `camera_ids` (B,) int32 or int64 if `spec.camera` is "input", and the
    output `features` (B, D) float32. `path` names the engine in an error, and `again` is the advice at the end of the error.
    """
    tensors, batches = {}, set()
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        batch, *row = tuple(engine.get_tensor_shape(name)) or (0,)
        kind = engine.get_tensor_dtype(name).name
        if kind not in DTYPES or min([1, *row]) < 1:
            raise ArtifactError(
                f"{path}: its tensor {name} is {kind} {[batch, *row]}, which is not supported; export the model again, then {again}"
            )
        is_input = engine.get_tensor_mode(name).name == "INPUT"
        tensors[name] = Tensor(tuple(row), np.dtype(DTYPES[kind]), is_input)
        batches.add(batch)
    _refuse_other_tensors(tensors, path, spec, again)
    if len(batches) != 1:
        raise ArtifactError(f"{path}: its tensors have different batch sizes: {sorted(batches)}; {again}")
    (batch,) = batches
    if batch != -1:
        return EngineIO(tensors, ((batch, batch),), dynamic=False)
    profiles = []
    for index in range(engine.num_optimization_profiles):
        low, _, high = engine.get_tensor_profile_shape("images", index)
        profiles.append((tuple(low)[0], tuple(high)[0]))
    return EngineIO(tensors, tuple(profiles), dynamic=True)


def _refuse_other_tensors(tensors: Mapping[str, Tensor], path: Path, spec: InputSpec, again: str) -> None:
    size = (spec.height, spec.width)
    row, kind = ((*size, 3), np.uint8) if spec.layout == "uint8-nhwc" else ((3, *size), np.float32)
    expected = {"images": Tensor(row, np.dtype(kind), is_input=True)}
    features, cameras = tensors.get("features"), tensors.get("camera_ids")
    if features is not None and len(features.row) == 1:
        expected["features"] = Tensor(features.row, np.dtype(np.float32), is_input=False)
    if spec.camera == "input":
        wide = cameras is not None and cameras.dtype == np.int64
        expected["camera_ids"] = Tensor((), np.dtype(np.int64 if wide else np.int32), is_input=True)
    if tensors != expected or features is None:
        raise ArtifactError(
            f"{path}: has {_words(tensors)}, but its manifest says {_words(expected)} and features float32 (B, D); {again}"
        )


def _words(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tensor.dtype} (B, {str(tensor.row)[1:]}" for name, tensor in tensors.items())


def batch_sizes(low: int, high: int) -> tuple[int, ...]:
    """Return the batch sizes to run in a profile that allows every size from `low` to `high`.

    They are `low`, `high` and those of 1, 2, 3, 4, 6, 8, 12, 16, 24 ... that lie between them. A batch of another size is padded to
    the next larger of these sizes; less than a third of the padded batch is padding. So only few sizes need an execution context
    and a CUDA graph.
    """
    steps = (size for power in range(high.bit_length()) for size in (2**power, 3 * 2**power))
    return tuple(sorted({low, high} | {size for size in steps if low < size < high}))


def choices(engines: Sequence[EngineIO]) -> dict[int, tuple[int, int]]:
    """Return {batch size: (index of the engine, index of the profile) that runs it}, for several engines of one model.

    If several profiles allow a size, the profile with the smallest range runs it.
    """
    chosen: dict[int, tuple[int, int]] = {}
    ranges = [
        (high - low, number, index, low, high)
        for number, engine in enumerate(engines)
        for index, (low, high) in enumerate(engine.profiles)
    ]
    for _, number, index, low, high in sorted(ranges):
        for size in batch_sizes(low, high):
            chosen.setdefault(size, (number, index))
    return chosen


def split(count: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Return the batches in which to run `count` images, each as (number of images, its batch size out of `sizes`).

    The largest size is used as often as it can be filled. The remaining images run at the smallest size that holds them all.
    """
    full, rest = divmod(count, max(sizes))
    parts = [(max(sizes), max(sizes))] * full
    return parts + ([(rest, min(size for size in sizes if size >= rest))] if rest else [])


def refuse_input(
    tensors: Mapping[str, Tensor], images: NDArray[Any], camera_ids: NDArray[Any] | None
) -> None:
    """Raise ConfigError unless the engine with these `tensors` takes `images` (B, ...) and `camera_ids` (B,) or no ids (None)."""
    tensor = tensors["images"]
    if images.shape[1:] != tensor.row or images.dtype != tensor.dtype:
        raise ConfigError(
            f"the engine takes {_words({'images': tensor})}, not {images.dtype} {images.shape}; convert the images"
        )
    if (camera_ids is None) == ("camera_ids" in tensors):
        expected = "no camera ids" if camera_ids is not None else "one camera id per image"
        raise ConfigError(f"the engine takes {expected}; call it with {expected}")
    if camera_ids is not None and (camera_ids.shape != images.shape[:1] or camera_ids.dtype.kind not in "iu"):
        raise ConfigError(
            f"the engine takes integer camera ids ({len(images)},), not {camera_ids.dtype} {camera_ids.shape}"
        )
