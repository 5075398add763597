"""Render Anny-ReID: images of rendered identities in the Market-1501 layout, with exact annotations.

An identity depends only on the seed and on its pid. An image depends only on its identity, its camera and the number in its file name.
A larger data set therefore contains a smaller one of the same seed.

The file `anny.json` holds the version of this generator, the plan, and for each image the pid, the 0-based camid, the visible fraction
of the person (0..1) and the SHA-256. The file `masks.npz` holds one array, `visible`. Its row `visible[n]` is a packed mask of the
pixels that show the person in the n-th image of `anny.json`: `numpy.unpackbits(visible[n]).reshape(128, 64)`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.people import portrait
from benchmarks.people.arrays import Bools, Floats, floats
from benchmarks.people.person import figure, garments
from benchmarks.people.person.loading import load_bodies
from benchmarks.people.person.surface import Noise
from benchmarks.people.place import camera as cameras
from benchmarks.people.place import occlusion
from benchmarks.people.place.scene import Scenery
from benchmarks.people.plan import FIRST_TEST_PID, Plan
from runtime.errors import ConfigError
from runtime.extraction.processes import each_apart
from runtime.stopping import Stopped, stopped

VERSION = 1
TRAIN, QUERY, GALLERY, UNOCCLUDED = "bounding_box_train", "query", "bounding_box_test", "twins"
OCCLUDED_SHARE = 0.1
_PASSERS_BY = 12
_STREAM = {"identity": 1, "image": 2, "query": 3, "passer_by": 4}


@dataclass(frozen=True)
class RenderedImage:
    """One rendered image: its path in the data set, its JPEG bytes and the visible fraction of the person (0..1).

    `camid` is the 0-based camera. `mask` (128, 64) bool is true at the pixels that show the person. `unoccluded` is the path of an
    image of the same person in the same pose with nothing in front. It is None for images that are not queries.
    """

    path: str
    pid: int
    camid: int
    jpeg: bytes
    visible: float
    mask: Bools
    unoccluded: str | None = None


@dataclass(frozen=True)
class ImageSlot:
    """An image that is to be rendered: its identity `pid`, its 0-based camera `camid`, and its folder in the data set.

    `number` counts the images of this identity in this camera and folder, from 0.
    """

    pid: int
    camid: int
    number: int
    folder: str


class Renderer:
    """Renders identities of one `seed`. It holds what all of them share: the body model, the scene of each camera and the passers-by.

    `Renderer(seed)` raises ConfigError if a package of the extra `render` is not installed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.model = load_bodies()
        self.noise = Noise(seed)
        self.scenery = [Scenery(camera.scene, seed) for camera in cameras.CAMERAS]
        self._cached_passer_by = lru_cache(maxsize=None)(self._passer_by)

    def person(self, stream: str, number: int) -> figure.Person:
        """Return a person whose body and clothes depend only on the seed, on `stream` and on `number`.

        `stream` is "identity" or "passer_by". The two streams give different people for the same number.
        """
        rng = np.random.default_rng([self.seed, _STREAM[stream], number])
        values = garments.phenotype(rng)
        outfit = garments.outfit(rng, feminine=values["gender"] > 0.5, age=values["age"])
        return figure.Person.dressed(self.model.skeleton, self.model.body(values), outfit)

    def _passer_by(self, camid: int, number: int) -> occlusion.Layer:
        rng = np.random.default_rng([self.seed, _STREAM["passer_by"], 1 + number, camid])
        person = self.person("passer_by", number)
        drawn, _, _ = self._draw(person, cameras.CAMERAS[camid], rng)
        return occlusion.Layer(drawn.colour, drawn.inside)

    def _draw(
        self, person: figure.Person, camera: cameras.Camera, rng: np.random.Generator
    ) -> tuple[portrait.Portrait, cameras.Shot, Floats]:
        meshes = figure.meshes(person, rng)
        shot = cameras.take_shot(camera, rng, person_height=float(meshes[0].vertices[:, 2].max()))
        meshes = portrait.rotated(meshes, shot.yaw)
        drawn = portrait.draw(person, meshes, shot.view, shot.light, noise=self.noise)
        return drawn, shot, portrait.ground_shadow(meshes, shot.view, shot.light)

    def images(self, person: figure.Person, slot: ImageSlot) -> Iterator[RenderedImage]:
        """Render the image of `person` for `slot`, and yield it. For a query, the unoccluded image is yielded first."""
        number = slot.number + 1000 * (slot.folder == QUERY)
        rng = np.random.default_rng([self.seed, _STREAM["image"], slot.pid, slot.camid, number])
        camera = cameras.CAMERAS[slot.camid]
        drawn, shot, shadow = self._draw(person, camera, rng)
        behind, ground = self.scenery[slot.camid].paint(shot.view, rng)
        dim = 1 - np.where(ground, shadow, 0.25 * shadow) * np.clip(shot.light.sun_colour.mean(), 0.3, 0.75)
        unhidden = floats(np.where(drawn.inside[..., None], drawn.colour, behind * dim[..., None]))
        settings = cameras.develop_settings(camera, rng)
        name = f"{slot.pid:04d}_c{slot.camid + 1}s1_{number:06d}_00.jpg"

        def developed(
            path: str, linear: Floats, hidden: Bools, unoccluded: str | None = None
        ) -> RenderedImage:
            jpeg = cameras.encode(cameras.develop(camera, linear, settings), settings.quality)
            blocks = (drawn.inside & ~hidden).reshape(
                cameras.HEIGHT, cameras.SUPER, cameras.WIDTH, cameras.SUPER
            )
            share = round(occlusion.visible_fraction(drawn.inside, hidden), 4)
            mask = blocks.mean((1, 3)) >= 0.5
            return RenderedImage(path, slot.pid, slot.camid, jpeg, share, mask, unoccluded)

        path, unoccluded = f"{slot.folder}/{name}", f"{UNOCCLUDED}/{name}" if slot.folder == QUERY else None
        if unoccluded is not None:
            yield developed(unoccluded, unhidden, np.zeros_like(drawn.inside))
        if unoccluded is None and rng.random() >= OCCLUDED_SHARE:
            yield developed(path, unhidden, np.zeros_like(drawn.inside))
            return
        passer_by = (
            self._cached_passer_by(slot.camid, int(rng.integers(_PASSERS_BY)))
            if rng.random() < 0.25
            else None
        )
        layer = occlusion.occlude(drawn.inside, rng, noise=self.noise, passer_by=passer_by)
        occluded = floats(np.where(layer.mask[..., None], layer.colour, unhidden))
        yield developed(path, occluded, layer.mask, unoccluded)

    def identity(self, plan: Plan, pid: int) -> list[RenderedImage]:
        """Render and return all images of the identity `pid` of the plan. Test identities have pids from FIRST_TEST_PID on."""
        person = self.person("identity", pid)
        camids = range(len(cameras.CAMERAS))
        if pid < FIRST_TEST_PID:
            slots = [
                ImageSlot(pid, camid, n, TRAIN) for camid in camids for n in range(plan.images_per_camera)
            ]
        else:
            slots = [
                ImageSlot(pid, camid, n, GALLERY) for camid in camids for n in range(plan.gallery_per_camera)
            ]
            rng = np.random.default_rng([self.seed, _STREAM["query"], pid])
            query_camids = sorted(int(c) for c in rng.permutation(len(camids))[: plan.query_cameras])
            slots += [ImageSlot(pid, camid, 0, QUERY) for camid in query_camids]
        return [image for slot in slots for image in self.images(person, slot)]


_renderer = lru_cache(maxsize=1)(Renderer)


def _render_identity(task: tuple[Plan, int]) -> list[RenderedImage]:
    plan, pid = task
    return _renderer(plan.seed).identity(plan, pid)


def _render_numbered(task: tuple[int, tuple[Plan, int]]) -> tuple[int, list[RenderedImage]]:
    number, identity = task
    return number, _render_identity(identity)


def _rendered_identities(plan: Plan, jobs: int) -> Iterator[list[RenderedImage]]:
    pids = [*range(1, plan.train_identities + 1)]
    pids += range(FIRST_TEST_PID, FIRST_TEST_PID + plan.test_identities)
    tasks = [(plan, pid) for pid in pids]
    if jobs == 1:
        yield from map(_render_identity, tasks)
        return
    _renderer(plan.seed)  # so that a missing library is reported here and not by a worker process
    # Workers finish in any order; the identities are yielded in the order of their numbers.
    done: dict[int, list[RenderedImage]] = {}
    numbers = iter(range(len(tasks)))
    next_number = next(numbers)
    for number, images in each_apart(_render_numbered, list(enumerate(tasks)), jobs):
        done[number] = images
        while next_number in done:
            yield done.pop(next_number)
            next_number = next(numbers, -1)


def write(
    plan: Plan, out: Path, *, jobs: int = 1, report: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Render the data set of `plan` into the new folder `out` with `jobs` processes, and return the content of its anny.json.

    After each identity, `report` is called with the numbers of finished identities and images. Raises ConfigError if `out` is not
    empty or if the plan is not valid. If a signal stops the rendering, all images are removed and Stopped is raised.
    """
    plan.check()
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out}: this folder is not empty; give a new folder")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for folder in (TRAIN, QUERY, GALLERY, UNOCCLUDED):
        (part / folder).mkdir(parents=True)
    images: dict[str, dict[str, Any]] = {}
    masks: list[npt.NDArray[np.uint8]] = []
    try:
        for done, rendered in enumerate(_rendered_identities(plan, jobs), 1):
            for image in rendered:
                (part / image.path).write_bytes(image.jpeg)
                images[image.path] = _entry(image)
                masks.append(np.packbits(image.mask))
            if report:
                report(done, len(images))
    except KeyboardInterrupt as error:
        shutil.rmtree(part, ignore_errors=True)
        lost = f"none of the {len(images)} rendered images is kept, because an incomplete data set is never written; start again"
        raise Stopped(stopped(error).number, lost) from None
    meta = {
        "schema": 1,
        "kind": "anny-reid",
        "synthetic": True,
        "generator": VERSION,
        "plan": asdict(plan),
        "tools": {name: version(name) for name in ("anny", "numpy", "pillow")},
        "size": [cameras.HEIGHT, cameras.WIDTH],
        "images": images,
    }
    (part / "anny.json").write_text(json.dumps(meta, indent=0, separators=(",", ":")) + "\n")
    np.savez_compressed(part / "masks.npz", visible=np.stack(masks))
    if out.exists():
        out.rmdir()
    part.rename(out)
    return meta


def _entry(image: RenderedImage) -> dict[str, Any]:
    entry: dict[str, Any] = {"pid": image.pid, "camid": image.camid, "visible": image.visible}
    if image.unoccluded is not None:
        entry["twin"] = image.unoccluded
    return entry | {"sha256": hashlib.sha256(image.jpeg).hexdigest()}


def contact_sheet(root: Path, paths: list[str], *, columns: int = 16) -> Image.Image:
    """Return one image that shows the images of the data set in the folder `root` at `paths`, in rows of `columns` images."""
    rows = -(-len(paths) // columns)
    out = Image.new("RGB", (columns * cameras.WIDTH, rows * cameras.HEIGHT))
    for index, path in enumerate(paths):
        with Image.open(root / path) as image:
            out.paste(image, (index % columns * cameras.WIDTH, index // columns * cameras.HEIGHT))
    return out
