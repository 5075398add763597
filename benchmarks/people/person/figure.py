"""Make a dressed person, and the meshes of this person in a pose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.people.arrays import Floats, floats
from benchmarks.people.person import cloth
from benchmarks.people.person.cloth import Mesh
from benchmarks.people.person.garments import Garment, Outfit
from benchmarks.people.person.pose import ARM, HEAD, Body, Skeleton, blend, pose, random_gait, skin


@dataclass(frozen=True)
class Person:
    """One identity: its body and outfit, and the vertices `rest` and normals (V, 3) of its clothed surface in the rest pose."""

    skeleton: Skeleton
    body: Body
    outfit: Outfit
    rest: Floats
    normals: Floats

    @staticmethod
    def dressed(skeleton: Skeleton, body: Body, outfit: Outfit) -> Person:
        """Return the person with the given body who wears `outfit`."""
        rest, normals = cloth.dress(skeleton, body, outfit)
        return Person(skeleton, body, outfit, rest, normals)


@dataclass(frozen=True)
class _Posed:
    person: Person
    body: Mesh
    rotations: Floats
    joints: Floats
    scale: float
    base: float

    def up(self, canon_height: float) -> float:
        return self.base + (canon_height - 0.05) * self.scale

    def points(self, low: float, high: float, *, wide: float = 9.0) -> Floats:
        """Return points of the body between two heights of the mean body, without the arms, from which a hull can be made.

        Every second vertex is enough for this. `wide` limits the distance from the middle of the mean body. All values are in metres.
        """
        skeleton = self.person.skeleton
        z = skeleton.canon[:, 2]
        chosen = (
            (skeleton.part != ARM)
            & (z > low - 0.06)
            & (z < high + 0.06)
            & (np.abs(skeleton.canon[:, 0]) < wide)
        )
        return self.body.vertices[np.flatnonzero(chosen)[::2]]


def meshes(person: Person, rng: np.random.Generator) -> list[Mesh]:
    """Return the meshes of `person`, who walks or stands in a random pose: first the body, then loose clothes, hair and bags.

    Vertices are in metres. The feet are at z = 0, and the person faces -y.
    """
    with_bag = person.outfit.bag == "hand"
    gait = random_gait(rng, bag=with_bag)
    folds = float(rng.uniform(0, 6))
    sway = rng.normal(0, 0.01) if with_bag else 0.0
    return posed_meshes(person, pose(gait, gait.phase), folds=folds, sway=sway)


def posed_meshes(
    person: Person, rotations: Mapping[str, Floats], *, folds: float, sway: float = 0.0
) -> list[Mesh]:
    """Return the meshes of `person` in a pose of `pose.pose`, as `meshes` does.

    `folds` is the phase, in radians, of the folds of loose clothes. `sway` is the height of a handbag in metres, with 0 for the usual
    one.
    """
    skeleton = person.skeleton
    turns, shift = skin(skeleton, person.body, rotations)
    vertices, normals = blend(skeleton, (turns, shift), person.rest, person.normals)
    joints = np.einsum("bij,bj->bi", turns, person.body.joints) + shift
    moved = np.asarray([joints[0, 0], joints[0, 1], vertices[:, 2].min()], np.float32)
    body = Mesh(vertices - moved, normals, skeleton.faces, skeleton.canon, cloth.BODY)
    mean = skeleton.canon[:, 2]
    scale = float(np.ptp(person.body.vertices[:, 2]) / np.ptp(mean))
    posed = _Posed(person, body, turns, joints - moved, scale, float(joints[0, 2] - moved[2]))
    return [body, *_loose_clothes(posed, folds), *_hair(posed), *_bags(posed, sway)]


def _hanging(posed: _Posed, garment: Garment, material: int, top: float, phase: float) -> Mesh:
    levels = np.linspace(top, garment.hem, max(6, int((top - garment.hem) / 0.035))).astype(np.float32)
    progress = np.linspace(0, 1, len(levels), dtype=np.float32)
    if material == cloth.LOWER:
        ease, hang = garment.ease + garment.flare * progress - 0.004, 0.75 if garment.flare > 0.03 else 0.35
    else:
        ease = garment.ease * (np.minimum(progress * 3, 1) * 0.8 + 0.1) + 0.02 * progress * (
            garment.hem < -0.15
        )
        hang = 0.8
        if material == cloth.OUTER:
            ease += _room_below(posed.person.outfit, levels)
    gap = garment.opening / 0.15 + (0.12 if garment.hem < -0.15 else 0.0) if garment.opening else 0.0
    angles = np.linspace(-np.pi / 2 + gap, 1.5 * np.pi - gap, 56, endpoint=gap > 0)
    heights = np.asarray([posed.up(float(level)) for level in levels], np.float32)
    ring = cloth.drape(
        posed.points(garment.hem, top), heights, angles.astype(np.float32), ease=ease, hang=hang
    )
    loose = 0.011 if material == cloth.LOWER and garment.flare > 0.03 else 0.006
    folds = (loose, 7 + garment.seed % 5, phase)
    made = cloth.sheet(ring, material, wrap=gap == 0, height=0.0, folds=folds)
    canon = made.canon.copy()
    canon[:, 2] = canon[:, 5] = np.repeat(levels, ring.shape[1])
    return replace(made, canon=canon)


def _room_below(outfit: Outfit, levels: Floats) -> Floats:
    """Return (R,) the space in metres that an outer garment needs at each height in `levels` for loose clothes below it."""
    room = np.where(levels < 0.2, 0.012 if outfit.top.kind != "dress" else 0.0, 0.0)
    if outfit.lower.kind == "skirt":
        fall = np.clip((0.13 - levels) / (0.13 - outfit.lower.hem), 0, 1)
        room = np.maximum(room, (levels < 0.13) * (outfit.lower.ease + outfit.lower.flare * fall + 0.012))
    return room.astype(np.float32)


def _loose_clothes(posed: _Posed, phase: float) -> list[Mesh]:
    outfit, out = posed.person.outfit, []
    if outfit.lower.kind == "skirt":
        out.append(_hanging(posed, outfit.lower, cloth.LOWER, 0.13, phase))
    if outfit.top.hem < 0.0 and outfit.top.kind not in ("vest", "dress"):
        out.append(_hanging(posed, outfit.top, cloth.TOP, 0.2, phase))
    if outfit.outer is not None:
        out.append(_hanging(posed, outfit.outer, cloth.OUTER, 0.26, phase))
    return out


def _hair(posed: _Posed) -> list[Mesh]:
    outfit, skeleton = posed.person.outfit, posed.person.skeleton
    head = skeleton.names.index("head")
    turn, at = posed.rotations[head], posed.joints[head]
    out = []
    if outfit.hat == "cap":
        brim = cloth.block(at + turn @ floats([0, -0.135, 0.108]), (0.15, 0.13, 0.014), turn, square=2.0)
        out.append(replace(brim, material=cloth.BRIM))
    if outfit.hair_style in ("long", "bob"):
        end = 0.585 if outfit.hair_style == "bob" else 0.36 + 0.15 * (outfit.top.seed % 7) / 7
        levels = np.linspace(0.735, end, 12)
        heights = np.asarray([posed.up(float(level)) for level in levels], np.float32)
        angles = np.radians(np.linspace(-4, 184, 40)).astype(np.float32)
        ease = np.linspace(0.004, 0.022, 12, dtype=np.float32)
        near = posed.points(end, 0.735, wide=0.095)
        chest = (skeleton.part != HEAD) & (skeleton.canon[:, 1] < -0.04)
        near = near[near[:, 1] > posed.body.vertices[chest][:, 1].min() + 0.09] if len(near) > 200 else near
        middle = np.asarray([at[0], at[1], 0], np.float32)
        ring = cloth.drape(near - middle, heights, angles, ease=ease, hang=0.55) + middle
        out.append(cloth.sheet(ring, cloth.HAIR, wrap=False, height=0.0, folds=(0.007, 11, 1.0)))
    if outfit.hair_style == "pony" and outfit.hat != "beanie":
        tail = cloth.block(at + turn @ floats([0, 0.115, -0.03]), (0.055, 0.06, 0.27), turn, square=2.4)
        out.append(replace(tail, material=cloth.HAIR))
    return out


def _bags(posed: _Posed, sway: float) -> list[Mesh]:
    outfit, names = posed.person.outfit, posed.person.skeleton.names
    side = outfit.bag_side
    if outfit.bag == "backpack":
        torso = posed.points(0.2, 0.46)
        turn = posed.rotations[names.index("spine02")]
        at = np.asarray([posed.joints[0, 0], torso[:, 1].max() + 0.055, posed.up(0.31)], np.float32)
        return [
            cloth.block(at, (0.29, 0.17, 0.43), turn, square=3.2),
            cloth.block(at + turn @ floats([0, 0.08, -0.09]), (0.21, 0.08, 0.19), turn, square=3.2),
        ]
    if outfit.bag == "shoulder":
        hips = posed.points(-0.05, 0.1)
        at = np.asarray([side * (np.abs(hips[:, 0]).max() + 0.06), 0.05, posed.up(-0.02)], np.float32)
        return [cloth.block(at, (0.1, 0.3, 0.24), np.eye(3, dtype=np.float32), square=4.5)]
    if outfit.bag == "hand":
        wrist = posed.joints[names.index("wrist.L" if side > 0 else "wrist.R")]
        at = wrist + np.asarray([0.02 * side, -0.03, -0.27 + sway], np.float32)
        return [cloth.block(at.astype(np.float32), (0.1, 0.3, 0.25), np.eye(3, dtype=np.float32), square=4.5)]
    return []
