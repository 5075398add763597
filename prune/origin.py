"""Compare a published checkpoint with the data set that a configuration names: cameras, people, input size."""

from __future__ import annotations

import dataclasses

from prune.config.load import Config
from prune.model.architecture import PATCH, Architecture
from runtime.console import note
from runtime.datasets import CAMERAS, PUBLISHED
from runtime.spec import InputSpec

# Input sizes and strides of published person transformers, to guess what a wrong configuration should say.
SIZES = ((256, 128), (384, 128), (384, 192), (256, 256), (224, 224))
STRIDES = range(8, 17)


def checkpoint_spec(config: Config, architecture: Architecture, path: object) -> InputSpec:
    """Return the input specification of the checkpoint at `path`, whose tensors have `architecture`, as `config` describes it.

    Camera ids index the camera table only on the data set that it was trained on. If the sizes of table and data set differ, the
    model was trained on other data: the specification then names no data set, and a note says so.
    """
    spec, name = config.spec(), config.data.layout
    if name is None or not architecture.cameras:
        return spec
    if (cameras := CAMERAS.get(name)) is not None and cameras != architecture.cameras:
        note(
            f"WARNING {path}: has {architecture.cameras} cameras, but {name} has {cameras}: it was trained on other data, so the "
            "model names no data set, and camera ids from file names will not be used"
        )
        return dataclasses.replace(spec, dataset=None)
    people = sorted({edition["train"][1] for edition in PUBLISHED.get(name, ())})
    if people and architecture.identities and architecture.identities not in people:
        note(
            f"WARNING {path}: its classifier knows {architecture.identities} people, but {name} has {people[0]} to train on; if it "
            "was trained on other data, add --set data.layout=null, so that camera ids from file names are not used"
        )
    return spec


def camera_advice(cameras: int) -> str:
    """Say what to do if a checkpoint has `cameras` camera embeddings and the configuration another number."""
    if not cameras:
        return "it was trained without cameras: add --set model.cameras=0"
    named = [name for name, count in CAMERAS.items() if count == cameras]
    other = (
        f"use the configuration of the data set it was trained on ({' or '.join(named)}?)" if named else ""
    )
    own = f"add --set model.cameras={cameras} if it was trained on other data"
    return f"{other}, or {own}" if other else own


def token_advice(positions: int, architecture: Architecture) -> str:
    """Say which sizes and strides give so many position embeddings; there may be several, which no tensor tells apart."""
    own = [
        ("", stride)
        for stride in STRIDES
        if _tokens(architecture.height, architecture.width, stride) == positions
    ]
    others = [
        (f"--set 'model.size=[{height}, {width}]' ", stride)
        for height, width in SIZES
        for stride in STRIDES
        if _tokens(height, width, stride) == positions
    ]
    options = [f"{size}--set model.stride={stride}" for size, stride in own or others]
    if not options:
        return "set model.size and model.stride to those it was trained with"
    return f"add {' or '.join(options)}" + (", whichever it was trained with" if len(options) > 1 else "")


def _tokens(height: int, width: int, stride: int) -> int:
    return ((height - PATCH) // stride + 1) * ((width - PATCH) // stride + 1) + 1
