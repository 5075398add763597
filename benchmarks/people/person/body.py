"""Make human bodies in the rest pose from six phenotype values, with the body model anny. Only this file imports anny and torch.

Axes in metres: x points to the person's left, -y to the front, z up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anny
import numpy as np
import torch

from benchmarks.people.arrays import Floats
from benchmarks.people.person.pose import Body, Skeleton

# Fingers, toes and twist bones move with the bone that carries them: their bending is invisible at 64x128 pixels.
_CARRIED = {"finger": "wrist", "metacarpal": "wrist", "toe": "foot", "eye": "head", "pelvis": "root"}
_TWIST = {"upperarm02": "upperarm01", "lowerarm02": "lowerarm01", "upperleg02": "upperleg01"}
_TWIST |= {"lowerleg02": "lowerleg01", "clavicle": "spine01"}


def _bone(label: str) -> str:
    """Return the bone with which one of anny's bones moves here: wrist.L for finger2-1.L, and spine01 for clavicle.L."""
    stem, _, side = label.partition(".")
    for prefix, kept in (_CARRIED | _TWIST).items():
        if stem.startswith(prefix):
            return kept if kept in ("head", "root", "spine01") else f"{kept}.{side}"
    return label


@dataclass(frozen=True)
class BodyModel:
    """The anny model, and the skeleton that all of its bodies share.

    The skeleton keeps only some of anny's bones. `joints` has one number for each bone of the skeleton, in the order of
    `skeleton.names`: its index in anny's list of bones.
    """

    model: Any
    skeleton: Skeleton
    joints: tuple[int, ...]

    def body(self, phenotype: Mapping[str, float]) -> Body:
        """Return the body in the rest pose for a phenotype: gender, age, muscle, weight, height and proportions, each 0..1."""
        vertices, heads = _rest(self.model, phenotype)
        return Body(vertices=vertices, joints=heads[list(self.joints)])


def _rest(model: Any, phenotype: Mapping[str, float]) -> tuple[Floats, Floats]:
    with torch.no_grad():
        out = model(phenotype_kwargs=dict(phenotype))
    return out["rest_vertices"][0].float().numpy(), out["rest_bone_heads"][0].float().numpy()


def load() -> BodyModel:
    """Load the body model of the package anny and return it.

    The first call on a machine takes some seconds, because anny fills its cache on disk.
    """
    torch.set_num_threads(1)
    # Linear blend skinning needs no compilation; the warp path compiles kernels for minutes.
    model = anny.Anny(skinning_method="lbs")
    labels = list(model.bone_labels)
    names = list(dict.fromkeys(_bone(label) for label in labels))
    kept = [names.index(_bone(label)) for label in labels]
    joints = tuple(labels.index(name) for name in names)
    parents = []
    for joint in joints:
        parent = int(model.bone_parents[joint])
        parents.append(-1 if parent < 0 else kept[parent])
    index = model.vertex_bone_indices.numpy()
    weights = np.zeros((index.shape[0], len(names)), np.float32)
    np.add.at(
        weights, (np.arange(len(index))[:, None], np.asarray(kept)[index]), model.vertex_bone_weights.numpy()
    )
    vertices, heads = _rest(model, {label: 0.5 for label in model.phenotype_labels})
    skeleton = Skeleton.build(
        faces=model.get_triangular_faces().numpy().astype(np.int32),
        weights=weights,
        names=tuple(names),
        parents=tuple(parents),
        mean=Body(vertices=vertices, joints=heads[list(joints)]),
    )
    return BodyModel(model=model, skeleton=skeleton, joints=joints)
