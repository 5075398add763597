"""`Features`, the features of images with their files, persons and cameras, and functions that save and load them. Runs no model."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
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

# The `kind` in the manifest of a file that a stopped extraction saved.
PARTIAL = "partial features"
KEYS = ("features", "paths", "pids", "camids", "model")
# The method that resizes images for the model, as feature files record it. Earlier versions also had the method "fast", which
# gives different features. `load_features` refuses a file that was made with it, so that the two are never ranked together.
RESIZE = "exact"
# The arrays that only features of the boxes of a video have, with the type of their values.
VIDEO_ARRAYS = {"frames": np.int64, "times": np.float64, "tracks": np.int64}
# The packages whose versions can change the values of the features.
TOOLS = (
    "numpy",
    "Pillow",
    "simplejpeg",
    "av",
    *PACKAGES,
)


@dataclass(frozen=True)
class Features:
    """The features of N images from one model, with the file, person and camera of each image.

    `features` (N, D) are float32 and L2-normalised, and `paths` are the N image files. `pids` (N,) are int64, -1 for unknown people
    and junk; `camids` (N,) are int64 and 0-based, -1 if unknown. `model` is the sha256 of the model file, and `layout` the data set
    layout by which the file names were read, or None. `camera` is the camera policy of the extraction: "input", "mean", "none" or a
    camera id as text. `images` has the sha256 of each image file (N,), or is empty. `backend` names the library that ran the model
    (key `engine` in the file); it is None if that was not recorded. `projection` is the sha256 of the projection that the model ends
    with, or None. `skipped` lists the images that could not be used, and `notes` are warnings for the user. These two are not saved in
    the file.

    Features of the boxes of a video also have the next three; for image files they are None. `frames` (N,) are int64, the 0-based
    numbers of the frames. `times` (N,) are float64, in seconds, NaN if unknown. `tracks` (N,) are int64, the numbers that a tracker
    gave, -1 if unknown. The path of a box is that of the video with the frame and the number of the box in the frame:
    `street.mp4#frame=12&box=3`.
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
    projection: str | None = None
    frames: NDArray[np.int64] | None = None
    times: NDArray[np.float64] | None = None
    tracks: NDArray[np.int64] | None = None
    skipped: tuple[Skipped, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)


def partial_path(path: Path) -> Path:
    """Return the file that gets the features if an extraction is stopped before it writes `path`: `q.npz` -> `q.partial.npz`.

    The name differs, so that partial features never replace a complete file.
    """
    return path.with_suffix(f".partial{path.suffix}")


def save_features(path: Path | str, features: Features, *, total: int | None = None) -> None:
    """Write `features` to an .npz file at `path`, and its manifest `<path>.json` beside it.

    The file contains no pickles. If the write is interrupted, an earlier file at `path` stays as it was.

    `total` None marks the file as complete. For a stopped extraction, `total` is the number of images that should have been
    extracted; `load_features` then loads the file only with `partial`. Raises StorageError or OSError when the file cannot be
    written.
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
        "projection": np.array(features.projection or ""),
        "resize": np.array(RESIZE),
        "images": np.array(features.images, dtype=np.bytes_),
    }
    video = {name: getattr(features, name) for name in VIDEO_ARRAYS}
    arrays |= {name: values for name, values in video.items() if values is not None}
    content = {
        "kind": "features" if total is None else PARTIAL,
        "asked": len(features.paths) if total is None else total,
        "parent": features.model,
        "images": len(features.paths),
        "dim": int(features.features.shape[1]),
        "layout": features.layout,
        "camera": features.camera,
        "engine": features.backend,
        "projection": features.projection,
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
    """Load the features saved at `path`, after the file's sha256 matched its manifest.

    With `partial`, a file that a stopped extraction saved is loaded too. Raises ArtifactError for such a file without `partial`, and
    when the file or its manifest is missing, changed, of another kind or inconsistent.
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
        # `save_features` does not compress, so the arrays are never larger than the file
        arrays = read_npz(path, most_bytes=path.stat().st_size)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: unreadable ({error}); extract again to make a new file") from None
    if missing := [key for key in KEYS if key not in arrays]:
        raise ArtifactError(f"{path}: lacks the arrays {missing}; extract again to make a new file")
    if not _consistent(arrays):
        raise ArtifactError(
            f"{path}: its arrays do not form L2-normalised features with one image path each; extract again to make a new file"
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
        projection=str(arrays.get("projection", "")) or None,
        frames=_values(arrays, "frames"),
        times=_values(arrays, "times"),
        tracks=_values(arrays, "tracks"),
    )


def select_rows(features: Features, rows: NDArray[np.int64]) -> Features:
    """Return the features of the images with the numbers `rows` (n,), in their order. `skipped` and `notes` are unchanged."""
    return replace(
        features,
        features=features.features[rows],
        paths=tuple(features.paths[row] for row in rows),
        pids=features.pids[rows],
        camids=features.camids[rows],
        images=tuple(features.images[row] for row in rows) if features.images else (),
        frames=None if features.frames is None else features.frames[rows],
        times=None if features.times is None else features.times[rows],
        tracks=None if features.tracks is None else features.tracks[rows],
    )


def duplicates(features: Features) -> int:
    """Return how many image files are exact copies of an earlier one; 0 if `features` has no hashes of the image files."""
    return len(features.images) - len(set(features.images))


def same_model(a: Features, b: Features) -> None:
    """Raise ArtifactError unless `a` and `b` come from the same model file.

    Without this check, features of two models would be ranked without an error, but the ranking would be random.
    """
    if a.model != b.model:
        raise ArtifactError(
            f"features of different models (sha256 {a.model[:12]} and {b.model[:12]}) cannot be compared; "
            "extract both with the same model"
        )


def _values(arrays: dict[str, NDArray[Any]], name: str) -> NDArray[Any] | None:
    """Return one of the VIDEO_ARRAYS in its type, or None if the file does not have it."""
    return arrays[name].astype(VIDEO_ARRAYS[name]) if name in arrays else None


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
        and all(
            arrays[name].shape == count and arrays[name].dtype.kind in ("f" if kind is np.float64 else "iu")
            for name, kind in VIDEO_ARRAYS.items()
            if name in arrays
        )
        and images.shape in ((0,), count)
        and images.dtype.kind == "S"
        and bool(np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3))
    )
