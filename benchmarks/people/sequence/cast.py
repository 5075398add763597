"""The people of a sequence: their bodies, clothes and gaits. Pairs of lookalikes share most clothes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.people.arrays import Floats, floats
from benchmarks.people.person import figure, garments
from benchmarks.people.person.cloth import Mesh
from benchmarks.people.person.garments import Outfit
from benchmarks.people.person.pose import LEG, Body, Gait, Skeleton, blend, pose, random_gait, skin
from benchmarks.people.sequence.plan import SequencePlan
from benchmarks.people.sequence.streams import generator

_FEMININE_HAIR = ("long", "bob", "pony", "bun")
# A leg of a walking person swings at least this many degrees to each side.
_LEAST_STRIDE = 14


@dataclass(frozen=True)
class Looks:
    """What a person looks like: the phenotype of the body (see `garments.phenotype`) and the outfit."""

    phenotype: Mapping[str, float]
    outfit: Outfit


def looks(plan: SequencePlan, number: int) -> Looks:
    """Return the looks of a person (0-based `number`). They depend on the seed, on the number, and on who has a lookalike."""
    rng = generator(plan.seed, "person", number)
    values = garments.phenotype(rng)
    outfit = garments.outfit(rng, feminine=values["gender"] > 0.5, age=values["age"])
    if number % 2 == 0 or number >= 2 * plan.pairs:
        return Looks(values, outfit)
    # The second of a pair has another body, hair, shoes and bag, and wears the clothes of the first. The clothes are cut for a gender,
    # so this is also the gender of the first.
    first = looks(plan, number - 1)
    values = values | {"gender": first.phenotype["gender"]}
    feminine = values["gender"] > 0.5
    own = (
        outfit
        if feminine == (outfit.hair_style in _FEMININE_HAIR)
        else replace(outfit, hair_style=first.outfit.hair_style)
    )
    shared = replace(
        first.outfit,
        skin=own.skin,
        hair=own.hair,
        hair_style=own.hair_style,
        shoes=own.shoes,
        bag=own.bag,
        bag_colour=own.bag_colour,
    )
    return Looks(values, shared)


@dataclass(frozen=True)
class Walker:
    """A person who can be drawn at any place of a walk.

    `progress` (P,) is the distance in metres that the person has walked at P evenly spaced phases of a cycle of two steps, from 0 at
    the beginning to the length of the cycle at its end. `folds` is the phase of the folds of loose clothes.
    """

    person: figure.Person
    gait: Gait
    progress: Floats
    folds: float

    def meshes(self, walked: float) -> list[Mesh]:
        """Return the meshes after `walked` metres, as `figure.meshes` does."""
        cycles, rest = divmod(walked, float(self.progress[-1]))
        place = np.interp(rest, self.progress, np.linspace(0, 1, len(self.progress)))
        phase = 2 * np.pi * (cycles + float(place))
        return figure.posed_meshes(self.person, pose(self.gait, phase), folds=self.folds)


def walker(plan: SequencePlan, number: int, speed: float, *, skeleton: Skeleton, body: Body) -> Walker:
    """Return the walker for a person with the given `body`, who walks at `speed` in metres a second."""
    outfit = looks(plan, number).outfit
    rng = generator(plan.seed, "gait", number)
    gait = random_gait(rng, bag=outfit.bag == "hand")
    while gait.stride < _LEAST_STRIDE:
        gait = random_gait(rng, bag=outfit.bag == "hand")
    hip, ankle = (body.joints[skeleton.names.index(name)][2] for name in ("upperleg01.L", "foot.L"))
    # Fast walkers take longer steps, at a little less than one cycle of two steps a second.
    reach = speed / (4 * float(hip - ankle) * float(np.clip(rng.normal(1.05, 0.04), 0.95, 1.15)))
    stride = float(np.clip(np.degrees(np.arcsin(min(reach, 1.0))), _LEAST_STRIDE, 27))
    # The head turns less than in a single image: people look where they walk.
    gait = replace(gait, stride=stride, head=(gait.head[0] * 0.5, gait.head[1]))
    person = figure.Person.dressed(skeleton, body, outfit)
    return Walker(person, gait, walking_progress(person, gait), float(rng.uniform(0, 6)))


def walking_progress(person: figure.Person, gait: Gait, *, steps: int = 72) -> Floats:
    """Return the distance (steps + 1,) in metres that a person has walked at evenly spaced phases of a cycle, from phase 0 to 2 pi.

    The part of a sole that touches the ground stays where it is, so the body moves as far as this part moves backwards under it.
    """
    skeleton = person.skeleton
    soles = np.flatnonzero(
        (skeleton.part == LEG) & (skeleton.canon[:, 2] < skeleton.canon[:, 2].min() + 0.03)
    )
    feet = replace(skeleton, weights=skeleton.weights[soles])
    places = []
    for phase in np.linspace(0, 2 * np.pi, steps + 1):
        bones = skin(skeleton, person.body, pose(gait, float(phase)))
        places.append(blend(feet, bones, person.rest[soles], person.normals[soles])[0])
    backwards, height = (np.stack([place[:, axis] for place in places]) for axis in (1, 2))
    touching = height - height.min(1, keepdims=True) < 0.012
    both = touching[1:] & touching[:-1]
    moved = (np.diff(backwards, axis=0) * both).sum(1) / np.maximum(both.sum(1), 1)
    # Where the weight changes from foot to foot, no part stays in place. The body moves on.
    moved = np.maximum(moved, 0.4 * moved.mean())
    return floats(np.concatenate([[0], np.cumsum(moved)]))
