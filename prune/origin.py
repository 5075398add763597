"""Whose cameras a published checkpoint knows: its camera table against the data set that a configuration names. Reads no files."""

from __future__ import annotations

import dataclasses

from prune.config.load import Config
from prune.model.architecture import PATCH, Architecture
from runtime.console import note
from runtime.datasets import CAMERAS, PUBLISHED
from runtime.spec import InputSpec

# Input sizes and strides of published person transformers: what a wrong configuration is likely to mean.
SIZES = ((256, 128), (384, 128), (384, 192), (256, 256), (224, 224))
STRIDES = range(8, 17)


def checkpoint_spec(config: Config, architecture: Architecture, path: object) -> InputSpec:
    """The input of the checkpoint at `path`, whose tensors have `architecture`, as `config` describes it.

    Camera ids index a table only on the data set that it was trained on. A table of another size than the data set's
    was trained on something else: the specification then names no data set, and a note says so.
    """
    spec, name = config.spec(), config.data.layout
    if name is None or not architecture.cameras:
        return spec
    if (cameras := CAMERAS.get(name)) is not None and cameras != architecture.cameras:
        note(
            f"WARNING {path}: has {architecture.cameras} cameras, {name} has {cameras}: trained on other data, so the model names no "
            "data set and camera ids from file names will not be used"
        )
        return dataclasses.replace(spec, dataset=None)
    people = sorted({edition["train"][1] for edition in PUBLISHED.get(name, ())})
    if people and architecture.identities and architecture.identities not in people:
        note(
            f"WARNING {path}: its classifier knows {architecture.identities} people, {name} has {people[0]} to train on; if it was "
            "trained on other data, add --set data.layout=null: camera ids from file names will not be used then"
        )
    return spec


def camera_advice(cameras: int, architecture: Architecture) -> str:
    """What to do where a checkpoint has `cameras` camera embeddings and the configuration says another number."""
    if not cameras:
        return "it was trained without: add --set model.cameras=0"
    named = [name for name, count in CAMERAS.items() if count == cameras]
    other = (
        f"use the configuration of the data set it was trained on ({' or '.join(named)}?)" if named else ""
    )
    own = f"add --set model.cameras={cameras} for data of its own"
    return f"{other}, or {own}" if other else own


def token_advice(positions: int, architecture: Architecture) -> str:
    """Which size and stride give so many position embeddings; several may, and no tensor tells them apart."""
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
