"""A small but real ONNX model that travels with its check crops, so that its quality gate can run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from runtime.files.manifest import sha256, write_manifest
from runtime.opening import open_artifact
from runtime.spec import InputSpec
from tests.fakes.tiny_model import SPEC, write_model

CAMERAS = dataclasses.replace(SPEC, camera="input", cameras=3, dataset="anny")


def write_checked_model(
    path: Path, spec: InputSpec = CAMERAS, *, count: int = 40, precision: str = "fp32"
) -> Path:
    """A tiny model that travels with check crops, whose features are ONNX Runtime's."""
    write_model(path, spec, manifest={"precision": precision})
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (count, spec.height, spec.width, 3), dtype=np.uint8)
    ids = np.arange(count) % 5
    features = open_artifact(path, threads=1).run(images, ids if spec.camera == "input" else None)
    crops = path.with_name(f"{path.name}.check.npz")
    np.savez(crops, images=images, camera_ids=ids, features=features)
    manifest = json.loads(Path(f"{path}.json").read_text())
    content = manifest | {"check": {"file": crops.name, "sha256": sha256(crops), "images": count}}
    write_manifest(path, content)
    return path
