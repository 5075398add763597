"""Anny-ReID: rendered identities as pictures in the Market-1501 layout, with what is known exactly about each.

Identity i depends only on (seed, i), a picture only on (seed, i, camera, number): a larger set contains the smaller.
`anny.json` in the root holds generator, seed, and per picture pid, camid (0-based), visible fraction and sha256;
`masks.npz` the visible person of each, in the same order: `numpy.unpackbits(visible[n]).reshape(128, 64)`.
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
from benchmarks.people.person.surface import Noise
from benchmarks.people.place import camera as cameras
from benchmarks.people.place import occlusion
from benchmarks.people.place.scene import Scenery
from runtime.errors import ConfigError
from runtime.extraction.processes import each_apart
from runtime.stopping import Stopped, stopped

VERSION = 1
# test identities are numbered from here, so that they stay the same people whatever the training set's size
FIRST_TEST_PID = 7001
TRAIN, QUERY, GALLERY, TWINS = "bounding_box_train", "query", "bounding_box_test", "twins"
OCCLUDED_SHARE = 0.1
_PASSERS = 12
_STREAM = {"identity": 1, "picture": 2, "query": 3, "passer": 4}


@dataclass(frozen=True)
class Plan:
    """What to render. images_per_camera counts training pictures of an identity in one camera."""

    seed: int
    train_identities: int
    test_identities: int
    images_per_camera: int
    gallery_per_camera: int = 2
    query_cameras: int = 2

    def check(self) -> None:
        """Raise ConfigError for a plan that the file names or the layout cannot hold."""
        if not 0 <= self.train_identities < FIRST_TEST_PID:
            raise ConfigError(
                f"--train-identities {self.train_identities}: 0 to {FIRST_TEST_PID - 1} fit the names"
            )
        if not 0 <= self.test_identities <= 9999 - FIRST_TEST_PID + 1:
            raise ConfigError(
                f"--test-identities {self.test_identities}: 0 to {10000 - FIRST_TEST_PID} fit the names"
            )
        if self.train_identities + self.test_identities == 0:
            raise ConfigError("nothing to render: --train-identities and --test-identities are both 0")
        if not 0 <= self.query_cameras <= len(cameras.CAMERAS) or min(self.images_per_camera, self.seed) < 0:
            raise ConfigError("--query-cameras is 0 to 4; --seed and --images-per-camera are not negative")


@dataclass(frozen=True)
class Picture:
    """One picture: where it goes, its JPEG bytes, the visible fraction and the visible person (128, 64) bool."""

    path: str
    pid: int
    camid: int
    jpeg: bytes
    visible: float
    mask: Bools
    twin: str | None = None


@dataclass(frozen=True)
class Spot:
    """Where a picture belongs: person, camera (0-based), its number there, and the folder of its split."""

    pid: int
    camid: int
    number: int
    folder: str


class Studio:
    """Renders identities of one seed. Holds what they share: body model, places, passers-by."""

    def __init__(self, seed: int) -> None:
        # torch and anny are loaded here, by the one file that needs them
        try:
            from benchmarks.people.person import body
        except ImportError as error:
            raise ConfigError(
                f"rendering people needs {error.name}; install it: pip install '.[render]'"
            ) from error
        self.seed = seed
        self.model = body.load()
        self.noise = Noise(seed)
        self.scenery = [Scenery(camera.scene, seed) for camera in cameras.CAMERAS]
        self._other = lru_cache(maxsize=None)(self._passer)

    def person(self, stream: str, number: int) -> figure.Person:
        """The identity of a number: body and clothes depend on (seed, number) only."""
        rng = np.random.default_rng([self.seed, _STREAM[stream], number])
        values = garments.phenotype(rng)
        worn = garments.outfit(rng, feminine=values["gender"] > 0.5, age=values["age"])
        return figure.Person.dressed(self.model.skeleton, self.model.body(values), worn)

    def _passer(self, camid: int, number: int) -> occlusion.Layer:
        rng = np.random.default_rng([self.seed, _STREAM["passer"], 1 + number, camid])
        person = self.person("passer", number)
        drawn, _, _ = self._draw(person, cameras.CAMERAS[camid], rng)
        return occlusion.Layer(drawn.colour, drawn.inside)

    def _draw(
        self, person: figure.Person, camera: cameras.Camera, rng: np.random.Generator
    ) -> tuple[portrait.Portrait, cameras.Shot, Floats]:
        meshes = figure.meshes(person, rng)
        shot = cameras.shot(camera, rng, tall=float(meshes[0].vertices[:, 2].max()))
        meshes = portrait.turned(meshes, shot.yaw)
        drawn = portrait.draw(person, meshes, shot.view, shot.light, self.noise)
        return drawn, shot, portrait.ground_shadow(meshes, shot.view, shot.light)

    def pictures(self, person: figure.Person, spot: Spot) -> Iterator[Picture]:
        """The picture of a person at a spot; of a query also its unoccluded twin, which comes first."""
        number = spot.number + 1000 * (spot.folder == QUERY)
        rng = np.random.default_rng([self.seed, _STREAM["picture"], spot.pid, spot.camid, number])
        camera = cameras.CAMERAS[spot.camid]
        drawn, shot, shadow = self._draw(person, camera, rng)
        behind, ground = self.scenery[spot.camid].paint(shot.view, rng)
        dim = 1 - np.where(ground, shadow, 0.25 * shadow) * np.clip(shot.light.sun_colour.mean(), 0.3, 0.75)
        whole = floats(np.where(drawn.inside[..., None], drawn.colour, behind * dim[..., None]))
        settings = cameras.develop_settings(camera, rng)
        name = f"{spot.pid:04d}_c{spot.camid + 1}s1_{number:06d}_00.jpg"

        def taken(path: str, linear: Floats, hidden: Bools, twin: str | None = None) -> Picture:
            jpeg = cameras.encode(cameras.develop(camera, linear, settings), settings.quality)
            blocks = (drawn.inside & ~hidden).reshape(
                cameras.HEIGHT, cameras.SUPER, cameras.WIDTH, cameras.SUPER
            )
            share = round(occlusion.visible_fraction(drawn.inside, hidden), 4)
            return Picture(path, spot.pid, spot.camid, jpeg, share, blocks.mean((1, 3)) >= 0.5, twin)

        path, twin = f"{spot.folder}/{name}", f"{TWINS}/{name}" if spot.folder == QUERY else None
        if twin is not None:
            yield taken(twin, whole, np.zeros_like(drawn.inside))
        if twin is None and rng.random() >= OCCLUDED_SHARE:
            yield taken(path, whole, np.zeros_like(drawn.inside))
            return
        other = self._other(spot.camid, int(rng.integers(_PASSERS))) if rng.random() < 0.25 else None
        layer = occlusion.occlude(drawn.inside, rng, noise=self.noise, other=other)
        yield taken(path, floats(np.where(layer.mask[..., None], layer.colour, whole)), layer.mask, twin)

    def identity(self, plan: Plan, pid: int) -> list[Picture]:
        """Every picture of one identity of the plan; pids from FIRST_TEST_PID on are test identities."""
        person = self.person("identity", pid)
        every = range(len(cameras.CAMERAS))
        if pid < FIRST_TEST_PID:
            spots = [Spot(pid, camid, n, TRAIN) for camid in every for n in range(plan.images_per_camera)]
        else:
            spots = [Spot(pid, camid, n, GALLERY) for camid in every for n in range(plan.gallery_per_camera)]
            rng = np.random.default_rng([self.seed, _STREAM["query"], pid])
            chosen = sorted(int(c) for c in rng.permutation(len(every))[: plan.query_cameras])
            spots += [Spot(pid, camid, 0, QUERY) for camid in chosen]
        return [picture for spot in spots for picture in self.pictures(person, spot)]


_studio = lru_cache(maxsize=1)(Studio)


def _work(task: tuple[Plan, int]) -> list[Picture]:
    plan, pid = task
    return _studio(plan.seed).identity(plan, pid)


def _numbered(task: tuple[int, tuple[Plan, int]]) -> tuple[int, list[Picture]]:
    number, work = task
    return number, _work(work)


def _rendered(plan: Plan, jobs: int) -> Iterator[list[Picture]]:
    pids = [*range(1, plan.train_identities + 1)]
    pids += range(FIRST_TEST_PID, FIRST_TEST_PID + plan.test_identities)
    tasks = [(plan, pid) for pid in pids]
    if jobs == 1:
        yield from map(_work, tasks)
        return
    _studio(plan.seed)  # a missing renderer is reported here, not from a worker
    # in the order of the people, whoever is drawn first
    done: dict[int, list[Picture]] = {}
    wanted = iter(range(len(tasks)))
    place = next(wanted)
    for number, pictures in each_apart(_numbered, list(enumerate(tasks)), jobs):
        done[number] = pictures
        while place in done:
            yield done.pop(place)
            place = next(wanted, -1)


def write(
    plan: Plan, out: Path, *, jobs: int = 1, report: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Render a plan into the new folder out and return the contents of its anny.json.

    report(identities done, pictures done) is called after each identity. Raises ConfigError where out has content.
    """
    plan.check()
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; give --out a new folder")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for folder in (TRAIN, QUERY, GALLERY, TWINS):
        (part / folder).mkdir(parents=True)
    images: dict[str, dict[str, Any]] = {}
    masks: list[npt.NDArray[np.uint8]] = []
    try:
        for done, pictures in enumerate(_rendered(plan, jobs), 1):
            for picture in pictures:
                (part / picture.path).write_bytes(picture.jpeg)
                images[picture.path] = _entry(picture)
                masks.append(np.packbits(picture.mask))
            if report:
                report(done, len(images))
    except KeyboardInterrupt as error:
        shutil.rmtree(part, ignore_errors=True)
        drawn = f"{len(images)} pictures were drawn and are not kept: a set is whole or not there"
        raise Stopped(stopped(error).number, drawn) from None
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


def _entry(picture: Picture) -> dict[str, Any]:
    out: dict[str, Any] = {"pid": picture.pid, "camid": picture.camid, "visible": picture.visible}
    if picture.twin is not None:
        out["twin"] = picture.twin
    return out | {"sha256": hashlib.sha256(picture.jpeg).hexdigest()}


def contact_sheet(root: Path, paths: list[str], *, columns: int = 16) -> Image.Image:
    """The pictures named by paths side by side."""
    rows = -(-len(paths) // columns)
    out = Image.new("RGB", (columns * cameras.WIDTH, rows * cameras.HEIGHT))
    for index, path in enumerate(paths):
        with Image.open(root / path) as image:
            out.paste(image, (index % columns * cameras.WIDTH, index // columns * cameras.HEIGHT))
    return out
