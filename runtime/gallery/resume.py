"""Extract features through a store, so that a stopped extraction resumes where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.console import note
from runtime.datasets import MAX_BAD
from runtime.errors import ArtifactError, DataError, StorageError
from runtime.extraction.camera import extract_with_policy
from runtime.extraction.extract import collect
from runtime.extraction.parts import ImageItem, Part
from runtime.extraction.preset import Stream, streamer
from runtime.features import Features
from runtime.gallery.api import Gallery
from runtime.gallery.ingest import Buffer, Labels, digest_files
from runtime.gallery.local import open_local
from runtime.gallery.space import space_of
from runtime.gallery.store.rows import Row
from runtime.gallery.store.schema import DATABASE
from runtime.gallery.store.segments import CODES, SUFFIX
from runtime.gallery.store.store import LOCK
from runtime.images.sources import Images
from runtime.model import Model
from runtime.options.cluster import Cluster

# Rows that are read from the store at a time.
BLOCK = 1024


def resume_folder(out: Path) -> Path:
    """Return the folder that keeps the finished images of an extraction to `out`: `q.npz` -> `q.resume`."""
    return out.with_suffix(".resume")


def embed_files_resumed(
    model: Model,
    images: Images,
    *,
    out: Path,
    cluster: Cluster | None = None,
    camera: str | int | None = None,
    workers: int | None = None,
    max_bad: float = MAX_BAD,
    progress: Callable[[int], None] = lambda images: None,
) -> Features:
    """Return the features of image files like `Model.embed_files`, and keep those of finished batches in a folder meanwhile.

    `out` is the file in which the caller saves the features. The folder is `resume_folder(out)`; the caller removes it afterwards. If
    it holds features from an earlier call, with the same model, backend, batch size and camera embedding, the images whose bytes
    are the same are not extracted again. Each batch is filled to the same size, so the features equal those of a run without a stop,
    bit for bit. With a `cluster`, Ray extracts the images of a model that was opened with the preset "throughput", to the same
    features, and this process keeps them. Raises the errors of `Model.embed_files` and of the cluster, and StorageError when the disk
    fails or is full, or when the folder holds files of something else.
    """
    artifact = model.artifact
    opened = streamer(
        artifact, model.preset, batch=model.batch, workers=workers, allow_ungated=True, cluster=cluster
    )
    with closing(_open(model, images, out, camera)) as gallery, opened as stream:
        kind = f"{artifact.backend} {model.preset} {model.batch}"
        return extract_with_policy(
            partial(_extract, artifact, gallery, stream, kind),
            artifact,
            images,
            policy=camera,
            max_bad=max_bad,
            progress=progress,
        )


def _open(model: Model, images: Images, out: Path, camera: str | int | None) -> Gallery:
    space = space_of(model.artifact, camera, images.dataset_name)
    folder = resume_folder(out)
    if others := _other_files(folder):
        raise StorageError(
            f"{folder}: holds {others[0]}, but the finished images of an extraction are kept there until it ends; move the folder, or "
            "choose another `out` (--out)"
        )
    try:
        return Gallery(open_local(folder, space))
    except (ArtifactError, StorageError, DataError) as error:
        if not folder.is_dir():
            raise StorageError(f"{out}: cannot be written ({error})") from None
        note(f"the extraction starts from the first image, because {error}")
        shutil.rmtree(folder, ignore_errors=True)
        return Gallery(open_local(folder, space))


def _other_files(folder: Path) -> list[str]:
    """Return the names of what no gallery has: the folder is removed in the end, and nothing of somebody else with it."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(
        name
        for name in names
        if not name.startswith(DATABASE) and name != LOCK and not name.endswith((SUFFIX, CODES))
    )


def _extract(
    artifact: Artifact,
    gallery: Gallery,
    stream: Stream,
    kind: str,
    items: Sequence[ImageItem],
    *,
    camera_ids: NDArray[np.int64] | None = None,
    max_bad: float = MAX_BAD,
    progress: Callable[[int], None] = lambda images: None,
) -> Features:
    """The function that `extract_with_policy` calls: features from the store, then from the model."""
    # The features of the same bytes differ with the backend, the batch size and the camera embedding.
    sources = [kind if camera_ids is None else f"{kind} {camera_ids[place]}" for place in range(len(items))]
    results = _parts(gallery, stream, items, sources, camera_ids)
    return collect(artifact, items, results, max_bad=max_bad, progress=progress)


def _parts(
    gallery: Gallery,
    stream: Stream,
    items: Sequence[ImageItem],
    sources: Sequence[str],
    camera_ids: NDArray[np.int64] | None,
) -> Generator[Part, None, None]:
    stored: dict[int, int] = {}
    if len(gallery):
        digests = digest_files([item.path for item in items])
        keys = {place: (digest, sources[place]) for place, digest in enumerate(digests) if digest}
        known = gallery.known(set(keys.values()))
        stored = {place: known[key][0] for place, key in keys.items() if key in known}
        if stored:
            note(f"resuming: {len(stored)} of {len(items)} images were extracted before")
    places = sorted(stored)
    for start in range(0, len(places), BLOCK):
        some = places[start : start + BLOCK]
        rows, features = gallery.rows([stored[place] for place in some])
        yield Part(tuple(some), features, tuple(row.sha256 for row in rows), ((),) * len(some), ())
    missing = [place for place in range(len(items)) if place not in stored]
    if not missing:
        return
    buffer = Buffer(gallery, Labels())
    ids_of = None if camera_ids is None else camera_ids[missing]
    try:
        with closing(stream([items[place] for place in missing], ids_of)) as parts:
            for part in parts:
                positions = tuple(missing[at] for at in part.positions)
                rows = [Row(digest, sources[at]) for at, digest in zip(positions, part.images)]
                buffer.put(rows, part.features)
                yield replace(
                    part,
                    positions=positions,
                    skipped=tuple((missing[at], image) for at, image in part.skipped),
                )
    finally:
        buffer.flush()
