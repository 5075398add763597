"""Features with the names, identities and cameras they belong to, in memory and in a file. Runs no model."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError
from runtime.files.manifest import making_command, read_manifest, replacing, tools, write_manifest
from runtime.files.npz import read_npz
from runtime.images.skipped import Skipped
from runtime.options.backends import PACKAGES
from runtime.stopping import deferred

# The kind of file that a stopped extraction leaves.
PARTIAL = "partial features"
KEYS = ("features", "paths", "pids", "camids", "model")
# How images get the model's size, as files of features record it. Earlier versions had a second way, "fast", which gives other
# numbers: a file of such features is refused when it is read, and so is never ranked together with features of this kind.
RESIZE = "exact"
# What decides about the numbers besides the model.
TOOLS = (
    "numpy",
    "Pillow",
    "simplejpeg",
    *PACKAGES,
)


@dataclass(frozen=True)
class Features:
    """The features of N images from one model, with what is known of each image.

    `features` (N, D) are float32 and L2-normalised, and `paths` are the N image files. `pids` (N,) are int64, -1 for unknown people
    and junk; `camids` (N,) are int64 and 0-based, -1 if unknown. `model` is the sha256 of the artifact, and `layout` the data set
    layout by which the file names were read, or None. `camera` describes the camera policy. `images` has the sha256 of each image
    file (N,), or is empty. `backend` ran the model (key `engine` in the file); it is None if that was not recorded. `skipped`
    images and `notes` for the user are not saved.
    """

    features: NDArray[np.float32]
    paths: tuple[str, ...]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    model: str
    layout: str | None = None
    camera: str = "none"
    images: tuple[str, ...] = ()
    backend: str | None = None
    skipped: tuple[Skipped, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)


def partial_path(path: Path) -> Path:
    """Return where the features of a stopped extraction go, so that they never replace a complete file: `q.npz` -> `q.partial.npz`."""
    return path.with_suffix(f".partial{path.suffix}")


def save_features(path: Path | str, features: Features, *, total: int | None = None) -> None:
    """Write a plain `.npz` (no pickle) and its manifest; an interrupted write leaves the old file.

    `total` is the number of images that a stopped extraction was to extract. Such a file is of another kind (`load_features`).
    Raises StorageError or OSError when the file cannot be written.
    """
    arrays: dict[str, Any] = {
        "features": features.features,
        # Fixed-width unicode keeps any name, also one that is not UTF-8 (surrogate escapes), without pickle.
        "paths": np.array(features.paths, dtype=np.str_),
        "pids": features.pids,
        "camids": features.camids,
        "model": np.array(features.model),
        "layout": np.array(features.layout or ""),
        "camera": np.array(features.camera),
        "engine": np.array(features.backend or ""),
        "resize": np.array(RESIZE),
        "images": np.array(features.images, dtype=np.bytes_),
    }
    content = {
        "kind": "features" if total is None else PARTIAL,
        "asked": len(features.paths) if total is None else total,
        "parent": features.model,
        "images": len(features.paths),
        "dim": int(features.features.shape[1]),
        "layout": features.layout,
        "camera": features.camera,
        "engine": features.backend,
        "resize": RESIZE,
        "tools": tools(*TOOLS),
    }
    with ExitStack() as committing:
        with replacing(path) as temporary:
            with open(temporary, "wb") as file:
                np.savez(file, **arrays)
            committing.enter_context(deferred())
        write_manifest(path, content)


def load_features(path: Path | str, *, partial: bool = False) -> Features:
    """Load the features saved at `path`, after its sha256 matched its manifest; those of a stopped extraction only with `partial`.

    Raises ArtifactError when the file or its manifest is missing, changed, of another kind or inconsistent.
    """
    path = Path(path)
    if not path.is_file():
        wanted = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")
        raise ArtifactError(f"{path}: no such file; make features with: {making_command(wanted)}")
    manifest = read_manifest(path)
    kind = manifest.get("kind")
    if kind == PARTIAL and not partial:
        raise ArtifactError(
            f"{path}: holds a stopped extraction of {manifest.get('images')} of {manifest.get('asked')} images; run extract again, or "
            "load it with partial=True (--allow-partial)"
        )
    if kind not in ("features", PARTIAL):
        raise ArtifactError(
            f"{path}: a file of kind {kind!r}, not features; give the .npz that extract wrote"
        )
    try:
        # extract compresses nothing, so no array unpacks to more than the file's size
        arrays = read_npz(path, most_bytes=path.stat().st_size)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: unreadable ({error}); extract again") from None
    if missing := [key for key in KEYS if key not in arrays]:
        raise ArtifactError(f"{path}: lacks {missing}; extract again")
    if not _consistent(arrays):
        raise ArtifactError(
            f"{path}: its arrays are not L2-normalised features and their names; extract again"
        )
    if (resize := str(arrays.get("resize", RESIZE))) != RESIZE:
        raise ArtifactError(
            f"{path}: its images were resized with {resize!r:.40}, which this version cannot do; extract them again"
        )
    return Features(
        features=arrays["features"],
        paths=tuple(str(name) for name in arrays["paths"]),
        pids=arrays["pids"].astype(np.int64),
        camids=arrays["camids"].astype(np.int64),
        model=str(arrays["model"]),
        layout=str(arrays.get("layout", "")) or None,
        camera=str(arrays.get("camera", "none")),
        images=tuple(
            digest.decode(errors="replace") for digest in arrays.get("images", np.empty(0, np.bytes_))
        ),
        backend=str(arrays.get("engine", "")) or None,
    )


def duplicates(features: Features) -> int:
    """Count the images whose files equal another image's file, byte for byte."""
    return len(features.images) - len(set(features.images))


def same_model(a: Features, b: Features) -> None:
    """Raise ArtifactError unless both come from one artifact, because features of two models rank at random without an error."""
    if a.model != b.model:
        raise ArtifactError(
            f"features of different models ({a.model[:12]} and {b.model[:12]}) cannot be compared; "
            "extract both with the same model"
        )


def _consistent(arrays: dict[str, NDArray[Any]]) -> bool:
    features, paths = arrays["features"], arrays["paths"]
    count = (len(features),) if features.ndim == 2 else ()
    images = arrays.get("images", np.empty(0, np.bytes_))
    return (
        features.ndim == 2
        and features.dtype == np.float32
        and paths.shape == count
        and paths.dtype.kind == "U"
        and all(arrays[ids].shape == count and arrays[ids].dtype.kind in "iu" for ids in ("pids", "camids"))
        and images.shape in ((0,), count)
        and images.dtype.kind == "S"
        and bool(np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3))
    )
