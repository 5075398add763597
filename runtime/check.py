"""Load the check crops that travel with an artifact, and run its gate on them."""

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

# Hundreds of crops of any size fit into this; a file that unpacks to more would fill the memory of a small device.
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Check:
    """N crops (N, H, W, 3) uint8 RGB, their camera ids (N,) int64, and the torch model's features (N, D) float32, L2-normalised."""

    images: NDArray[np.uint8]
    camera_ids: NDArray[np.int64]
    features: NDArray[np.float32]


def load_check(onnx: Path, manifest: Mapping[str, Any]) -> Check:
    """Load the check crops that lie beside the ONNX file with this manifest, after their hash matched.

    Raises ArtifactError when the file has none, or they are missing, changed or not what the manifest's input and output say.
    """
    entry = manifest.get("check")
    name = entry.get("file") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str) or Path(name).name != name:
        raise ArtifactError(f"{onnx}: has no check crops; export it again with export_onnx.py --check ROOT")
    path = onnx.parent / name
    if not path.is_file():
        raise ArtifactError(
            f"{path}: no such file; copy it from where {onnx.name} was exported, or export again"
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
        raise ArtifactError(f"{path}: its arrays are not what the manifest describes; export the model again")


def run_check(check: Check, session: Session, spec: InputSpec, *, batch: int = 8) -> NDArray[np.float32]:
    """Return the artifact's features (N, D) float32 of the check crops."""
    parts = []
    for at in range(0, len(check.images), batch):
        images = to_input(check.images[at : at + batch], spec)
        parts.append(session(images, check.camera_ids[at : at + batch] if spec.camera == "input" else None))
    return np.concatenate(parts)


def judge(
    check: Check, session: Session, spec: InputSpec, limits: Limits, *, batch: int = 8
) -> dict[str, Any]:
    """Run the gate on a session and return {passed, failures, limits, numbers}; without numbers when features are not finite."""
    verdict: dict[str, Any] = {"limits": dataclasses.asdict(limits)}
    try:
        numbers = compare(check.features, run_check(check, session, spec, batch=batch), gap=limits.gap)
    except NonFiniteFeatures as error:
        return verdict | {"passed": False, "failures": [str(error)]}
    reasons = failures(numbers, limits)
    return verdict | {"passed": not reasons, "failures": reasons, "numbers": numbers}
