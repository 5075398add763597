"""What other projects feed their models with: the colour order and the normalisation, with the source of each. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import ConfigError

COLORS = ("rgb", "bgr")
LAYOUTS = ("nchw", "nhwc")
# The largest pixel value in the units of --mean and --std.
RANGES = (1, 255)

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Pixels:
    """The input of a model: channels in the order `color`, each (value / 255 - mean) / std, where value is a pixel in 0..255.

    `mean` and `std` are for R, G and B, whatever `color` is. A model that takes pixels 0..255 as they are has mean 0 and std 1 / 255.
    """

    color: str
    mean: Three
    std: Three

    def __str__(self) -> str:
        """Return a short name of the normalisation after the colour order, such as "bgr 0..255"."""
        names = [name for name, (mean, std) in NORMALISATIONS.items() if (mean, std) == (self.mean, self.std)]
        return f"{self.color} {names[0]}" if names else f"{self.color} mean {self.mean} std {self.std}"

    def options(self) -> str:
        """Return the options of `python -m export adopt` that state these pixels."""
        scale, mean, std = 1, self.mean, self.std
        if (mean, std) == RAW:
            scale, std = 255, (1.0, 1.0, 1.0)
        words = [
            "--color",
            self.color,
            "--range",
            str(scale),
            "--mean",
            _numbers(mean),
            "--std",
            _numbers(std),
        ]
        return " ".join(words)


def _numbers(values: Three) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else ",".join(f"{value:g}" for value in values)


IMAGENET: tuple[Three, Three] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: tuple[Three, Three] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
UNIT: tuple[Three, Three] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
RAW: tuple[Three, Three] = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
# The normalisations that `adopt` compares, in both colour orders.
NORMALISATIONS = {"ImageNet": IMAGENET, "-1..1": HALF, "0..1": UNIT, "0..255": RAW}


@dataclass(frozen=True)
class Convention:
    """What one project's models take: `pixels`, the size (height, width) in pixels and the method that resizes crops.

    `source` says where this is stated. A `size` of None means that the files of this project have no common size.
    """

    pixels: Pixels
    size: tuple[int, int] | None
    interpolation: str
    source: str


CONVENTIONS = {
    "osnet": Convention(
        Pixels("rgb", *IMAGENET),
        (256, 128),
        "bilinear",
        "KaiyangZhou/deep-person-reid, torchreid/data/transforms.py: Resize, ToTensor, Normalize with ImageNet's mean and std",
    ),
    "omz": Convention(
        Pixels("bgr", *RAW),
        (256, 128),
        "bilinear",
        "Open Model Zoo, person-reidentification-retail-0286, -0287 and -0288: 1 x 3 x 256 x 128, colour order BGR, pixels 0..255",
    ),
    "fastreid": Convention(
        Pixels("rgb", *RAW),
        (256, 128),
        "bicubic",
        "JDAI-CV/fast-reid, meta_arch/baseline.py: the model itself subtracts the mean and divides by the std, from RGB pixels 0..255 "
        "(issues 177, 597 and 598)",
    ),
    "clipreid": Convention(
        Pixels("rgb", *HALF),
        (256, 128),
        "bilinear",
        "Syliz517/CLIP-ReID, configs/person/vit_clipreid.yml: PIXEL_MEAN and PIXEL_STD 0.5, SIZE_TEST 256 x 128; validation resizes "
        "with torchvision's default",
    ),
    "yolo-reid": Convention(
        Pixels("rgb", *UNIT),
        None,
        "bilinear",
        "ultralytics/ultralytics, trackers/utils/reid.py: RGB / 255 without mean and std, at the size that the file states",
    ),
}


def triple(text: str, option: str) -> Three:
    """Return three numbers from the `text` of `option`: one number for all channels, or three with commas, for R, G and B.

    Raises ConfigError for anything else.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    # The comparison excludes NaN and infinity.
    if len(values) != 3 or not all(abs(value) < 1e6 for value in values):
        raise ConfigError(
            f"{option} {text}: give one number, or three for R, G and B with commas, such as 0.485,0.456,0.406"
        )
    return values[0], values[1], values[2]


def stated_pixels(
    like: str | None, *, color: str | None, scale: int | None, mean: str | None, std: str | None
) -> Pixels:
    """Return the pixels that the options of a command state; what they leave out is that of the convention `like`.

    `mean` and `std` are the texts of the options, in the units of `scale`: pixels are 0..1 or 0..255 (1 or 255). Raises ConfigError
    if something is stated nowhere, and for a std of 0.
    """
    base = CONVENTIONS[like].pixels if like is not None else None
    values = {"--color": color, "--mean": mean, "--std": std}
    if base is None and (missing := [name for name, value in values.items() if value is None]):
        raise ConfigError(
            f"the input of the model is not stated: give --like {'|'.join(CONVENTIONS)}, or {' and '.join(missing)} as well"
        )
    if scale is not None and (mean is None or std is None):
        raise ConfigError(f"--range {scale}: it is the unit of --mean and --std; give both of them as well")
    unit = scale or 1
    own_mean = None if mean is None else triple(mean, "--mean")
    own_std = None if std is None else triple(std, "--std")
    for option, given in (("--mean", own_mean), ("--std", own_std)):
        if unit == 1 and given is not None and max(map(abs, given)) > 2:
            raise ConfigError(
                f"{option} {_numbers(given)}: these are not units of pixels 0..1; for pixels 0..255 add --range 255"
            )
    if own_std is not None and not all(own_std):
        raise ConfigError(
            f"--std {std}: a std of 0 cannot divide; give the std that the model was trained with"
        )
    if base is not None:
        color, own_mean, own_std = (
            color or base.color,
            own_mean or _times(base.mean, unit),
            own_std or _times(base.std, unit),
        )
    assert color is not None and own_mean is not None and own_std is not None
    return Pixels(color, _times(own_mean, 1 / unit), _times(own_std, 1 / unit))


def _times(values: Three, factor: float) -> Three:
    return values[0] * factor, values[1] * factor, values[2] * factor
