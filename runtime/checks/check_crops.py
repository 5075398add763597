"""Run the quality gate of an artifact on its check crops: images with the torch model's features, saved beside the ONNX file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, NonFiniteFeatures
from runtime.files.manifest import sha256
from runtime.files.npz import read_npz
from runtime.gate import Limits, compare, failures
from runtime.images.preprocess import to_input
from runtime.session import Session
from runtime.spec import InputSpec

# The most bytes to unpack from a file of check crops. Hundreds of crops fit into it, and a small device has the memory for it.
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Check:
    """The check crops of an artifact, with the features that the torch model gave for them.

    `images` are N crops at the model's input size, (N, H, W, 3) uint8 RGB. `camera_ids` (N,) int64 are the values for the model's
    input `camera_ids`; a model without this input ignores them. `features` (N, D) float32 are L2-normalised.
    """

    images: NDArray[np.uint8]
    camera_ids: NDArray[np.int64]
    features: NDArray[np.float32]


def load_check(onnx: Path, manifest: Mapping[str, Any]) -> Check:
    """Load the check crops of the ONNX file at `onnx`, after their sha256 matched the one in its `manifest`.

    Raises ArtifactError if the manifest names no check crops, or if they are missing, changed or of other shapes than the
    manifest says.
    """
    entry = manifest.get("check")
    name = entry.get("file") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str) or Path(name).name != name:
        raise ArtifactError(
            f"{onnx}: has no check crops; export the model again with export_onnx.py --check ROOT, which takes them from a data set"
        )
    path = onnx.parent / name
    if not path.is_file():
        raise ArtifactError(
            f"{path}: no such file; copy it from where {onnx.name} was exported, or export the model again"
        )
    if sha256(path) != entry.get("sha256"):
        raise ArtifactError(f"{path}: not the check crops of {onnx.name} (sha256 differs); export it again")
    try:
        stored = read_npz(path, most_bytes=MOST_BYTES)
        check = Check(stored["images"], stored["camera_ids"], stored["features"])
    except (OSError, KeyError, ValueError) as error:
        raise ArtifactError(f"{path}: unreadable check crops ({error}); export {onnx.name} again") from None
    _refuse_other_shapes(check, path, manifest)
    return check


def _refuse_other_shapes(check: Check, path: Path, manifest: Mapping[str, Any]) -> None:
    spec = InputSpec.from_json(manifest["input"], str(path))
    count = len(check.images) if check.images.ndim else 0
    fitting = (
        check.images.dtype == np.uint8
        and check.images.shape == (count, spec.height, spec.width, 3)
        and check.camera_ids.dtype == np.int64
        and check.camera_ids.shape == (count,)
        and check.features.dtype == np.float32
        and check.features.shape == (count, manifest["output"].get("dim"))
    )
    if not fitting:
        raise ArtifactError(
            f"{path}: the types or shapes of its arrays are not what the manifest describes; export the model again"
        )


def run_check(check: Check, session: Session, spec: InputSpec, *, batch: int = 8) -> NDArray[np.float32]:
    """Return the features (N, D) float32 that `session` gives for the check crops, run with `batch` crops at a time."""
    parts = []
    for at in range(0, len(check.images), batch):
        images = to_input(check.images[at : at + batch], spec)
        parts.append(session(images, check.camera_ids[at : at + batch] if spec.camera == "input" else None))
    return np.concatenate(parts)


def judge(
    check: Check, session: Session, spec: InputSpec, limits: Limits, *, batch: int = 8
) -> dict[str, Any]:
    """Run the quality gate on `session` and return its verdict {passed, failures, limits, numbers}.

    `passed` is a bool, and `failures` lists the reasons why the gate fails. `numbers` are the measured differences between the
    features of the session and those of the torch model (the result of `runtime.gate.compare`); the entry is missing if the session
    gave NaN or infinite features. The parameter `limits` has the bounds for these numbers; the verdict repeats them as a dict.
    `batch` is the number of crops per run.
    """
    verdict: dict[str, Any] = {"limits": dataclasses.asdict(limits)}
    try:
        numbers = compare(check.features, run_check(check, session, spec, batch=batch), gap=limits.gap)
    except NonFiniteFeatures as error:
        return verdict | {"passed": False, "failures": [str(error)]}
    reasons = failures(numbers, limits)
    return verdict | {"passed": not reasons, "failures": reasons, "numbers": numbers}
