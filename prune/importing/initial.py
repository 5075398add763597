"""The weights that a training starts from: ours, a plain ViT's, or random ones. Trains nothing and reads no data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from prune.config.load import Config
from prune.importing.imagenet import initialise, pretrained, read_weights, resampled
from prune.model.architecture import Architecture, unpruned
from prune.model.file import load_model
from prune.model.transreid import TransReID
from runtime.errors import ArtifactError
from runtime.files.manifest import manifest_path, sha256

# Fields of a Shape on which no tensor depends, or only classifiers, camera table and positions, which are fitted below.
FREE = ("identities", "cameras", "height", "width", "stride", "rearrange", "neck", "mode", "blocks")
# What a TransReID checkpoint has beside the tensors of a plain ViT.
REID = ("bottleneck", "b1.", "b2.", "sie_embed")


@dataclasses.dataclass(frozen=True)
class Start:
    """`model` to train, the sha256 of the file it started from or None, and `notes`: what did not come from that file, a line each."""

    model: TransReID
    parent: str | None = None
    notes: tuple[str, ...] = ()


def start(config: Config, init: str | None) -> Start:
    """A model to train, initialised by the seed and from `init`.

    `init` is None, "imagenet", one of our model.safetensors or a plain ViT's weights. ArtifactError for anything else, with the
    command that makes a TransReID checkpoint one of our models.
    """
    torch.manual_seed(config.train.seed)
    model = TransReID(config.architecture(), drop_path=config.model.drop_path)
    if init is None:
        return Start(model)
    if init == "imagenet":
        initialise(model, pretrained(model.architecture), model.architecture.vit.imagenet or init)
        return Start(model)
    if manifest_path(init).is_file():
        notes = copy_weights(model, load_model(init)[0], init)
    else:
        state = read_weights(init)
        if "cls_token" in state and any(key.startswith(REID) for key in state):
            raise ArtifactError(_reid_text(Path(init)))
        notes = initialise(model, state, init)
    return Start(model, sha256(init), tuple(notes))


def copy_weights(model: TransReID, source: TransReID, path: str) -> list[str]:
    """Fill `model` with the tensors of `source`; a line for each that does not fit and is initialised or resampled instead.

    Classifiers of other identities and a table of other cameras stay as initialised, positions of another grid are resampled.
    ArtifactError for a pruned model and for one of another structure.
    """
    ours, theirs = model.architecture, source.architecture
    if theirs.blocks != _whole(theirs).blocks:
        raise ArtifactError(f"{path}: a pruned model; give the unpruned one that it was made from")
    # the coefficient belongs to the table
    free = FREE if ours.cameras and ours.cameras == theirs.cameras else (*FREE, "sie_coefficient")
    fields = [field.name for field in dataclasses.fields(Architecture) if field.name not in free]
    other = [name for name in fields if getattr(ours, name) != getattr(theirs, name)]
    if other:
        said = ", ".join(f"model.{name} is {getattr(theirs, name)} there" for name in other)
        sets = " ".join(f"--set model.{name}={str(getattr(theirs, name)).lower()}" for name in other)
        raise ArtifactError(f"{path}: {said}, but not in the configuration; add {sets}")
    tensors, notes = source.state_dict(), []
    if theirs.identities != ours.identities:
        tensors = {key: value for key, value in tensors.items() if not key.startswith("classifier")}
        notes.append(
            f"its classifiers know {theirs.identities} people, this training set has {ours.identities}: new ones"
        )
    if theirs.cameras != ours.cameras:
        tensors.pop("base.sie_embed", None)
        new = "a new camera table" if ours.cameras else "no camera table"
        notes.append(f"it knows {theirs.cameras} cameras, this configuration {ours.cameras}: {new}")
    if theirs.grid != ours.grid:
        tensors["base.pos_embed"] = resampled(tensors["base.pos_embed"], theirs.grid, ours.grid)
        notes.append(f"position embedding resampled from {_grid(theirs)} to {_grid(ours)} patches")
    model.load_state_dict(tensors, strict=False)
    return [f"{path}: {text}" for text in notes]


def _whole(architecture: Architecture) -> Architecture:
    given = {field.name: getattr(architecture, field.name) for field in dataclasses.fields(Architecture)}
    return unpruned(**{name: value for name, value in given.items() if name not in ("mode", "blocks")})


def _grid(architecture: Architecture) -> str:
    return f"{architecture.grid[0]} x {architecture.grid[1]}"


def _reid_text(path: Path) -> str:
    if path.suffix == ".safetensors":
        return (
            f"{path}: a re-identification model without its manifest; put {manifest_path(path).name} beside it, "
            "which was written with it"
        )
    converted = path.with_suffix(".safetensors")
    return (
        f"{path}: a re-identification checkpoint, no plain ViT; convert it with its own configuration first: python -m "
        f"prune.convert {path} --config ITS_CONFIG --out {converted}; then --init {converted}"
    )
