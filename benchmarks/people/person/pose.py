"""Pose a walking or standing person: joint angles and linear blend skinning, in plain numpy.

Axes in metres: x points to the person's left, -y to the front, z up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.people.arrays import Floats, Ints

TORSO, ARM, LEG, HEAD = 0, 1, 2, 3
_PART_OF = {
    "shoulder01": ARM,
    "upperarm01": ARM,
    "lowerarm01": ARM,
    "wrist": ARM,
    "head": HEAD,
    "neck03": HEAD,
}
_PART_OF |= {"upperleg01": LEG, "lowerleg01": LEG, "foot": LEG}


@dataclass(frozen=True)
class Body:
    """The vertices (V, 3) and the joints of the B bones (B, 3) of one person in the rest pose, in metres."""

    vertices: Floats
    joints: Floats


@dataclass(frozen=True)
class Skeleton:
    """What all bodies share: the faces, the skinning weights, the bones, and canonical coordinates of the vertices.

    `faces` (F, 3) and `edges` (E, 2) are indices of vertices. `weights` (V, B) says how much each bone moves each vertex, and
    `names` are the names of the bones. `part` (V,) is TORSO, ARM, LEG or HEAD for each vertex, and `side` (V,) is 1 at the left, -1
    at the right and 0 in the middle. `parents` has, for each bone, the index of its parent: the next bone towards the pelvis. It is
    -1 for a bone without a parent.

    `canon` (V, 8) are the canonical coordinates: every body has the same ones, measured on the mean body, whose phenotype values
    are all 0.5. Columns 0 to 5 are in metres. Columns 0 to 2 are x, y and z. Columns 3 and 4 are the offset from the axis of the
    arm, leg or torso, to the side and to the back. Column 5 is z, but on the arms it falls evenly from 0.5 at the shoulder to -0.05
    at the wrist. Columns 6 and 7 are fractions. Column 6 is the position along the arm, from 0 at the shoulder to 1 at the wrist,
    and 0 elsewhere. Column 7 is the position along the leg, from 0 at the hip to 1 at the ankle. It is negative on the torso and the
    head, which are above the hip, and -1 on the arms.
    """

    faces: Ints
    weights: Floats
    names: tuple[str, ...]
    parents: tuple[int, ...]
    part: npt.NDArray[np.int8]
    side: npt.NDArray[np.int8]
    canon: Floats
    edges: Ints

    @staticmethod
    def build(
        faces: Ints, weights: Floats, names: tuple[str, ...], parents: tuple[int, ...], mean: Body
    ) -> Skeleton:
        """Return the skeleton whose canonical coordinates come from the body `mean`. Clothes are cut along these coordinates."""
        main = weights.argmax(1)
        part = np.asarray([_PART_OF.get(name.split(".")[0], TORSO) for name in names], np.int8)[main]
        side = np.asarray([{"L": 1, "R": -1}.get(name[-1], 0) for name in names], np.int8)[main]
        edges = np.unique(
            np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1), axis=0
        )
        canon = _canon(mean, names, part, side)
        return Skeleton(faces, weights, names, parents, part, side, canon, edges.astype(np.int32))


def _canon(
    mean: Body, names: tuple[str, ...], part: npt.NDArray[np.int8], side: npt.NDArray[np.int8]
) -> Floats:
    x, y, z = mean.vertices.T
    canon = np.zeros((len(x), 8), np.float32)
    canon[:, :3] = mean.vertices
    canon[:, 3], canon[:, 4], canon[:, 5] = x, y + 0.02, z
    canon[:, 7] = (0.039 - z) / 0.788
    for sign, letter in ((1, "L"), (-1, "R")):
        joint = {
            stem: mean.joints[names.index(f"{stem}.{letter}")]
            for stem in _PART_OF
            if f"{stem}.{letter}" in names
        }
        arm = (part == ARM) & (side == sign)
        shoulder, elbow, wrist = joint["upperarm01"], joint["lowerarm01"], joint["wrist"]
        upper, fore = elbow - shoulder, wrist - elbow
        first = np.clip((mean.vertices[arm] - shoulder) @ upper / (upper @ upper), 0, 1)
        second = np.clip((mean.vertices[arm] - elbow) @ fore / (fore @ fore), 0, 2)
        along = 0.5 * first + 0.5 * second
        axis = shoulder + first[:, None] * upper + np.minimum(second, 1)[:, None] * fore
        off = mean.vertices[arm] - axis
        across = np.cross(upper / np.linalg.norm(upper), [0.0, 1.0, 0.0])
        canon[arm, 3], canon[arm, 4], canon[arm, 5] = off @ across, off[:, 1], 0.5 - 0.55 * along
        canon[arm, 6], canon[arm, 7] = along, -1.0
        leg = (part == LEG) & (side == sign)
        hip, ankle = joint["upperleg01"], joint["foot"]
        middle = hip + canon[leg, 7, None] * (ankle - hip)
        canon[leg, 3], canon[leg, 4] = x[leg] - middle[:, 0], y[leg] - middle[:, 1]
    return canon


def turn(axis: str, degrees: float) -> Floats:
    """Return the rotation matrix (3, 3) about `axis`, "x", "y" or "z", by an angle in degrees."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = np.eye(3, dtype=np.float32)
    out[i, i], out[i, j], out[j, i], out[j, j] = c, -s, s, c
    return out


@dataclass(frozen=True)
class Arm:
    """How one arm moves: angles in degrees. `forward` is None for an arm that swings, and fixed for one that makes a gesture."""

    hang: float
    bend: float
    inward: float
    forward: float | None


@dataclass(frozen=True)
class Gait:
    """How one person walks or stands. Angles are in degrees.

    `stride` is the largest angle of a leg, forwards and backwards. `phase` is the place in the cycle of two steps, in radians: at 0,
    the left leg passes the right one, moving forwards. `lean` bends the torso forward, and `twist` turns it by at most this angle.
    `head` is the rotation of the head (sideways, down), and `splay` the angle of each leg to the side. In `splay` and `arms`, the left
    side comes first.
    """

    stride: float
    phase: float
    lean: float
    twist: float
    head: tuple[float, float]
    splay: tuple[float, float]
    arms: tuple[Arm, Arm]


def random_gait(rng: np.random.Generator, *, bag: bool = False) -> Gait:
    """Return a random gait. About three of four are of a walking person, and the others of a standing person.

    With `bag`, both arms swing, and neither makes a gesture, such as holding a phone.
    """
    moving = rng.random() < 0.78
    stride = rng.uniform(16, 27) if moving else rng.uniform(0, 4)
    phase = rng.uniform(0, 2 * np.pi)
    lean, twist = rng.uniform(-1, 5), (rng.uniform(2, 7) if moving else rng.normal(0, 5))
    head = (rng.normal(0, 18), rng.normal(4, 8))
    gestures = rng.choice(["swing", "phone", "call", "pocket"], size=2, p=(0.7, 0.11, 0.04, 0.15))
    sides = []
    for gesture in gestures:
        splay = rng.uniform(3.2, 4.8)
        sides.append((splay, _random_arm(rng, "swing" if bag else str(gesture))))
    (left, left_arm), (right, right_arm) = sides
    return Gait(stride, phase, lean, twist, head, (left, right), (left_arm, right_arm))


def _random_arm(rng: np.random.Generator, gesture: str) -> Arm:
    hang, bend = rng.uniform(27, 33), rng.uniform(2, 16)
    if gesture == "phone":
        forward, bend = rng.uniform(12, 24), rng.uniform(55, 80)
        return Arm(hang, bend, 14.0, forward)
    if gesture == "call":
        forward, bend = rng.uniform(28, 40), rng.uniform(108, 120)
        return Arm(hang, bend, 38.0, forward)
    if gesture == "pocket":
        return Arm(hang - 6.0, 26.0, 4.0, -16.0)
    return Arm(hang, bend, 4.0, None)


def pose(gait: Gait, phase: float) -> dict[str, Floats]:
    """Return the pose at a place of the gait's cycle as a dictionary that maps the name of a bone to its rotation matrix (3, 3).

    `phase` is in radians, as in `Gait`. It grows while the person walks forward, by 2 pi in two steps.

    A bone first turns with its parent bone, and then by its own matrix about the axes of the world. Its whole rotation is therefore
    the product (own matrix) @ (whole rotation of the parent). A bone that is not in the dictionary only turns with its parent.
    """
    stride, twist = gait.stride, gait.twist * np.sin(phase)
    out = {"spine04": turn("x", gait.lean) @ turn("z", twist), "spine01": turn("z", -twist * 0.5)}
    out["head"] = turn("z", gait.head[0]) @ turn("x", gait.head[1])
    for sign, letter, splay, arm in zip((1, -1), "LR", gait.splay, gait.arms):
        swing = np.sin(phase) * sign
        forward, lifting = stride * swing, max(0.0, float(np.cos(phase) * sign))
        knee = 5 + stride * 2.1 * lifting**2 + (6 if swing < 0 else 0) * -swing
        out[f"upperleg01.{letter}"] = turn("y", sign * splay) @ turn("x", -forward - knee * 0.25)
        out[f"lowerleg01.{letter}"] = turn("x", knee)
        sole = (-14 * swing if swing > 0 else -26 * swing) * stride / 25 - knee * 0.6 + forward
        out[f"foot.{letter}"] = turn("x", float(np.clip(sole, -25, 25)))
        out |= _arm(arm, letter, sign, -stride * 0.85 * swing)
    return out


def _arm(arm: Arm, letter: str, sign: int, swing: float) -> dict[str, Floats]:
    forward, bend = (
        (swing, arm.bend + max(swing, 0) * 0.6) if arm.forward is None else (arm.forward, arm.bend)
    )
    share = 0.2
    return {
        f"shoulder01.{letter}": turn("y", sign * arm.hang * share),
        f"upperarm01.{letter}": turn("x", -forward) @ turn("y", sign * arm.hang * (1 - share)),
        f"lowerarm01.{letter}": turn("y", (-sign if bend > 90 else sign) * arm.inward) @ turn("x", -bend),
    }


def skin(skeleton: Skeleton, body: Body, rotations: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """Return the rotation R (B, 3, 3) and translation t (B, 3) of each bone in the pose `rotations`.

    A point p that is fixed to the bone moves from the rest pose to R p + t. `rotations` comes from `pose`.
    """
    count = len(skeleton.names)
    world, moved = np.empty((count, 3, 3), np.float32), np.empty((count, 3), np.float32)
    for bone, (name, parent) in enumerate(zip(skeleton.names, skeleton.parents)):
        own: Any = rotations.get(name, np.eye(3, dtype=np.float32))
        if parent < 0:
            world[bone], moved[bone] = own, body.joints[bone]
        else:
            world[bone] = own @ world[parent]
            moved[bone] = moved[parent] + world[parent] @ (body.joints[bone] - body.joints[parent])
    return world, moved - np.einsum("bij,bj->bi", world, body.joints)


def blend(
    skeleton: Skeleton, bones: tuple[Floats, Floats], vertices: Floats, normals: Floats
) -> tuple[Floats, Floats]:
    """Move `vertices` and `normals` (V, 3) from the rest pose to a pose by linear blend skinning, and return both.

    `bones` are the rotations and translations of the pose, which `skin` returns.
    """
    world, shift = bones
    flat = np.concatenate([world.reshape(-1, 9), shift], 1)
    mixed = skeleton.weights @ flat
    rotation = mixed[:, :9].reshape(-1, 3, 3)
    posed = (rotation @ vertices[:, :, None])[:, :, 0] + mixed[:, 9:]
    turned = (rotation @ normals[:, :, None])[:, :, 0]
    return posed, turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-6)
