"""Compare a published checkpoint with its configuration: the numbers of cameras and people, and the input size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from prune.config.load import Config
from prune.model.architecture import PATCH, Architecture
from runtime.console import note
from runtime.datasets import CAMERAS, PUBLISHED
from runtime.spec import InputSpec

# Input sizes and strides of published person transformers. `token_advice` suggests those that fit the checkpoint.
SIZES = ((256, 128), (384, 128), (384, 192), (256, 256), (224, 224))
STRIDES = range(8, 17)


def checkpoint_spec(config: Config, architecture: Architecture, path: object) -> InputSpec:
    """Return the input specification of the model in the checkpoint at `path`, made from `config`.

    `architecture` is the architecture of the checkpoint. The camera ids in file names select the right rows of the model's camera
    table only on the data set that the model was trained on. If the camera table and the data set of `config` have different
    numbers of cameras, the model was trained on other data: the field `dataset` of the result is then None, and a warning is
    printed. If these numbers agree, but the number of people in the classifier differs from that in the published training set, a
    warning is printed, and `dataset` is kept.
    """
    spec, name = config.spec(), config.data.layout
    if name is None or not architecture.cameras:
        return spec
    if (cameras := CAMERAS.get(name)) is not None and cameras != architecture.cameras:
        note(
            f"WARNING {path}: has {architecture.cameras} cameras, but {name} has {cameras}, so the model was trained on other "
            "data; camera ids from file names will not be used"
        )
        return dataclasses.replace(spec, dataset=None)
    people = sorted({edition["train"][1] for edition in PUBLISHED.get(name, ())})
    if people and architecture.identities and architecture.identities not in people:
        note(
            f"WARNING {path}: its classifier has {architecture.identities} people, but the training set of {name} has {people[0]}; "
            "if the model was trained on other data, add --set data.layout=null, so that camera ids from file names are not used"
        )
    return spec


def camera_advice(cameras: int) -> str:
    """Return the advice of an error message: how to configure a checkpoint with `cameras` camera embeddings (0: none)."""
    if not cameras:
        return "it was trained without cameras: add --set model.cameras=0"
    datasets = [name for name, count in CAMERAS.items() if count == cameras]
    override = f"add --set model.cameras={cameras} if it was trained on other data"
    if not datasets:
        return override
    return (
        f"use the configuration of the data set it was trained on ({' or '.join(datasets)}?), or {override}"
    )


def token_advice(positions: int, architecture: Architecture) -> str:
    """Return the advice of an error message: how to configure a checkpoint with `positions` position embeddings.

    The advice lists the input sizes and strides that give this number of tokens; several may fit. `architecture` is the one that
    the configuration describes, with another number of tokens.
    """
    own = (architecture.height, architecture.width)
    fitting = input_options(positions, architecture.leading, (own, *SIZES))
    same_size = [("", stride) for size, stride in fitting if size == own]
    other_sizes = [
        (f"--set 'model.size=[{height}, {width}]' ", stride) for (height, width), stride in fitting
    ]
    options = [f"{size}--set model.stride={stride}" for size, stride in same_size or other_sizes]
    if not options:
        return "set model.size and model.stride to the values that the checkpoint was trained with"
    return f"add {' or '.join(options)}" + (", whichever it was trained with" if len(options) > 1 else "")


def input_options(
    positions: int, leading: int, sizes: Sequence[tuple[int, int]] = SIZES
) -> list[tuple[tuple[int, int], int]]:
    """Return the pairs ((height, width), stride) of `sizes` and STRIDES that give `positions` tokens, `leading` of them no patches."""
    return [
        (size, stride)
        for size in dict.fromkeys(sizes)
        for stride in STRIDES
        if ((size[0] - PATCH) // stride + 1) * ((size[1] - PATCH) // stride + 1) + leading == positions
    ]
