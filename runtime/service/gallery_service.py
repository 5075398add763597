"""`GalleryService`: the work behind the routes, on one gallery and one model. Of HTTP, it knows only the refusals."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, DataError
from runtime.gallery.api import Gallery, open_gallery
from runtime.gallery.lookup.filters import ALL, Filters, Search
from runtime.gallery.space import same_space, space_of
from runtime.gallery.store.rows import Row
from runtime.images.thumbnails import jpeg_of
from runtime.model import Model
from runtime.options.argument_types import camera_policy
from runtime.options.store_place import store_place
from runtime.service.answers import hit_json, info_json, row_json
from runtime.service.batching import Crops
from runtime.service.forms import AddForm, SearchForm
from runtime.service.pictures import Crop
from runtime.service.problems import Refused
from runtime.service.settings import Settings

# How near the feature of the test pattern has to stay to that at the start, as a cosine.
READY = 0.999
NO_ROW = "There is no such row; it may have been deleted."


def open_service(model: Model, settings: Settings) -> GalleryService:
    """Open the gallery of a service, or make an empty one for the model.

    Raises ArtifactError for a gallery of another model, and the errors of `open_gallery`.
    """
    place = store_place(settings.store)
    try:
        gallery = open_gallery(place)
    except DataError:
        # there is none yet
        gallery = open_gallery(place, model=model)
    policy = camera_policy(gallery.space.camera)
    try:
        same_space(gallery.space, space_of(model.artifact, policy), str(place))
    except ArtifactError:
        gallery.close()
        raise
    return GalleryService(gallery, model, policy, settings)


class GalleryService:
    """One gallery and one model, with what the routes do with them. Its methods can be called from several threads.

    `policy` is the camera policy of the gallery.
    """

    def __init__(self, gallery: Gallery, model: Model, policy: str | int, settings: Settings) -> None:
        self.gallery, self.model, self.policy, self.settings = gallery, model, policy, settings
        # says that it is the same gallery, but not where it is
        place = store_place(settings.store)
        where = os.path.realpath(place) if isinstance(place, Path) else str(place)
        self.name = hashlib.sha256(os.fsencode(f"{where} {gallery.space.to_text()}")).hexdigest()[:16]
        self._counts: dict[Filters, tuple[Any, int]] = {}
        self._counting, self._adding = threading.Lock(), threading.Lock()
        # a fixed test pattern, whose feature is kept to see whether the model still works
        spec = model.artifact.spec
        random = np.random.default_rng(0)
        self.pattern: NDArray[np.uint8] = random.integers(0, 256, (spec.height, spec.width, 3), np.uint8)
        self.pattern_feature = self.embed([self.pattern], [-1])[0]

    def embed(self, crops: Crops, cameras: Sequence[int]) -> NDArray[np.float32]:
        """Return the features (N, D) of crops of the model's size, whose cameras are 0-based numbers (-1: unknown)."""
        camera: Any = list(cameras) if self.policy == "input" else self.policy
        return self.model.embed(crops, color="rgb", camera=camera)

    def ready(self, feature: NDArray[np.float32]) -> bool:
        """Return whether `feature` is that of the test pattern, and the gallery can be read."""
        self.gallery.count(Filters(cameras=()))
        return bool(feature @ self.pattern_feature >= READY)

    def info(self) -> dict[str, Any]:
        """Return what the gallery holds."""
        return info_json(
            self.gallery.info(),
            self.gallery.calibration,
            self.model,
            self.settings.limits,
            gallery=self.name,
            writable=self.gallery.store.writable,
            pictures=self.settings.images is not None,
        )

    def query(self, form: SearchForm, features: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
        """Return the query of a search (D,) and its camera (-1: unknown).

        It is the normalised mean of the `features` (N, D) of its pictures and of those of its stored rows. The camera is known if all
        come from the same one.
        """
        rows, stored = self._rows(form.rows)
        cameras = {-1 if row.camera is None else row.camera for row in rows} | (
            {-1} if len(features) else set()
        )
        mean = np.concatenate([features, stored]).mean(axis=0, dtype=np.float64)
        norm = np.linalg.norm(mean)
        if norm < 1e-6:
            raise Refused(422, "the pictures have nothing in common; search with one of them at a time")
        return np.asarray(mean / norm, np.float32), cameras.pop() if len(cameras) == 1 else -1

    def search(self, form: SearchForm, features: NDArray[np.float32]) -> dict[str, Any]:
        """Return the hits of a search, whose pictures have these features (N, D)."""
        query, camera = self.query(form, features)
        total, searched = self._count(ALL), self._count(form.filters)
        hits = []
        if searched:
            wide = Search(form.filters, form.top + len(form.exclude))
            hits = self.gallery.find(query, wide, [None if camera < 0 else camera])
        kept = [hit for hit in hits if hit.id not in form.exclude]
        if form.threshold is not None:
            kept = [hit for hit in kept if 1 - hit.distance >= form.threshold]
        return {
            "searched": searched,
            "rows": total,
            "hits": [hit_json(hit) for hit in kept[: form.top]],
            "note": None if searched else "no row fits the filters",
        }

    def add(
        self, form: AddForm, crops: Sequence[Crop], features: NDArray[np.float32]
    ) -> list[dict[str, Any]]:
        """Store crops with their features (N, D), and return a row for each; `added` is False for one that was there before."""
        self._writable()
        rows = [
            Row(crop.sha256, "", form.camera, form.time_us, form.track, form.person, crop.name)
            for crop in crops
        ]
        keys = [(row.sha256, row.source) for row in rows]
        # two requests with the same picture must not both say that it is new
        with self._adding:
            before = set(self.gallery.known(keys))
            self.gallery.add_rows(rows, features, [crop.thumbnail for crop in crops])
            stored = self.gallery.known(keys)
        answer = []
        for key in keys:
            answer.append({"row": row_json(*stored[key]), "added": key not in before})
            before.add(key)
        return answer

    def list_rows(self, filters: Filters, *, person: str | None, after: int, limit: int) -> dict[str, Any]:
        """Return at most `limit` rows above the id `after`, and the id to go on after (None: these are the last)."""
        ids = self.gallery.ids(filters, person=person, after=after, limit=limit + 1)
        rows, _ = self._rows(ids[:limit])
        return {
            "rows": [row_json(number, row) for number, row in zip(ids, rows)],
            "next": ids[limit - 1] if len(ids) > limit else None,
        }

    def row(self, number: int) -> dict[str, Any]:
        """Return the row with this id."""
        (row,), _ = self._rows([number])
        return row_json(number, row)

    def set_person(self, number: int, person: str | None) -> dict[str, Any]:
        """Change the person of a row, and return the row."""
        self._writable()
        return row_json(number, self._found(partial(self.gallery.set_person, number, person)))

    def delete_row(self, number: int) -> None:
        """Delete the row with this id."""
        if not self.delete(id=number):
            raise Refused(404, NO_ROW)

    def delete(self, **what: Any) -> int:
        """Delete the rows that `what`, as in `Gallery.delete`, selects, and return their number."""
        self._writable()
        return self.gallery.delete(**what)

    def picture(self, number: int) -> bytes | None:
        """Return a small JPEG file of a row: from the stored path below the folder of images, else the stored one, or None."""
        (row,), _ = self._rows([number])
        if (path := self._below(row.path)) is not None:
            try:
                return jpeg_of(path, row.sha256)
            except DataError:
                # the file is gone, has changed or is damaged: the thumbnail was stored for this case
                pass
        return self.gallery.thumbnail(number)

    def _below(self, path: str) -> str | None:
        """Return the real path of a stored path, if that lies below the folder of images."""
        if self.settings.images is None or not os.path.isabs(path):
            return None
        real = Path(os.path.realpath(path))
        return str(real) if real.is_relative_to(os.path.realpath(self.settings.images)) else None

    def _rows(self, ids: Sequence[int]) -> tuple[list[Row], NDArray[np.float32]]:
        if not ids:
            return [], np.empty((0, self.gallery.space.dim), np.float32)
        found: tuple[list[Row], NDArray[np.float32]] = self._found(partial(self.gallery.rows, ids))
        return found

    def _found(self, look: Callable[[], Any]) -> Any:
        try:
            return look()
        except DataError:
            raise Refused(404, NO_ROW) from None

    def _writable(self) -> None:
        if not self.gallery.store.writable:
            raise Refused(409, "The gallery is read-only.")

    def _count(self, filters: Filters) -> int:
        """Return the number of rows that fit the filters, which is counted again only after the gallery has changed."""
        state = self.gallery.store.stamp()
        with self._counting:
            known = self._counts.get(filters)
        if known is None or known[0] != state:
            known = state, self.gallery.count(filters)
            with self._counting:
                if len(self._counts) > 100:
                    self._counts.clear()
                self._counts[filters] = known
        return known[1]
