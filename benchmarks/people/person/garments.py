"""Choose the clothes of each identity from a seeded wardrobe of few colours.

Colours are sRGB 0..1. Each single garment is worn by many identities. Only the combination of garments tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

Colour = tuple[float, float, float]

# Name -> (red, green, blue) in 0..255, and how often people wear the colour above and below the waist.
PALETTE: Mapping[str, tuple[tuple[int, int, int], float, float]] = {
    "black": ((26, 26, 29), 17, 22),
    "charcoal": ((56, 58, 63), 9, 9),
    "grey": ((122, 124, 128), 8, 6),
    "heather": ((166, 167, 170), 6, 3),
    "white": ((226, 225, 221), 11, 3),
    "cream": ((214, 203, 180), 4, 2),
    "beige": ((178, 156, 124), 5, 6),
    "camel": ((154, 112, 68), 3, 1),
    "brown": ((84, 60, 45), 4, 3),
    "olive": ((88, 87, 58), 4, 3),
    "forest": ((38, 66, 52), 2, 0.5),
    "navy": ((32, 40, 66), 11, 9),
    "denim": ((64, 86, 122), 4, 20),
    "pale denim": ((122, 146, 176), 2, 7),
    "sky": ((148, 182, 212), 4, 0.5),
    "royal": ((42, 80, 158), 3, 0.5),
    "teal": ((40, 112, 118), 1.5, 0.3),
    "red": ((168, 40, 44), 4, 0.6),
    "burgundy": ((96, 32, 44), 3, 1),
    "rose": ((206, 150, 158), 3, 0.5),
    "mustard": ((196, 150, 52), 2, 0.3),
    "orange": ((206, 102, 44), 1, 0.2),
    "lilac": ((150, 134, 172), 1.2, 0.3),
}
_SKIN = (
    (240, 204, 180),
    (228, 186, 158),
    (212, 164, 132),
    (186, 134, 102),
    (144, 98, 72),
    (104, 70, 52),
    (76, 52, 42),
)
_HAIR = (
    (22, 19, 18),
    (36, 28, 24),
    (58, 42, 32),
    (88, 62, 42),
    (140, 104, 66),
    (178, 148, 104),
    (132, 130, 128),
)
_LEATHER = (
    "black",
    "black",
    "black",
    "brown",
    "camel",
    "navy",
    "charcoal",
    "burgundy",
    "olive",
    "beige",
    "rose",
    "red",
)
_SHOES = ("black", "black", "black", "white", "white", "charcoal", "brown", "brown", "navy", "grey", "red")


@dataclass(frozen=True)
class Garment:
    """One piece of clothing with two colours and a pattern.

    `kind` names the kind of clothing, such as "coat" or "jeans". `colour` and `second` are sRGB 0..1. `pattern` is "plain" or a
    pattern that `surface.fabric` draws, such as "check" or "dots", and `scale` is its size. `sleeve` is the fraction of the arm
    that the garment covers (0..1), and `hem` the height of its lower edge above the hip (negative below the hip), on a body
    whose phenotype values are all 0.5. `ease` is its distance from the body, and `flare` how much larger this distance is at the
    hem. `opening` is half the width of a gap in front, or 0 for a closed garment. `neck` raises the neckline. All lengths are in
    metres. `seed` varies details of the pattern.
    """

    kind: str
    colour: Colour
    second: Colour
    pattern: str = "plain"
    scale: float = 0.05
    sleeve: float = 1.0
    hem: float = -0.05
    ease: float = 0.012
    opening: float = 0.0
    neck: float = 0.0
    flare: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Outfit:
    """The appearance of a person apart from the shape of the body: clothes, shoes, hair, skin and bags.

    `outer` or `scarf` is None for a person who wears none. `shoe_height` is in metres. `bag_side` is 1 at the person's left and -1 at
    the right.
    """

    skin: Colour
    hair: Colour
    hair_style: str
    hat: str
    hat_colour: Colour
    top: Garment
    outer: Garment | None
    lower: Garment
    shoes: Colour
    soles: Colour
    shoe_height: float
    bag: str
    bag_colour: Colour
    bag_side: int
    scarf: Colour | None


def _rgb(values: Sequence[float]) -> Colour:
    return (values[0] / 255, values[1] / 255, values[2] / 255)


def colour(name: str) -> Colour:
    """Return the colour with this name as sRGB 0..1."""
    return _rgb(PALETTE[name][0])


def _pick(rng: np.random.Generator, where: int) -> Colour:
    names = list(PALETTE)
    weight = np.asarray([PALETTE[name][where] for name in names], float) ** 0.72
    return colour(names[int(rng.choice(len(names), p=weight / weight.sum()))])


def _choose(rng: np.random.Generator, table: Mapping[str, float]) -> str:
    weight = np.asarray(list(table.values()), float)
    return list(table)[int(rng.choice(len(table), p=weight / weight.sum()))]


_TOP_PATTERNS = {
    "plain": 52,
    "hoops": 9,
    "pin": 3,
    "check": 6,
    "logo": 15,
    "block": 5,
    "yoke": 4,
    "print": 4,
    "dots": 2,
}
_LOWER_PATTERNS = {"plain": 88, "side": 7, "check": 2, "print": 3}


def _garment(rng: np.random.Generator, kind: str, where: int, patterns: Mapping[str, float]) -> Garment:
    base, second = _pick(rng, where), _pick(rng, 1)
    while np.abs(np.subtract(base, second)).max() < 0.18:
        second = _pick(rng, 1)
    pattern = _choose(rng, patterns)
    return Garment(
        kind, base, second, pattern, float(rng.uniform(0.028, 0.075)), seed=int(rng.integers(1 << 30))
    )


def _top(rng: np.random.Generator, feminine: bool) -> Garment:
    kind = _choose(rng, {"tee": 40, "shirt": 22, "hoodie": 16, "sweater": 20, "vest": 7 if feminine else 1})
    made = _garment(rng, kind, 1, _TOP_PATTERNS)
    hem = float(rng.uniform(-0.09, -0.02))
    # The values are sleeve, ease and neck.
    cut = {
        "tee": (rng.uniform(0.24, 0.42), rng.uniform(0.008, 0.018), rng.uniform(-0.02, 0.01)),
        "shirt": (rng.choice([0.36, 0.62, 0.98]), 0.014, -0.03),
        "hoodie": (1.0, 0.026, 0.03),
        "sweater": (0.98, 0.018, rng.choice([0.0, 0.06])),
        "vest": (0.03, 0.007, -0.05),
    }[kind]
    return replace(made, hem=hem, sleeve=float(cut[0]), ease=float(cut[1]), neck=float(cut[2]))


def _outer(rng: np.random.Generator) -> Garment:
    kind = _choose(rng, {"jacket": 36, "blazer": 16, "coat": 20, "puffer": 14, "cardigan": 14})
    patterns = {"plain": 78, "check": 5, "block": 6, "yoke": 5, "pin": 2, "print": 4}
    made = _garment(rng, kind, 1, patterns if kind != "puffer" else {"quilt": 1})
    cut = {
        "jacket": (rng.uniform(-0.07, 0.0), 0.026),
        "blazer": (rng.uniform(-0.14, -0.08), 0.02),
        "coat": (rng.uniform(-0.46, -0.22), 0.028),
        "puffer": (rng.uniform(-0.1, 0.0), 0.045),
        "cardigan": (rng.uniform(-0.2, -0.06), 0.02),
    }[kind]
    opening = float(rng.uniform(0.03, 0.085)) if rng.random() < 0.6 else 0.0
    return replace(
        made, hem=float(cut[0]), ease=float(cut[1]), opening=opening, neck=float(rng.uniform(0.0, 0.045))
    )


def _lower(rng: np.random.Generator, feminine: bool) -> Garment:
    kinds = {"trousers": 30, "jeans": 34, "joggers": 12, "shorts": 11}
    kind = _choose(rng, kinds | ({"skirt": 26, "leggings": 16} if feminine else {}))
    made = _garment(
        rng, kind, 2, _LOWER_PATTERNS if kind in ("trousers", "joggers", "skirt") else {"plain": 1}
    )
    if kind == "jeans":
        made = replace(
            made, colour=colour(str(rng.choice(["denim", "pale denim", "navy", "charcoal", "black"])))
        )
    ease, flare = {
        "trousers": (rng.uniform(0.01, 0.022), rng.uniform(0, 0.02)),
        "jeans": (rng.uniform(0.005, 0.016), rng.uniform(0, 0.012)),
        "joggers": (0.024, -0.006),
        "shorts": (0.022, 0.02),
        "skirt": (0.012, rng.uniform(0.0, 0.16)),
        "leggings": (0.003, 0.0),
    }[kind]
    hem = {"shorts": rng.uniform(-0.38, -0.24), "skirt": rng.choice([-0.26, -0.34, -0.5, -0.66])}.get(
        kind, -0.74
    )
    return replace(made, hem=float(hem), ease=float(ease), flare=float(flare))


def outfit(rng: np.random.Generator, *, feminine: bool, age: float) -> Outfit:
    """Return a random outfit for a person of the given age (0..1, as in `phenotype`). `feminine` bodies may get skirts and dresses."""
    top, lower = _top(rng, feminine), _lower(rng, feminine)
    if feminine and lower.kind == "skirt" and rng.random() < 0.4:
        top = replace(
            top, kind="dress", colour=lower.colour, second=lower.second, pattern=lower.pattern, hem=0.06
        )
    outer = _outer(rng) if rng.random() < 0.42 else None
    tone = int(rng.choice(len(_SKIN), p=(0.17, 0.25, 0.22, 0.14, 0.1, 0.07, 0.05)))
    shade = int(rng.choice(len(_HAIR), p=(0.3, 0.25, 0.16, 0.13, 0.07, 0.05, 0.04)))
    if tone > 3:
        shade = min(shade, 1)
    if age > 0.86 and rng.random() < 0.7:
        shade = 6
    male = {"short": 60, "crop": 20, "bald": 6, "bob": 4}
    style = _choose(rng, {"long": 36, "bob": 24, "pony": 20, "bun": 14, "short": 8} if feminine else male)
    shoes = colour(str(rng.choice(_SHOES)))
    return Outfit(
        skin=_rgb(_SKIN[tone]),
        hair=_rgb(_HAIR[shade]),
        hair_style=style,
        hat=_choose(rng, {"none": 86, "cap": 9, "beanie": 5}),
        hat_colour=_pick(rng, 1),
        top=top,
        outer=outer,
        lower=lower,
        shoes=shoes,
        soles=colour("white") if rng.random() < 0.4 else colour("black"),
        shoe_height=float(rng.choice([0.0, 0.0, 0.0, 0.05, 0.12, 0.3 if feminine else 0.1])),
        bag=_choose(rng, {"none": 50, "backpack": 22, "shoulder": 17, "hand": 11}),
        bag_colour=colour(str(rng.choice(_LEATHER))),
        bag_side=int(rng.choice([-1, 1])),
        scarf=_pick(rng, 1) if rng.random() < 0.07 else None,
    )


def phenotype(rng: np.random.Generator) -> dict[str, float]:
    """Return a random phenotype of an adult: the six values, each 0..1, from which the body model anny makes a body.

    The keys are gender (1 is feminine), age, muscle, weight, height and proportions.
    """
    feminine = rng.random() < 0.5
    return {
        "gender": float(rng.uniform(0.85, 1.0) if feminine else rng.uniform(0.0, 0.12)),
        "age": float(np.clip(rng.normal(0.7, 0.08), 0.6, 0.95)),
        "muscle": float(np.clip(rng.normal(0.48, 0.12), 0.2, 0.8)),
        "weight": float(np.clip(rng.normal(0.48, 0.16), 0.15, 0.95)),
        "height": float(np.clip(rng.normal(0.36, 0.08), 0.15, 0.6)),
        "proportions": float(rng.uniform(0.3, 0.9)),
    }
