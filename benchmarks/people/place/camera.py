"""Four cameras, which differ as real cameras do: in place, height, walking direction of the people, light, lens and colour.

All random values come from the random generator that the caller passes in.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.people.arrays import Floats, floats
from benchmarks.people.render import Light, View

WIDTH, HEIGHT = 64, 128
# Images are drawn at twice the size and averaged, so that edges mix as in a camera.
SUPER = 2


@dataclass(frozen=True)
class Camera:
    """One camera, and the light where it stands.

    A pair of numbers is the range of a random value. `camid` is 0-based, and `scene` is a kind of place (see `Scenery`). `height`
    is that of the camera and `distance` that to the person, in metres. `yaws` are the directions in which people face, in degrees:
    0 towards the camera, 90 to the right of the image. Each exposure takes one of them at random, and adds a normal random angle with
    mean 0 and standard deviation 0.6 * `yaw_spread` degrees.

    `sun` points towards the sun: x to the right of the image, y away from the camera, z up. `sun_power` and `sky` are the linear
    colours of the light of the sun and of the sky.

    `exposure` multiplies the light, and `white` each of its colours (white balance). The tone curve is light ** (1 / `gamma`).
    `black` is the output (R, G, B) for no light, and `contrast` and `saturation` are factors with 1 for no change. `blur` is a
    radius in pixels, `sharpen` a percentage with 0 for none, `noise` the standard deviation of the grain (pixels are 0..1), and
    `quality` that of the JPEG file (0..100).
    """

    camid: int
    scene: str
    height: tuple[float, float]
    distance: tuple[float, float]
    yaws: tuple[float, ...]
    yaw_spread: float
    sun: tuple[float, float, float]
    sun_power: tuple[float, float, float]
    sky: tuple[float, float, float]
    white: tuple[float, float, float]
    exposure: float
    gamma: float
    black: tuple[float, float, float]
    contrast: float
    saturation: float
    blur: tuple[float, float]
    sharpen: int
    noise: float
    quality: tuple[int, int]


CAMERAS = (
    Camera(
        0, "street", (2.4, 2.9), (6.5, 10.5), (0.0, 0.0, 150.0), 42, (-0.55, -0.45, 0.7), (0.92, 0.86, 0.76),
        (0.6, 0.64, 0.7), (1.012, 1.0, 0.978), 1.0, 2.16, (-0.014, -0.014, -0.011), 1.04, 1.0, (0.15, 0.6), 50, 0.006, (77, 83),
    ),
    Camera(
        1, "square", (4.2, 5.2), (8.0, 13.0), (180.0, 180.0, 25.0), 45, (0.3, -0.3, 0.9), (0.52, 0.52, 0.53),
        (0.77, 0.8, 0.85), (0.985, 1.0, 1.025), 0.98, 2.2, (0.012, 0.013, 0.018), 0.97, 0.93, (0.4, 0.85), 0, 0.007, (74, 80),
    ),
    Camera(
        2, "park", (1.8, 2.3), (5.0, 9.0), (90.0, -90.0, 60.0, -120.0), 30, (0.6, -0.35, 0.6), (0.86, 0.83, 0.75),
        (0.61, 0.66, 0.62), (1.0, 1.012, 0.983), 1.0, 2.24, (0.0, 0.003, 0.0), 1.02, 1.02, (0.0, 0.45), 60, 0.006, (77, 83),
    ),
    Camera(
        3, "passage", (3.2, 3.8), (5.5, 9.0), (0.0, 180.0, 90.0, -60.0), 40, (-0.1, -0.3, 0.95), (0.62, 0.57, 0.49),
        (0.67, 0.64, 0.58), (1.028, 1.0, 0.952), 0.95, 2.16, (0.006, 0.003, 0.0), 1.0, 0.97, (0.3, 0.8), 30, 0.009, (73, 80),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """One exposure of a camera: the view, the light, and the direction in which the person faces, `yaw`, in degrees as in `Camera`."""

    view: View
    light: Light
    yaw: float


def daylight(camera: Camera, *, sun: Floats, cloud: float = 1.0) -> Light:
    """Return the light at `camera`, with the sun in the direction `sun` (3,) of any length, and its power multiplied by `cloud`."""
    return Light(
        sun=(sun / np.linalg.norm(sun)).astype(np.float32),
        sun_colour=(np.asarray(camera.sun_power) * cloud).astype(np.float32),
        sky=np.asarray(camera.sky, np.float32),
        ground=(np.asarray(camera.sky) * 0.45 + np.asarray(camera.sun_power) * 0.1).astype(np.float32),
    )


def take_shot(camera: Camera, rng: np.random.Generator, *, person_height: float) -> Shot:
    """Return a random exposure of a person of the given height (metres), at a random distance from `camera`.

    The frame is shifted and scaled at random, like the box of a person detector.
    """
    eye = np.asarray(
        [rng.normal(0, 0.8), -rng.uniform(*camera.distance), rng.uniform(*camera.height)], np.float32
    )
    forward = np.asarray([0, 0, person_height * 0.5], np.float32) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1]).astype(np.float32)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward]).astype(np.float32)
    unit = View(eye, axes, 1.0, (0.0, 0.0), 1, 1)
    ends, _ = unit.project(np.asarray([[0, 0, 0], [0, 0, person_height]], np.float32))
    span = float(ends[0, 1] - ends[1, 1])
    high, wide = HEIGHT * SUPER, WIDTH * SUPER
    scale = high * rng.uniform(0.9, 0.985) / span
    middle = float(ends[:, 1].mean()) * scale
    centre = (wide * (0.5 + rng.normal(0, 0.03)), high * (0.5 + rng.normal(0, 0.016)) - middle)
    sun = np.asarray(camera.sun, np.float32) + rng.normal(0, 0.08, 3).astype(np.float32)
    light = daylight(camera, sun=sun, cloud=rng.uniform(0.8, 1.1))
    yaw = float(rng.choice(camera.yaws) + rng.normal(0, camera.yaw_spread * 0.6))
    return Shot(View(eye, axes, scale, centre, high, wide), light, yaw)


@dataclass(frozen=True)
class DevelopmentSettings:
    """The settings that turn the light of one exposure into an image.

    A query and the image of the same moment without the occluder are made with the same settings.

    `gain` (3,) multiplies the linear colours, `blur` is a radius in pixels, `quality` is that of the JPEG file (0..100), and `grain`
    (H, W, 3) is added to the pixels (0..1).
    """

    gain: Floats
    blur: float
    quality: int
    grain: Floats


def develop_settings(camera: Camera, rng: np.random.Generator) -> DevelopmentSettings:
    """Return random settings of one exposure: gain, white balance, focus, grain and JPEG quality."""
    gain = (
        camera.exposure
        * np.exp(rng.normal(0, 0.065))
        * np.asarray(camera.white)
        * np.exp(rng.normal(0, 0.02, 3))
    )
    grain = rng.normal(0, camera.noise, (HEIGHT, WIDTH, 1)) + rng.normal(
        0, camera.noise * 0.5, (HEIGHT, WIDTH, 3)
    )
    quality = int(rng.integers(camera.quality[0], camera.quality[1] + 1))
    return DevelopmentSettings(
        gain.astype(np.float32), float(rng.uniform(*camera.blur)), quality, grain.astype(np.float32)
    )


def tone(camera: Camera, linear: Floats) -> Floats:
    """Convert linear light (..., 3) to the output of `camera` (..., 3), 0..1, by its tone curve, black, contrast and saturation."""
    # The curve flattens for bright values, as film does, so that whites do not clip to flat patches.
    value = np.maximum(linear, 0) ** (1 / camera.gamma)
    value = np.where(value > 0.75, 0.75 + 0.25 * np.tanh((value - 0.75) / 0.25), value)
    value = 0.5 + (value - 0.5) * camera.contrast
    value = np.asarray(camera.black) + value * (1 - np.asarray(camera.black))
    grey = value @ np.asarray([0.3, 0.59, 0.11])
    return floats(np.clip(grey[..., None] + (value - grey[..., None]) * camera.saturation, 0, 1))


def develop(camera: Camera, linear: Floats, settings: DevelopmentSettings) -> Image.Image:
    """Return the finished image of H x W pixels from the linear light of a larger drawing.

    `linear` is (H * SUPER, W * SUPER, 3). Each pixel of the image is the mean of SUPER x SUPER pixels of the drawing.
    """
    height, width = linear.shape[0] // SUPER, linear.shape[1] // SUPER
    small = (linear * settings.gain).reshape(height, SUPER, width, SUPER, 3).mean((1, 3))
    pixels = tone(camera, small.astype(np.float32))
    image = Image.fromarray((pixels * 255 + 0.5).astype(np.uint8))
    if settings.blur > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(settings.blur))
    if camera.sharpen:
        image = image.filter(ImageFilter.UnsharpMask(radius=1.2, percent=camera.sharpen, threshold=0))
    noisy = np.asarray(image, np.float32) / 255 + settings.grain
    return Image.fromarray((np.clip(noisy, 0, 1) * 255 + 0.5).astype(np.uint8))


def encode(image: Image.Image, quality: int) -> bytes:
    """Return the image as the bytes of a JPEG file of this quality (0..100)."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
