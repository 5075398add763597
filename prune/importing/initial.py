"""Build the model that a training run starts from: with random weights, or from one of our models, a plain ViT or a CNN."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from prune.config.load import Config
from prune.importing.imagenet import initialise, pretrained, read_weights, resampled
from prune.importing.stem import TIMM, cnn_file, downloaded_cnn, initialise_stem
from prune.model.architecture import Architecture, unpruned
from prune.model.file import load_model
from prune.model.transreid import TransReID
from runtime.errors import ArtifactError
from runtime.files.manifest import manifest_path, sha256

# Fields of an Architecture that may differ between the two models: no tensor depends on them, or only classifiers, the camera
# table and the position embedding, which `copy_weights` adjusts.
ADJUSTABLE = ("identities", "cameras", "height", "width", "stride", "rearrange", "neck", "mode", "blocks")
# Prefixes of the tensors that a TransReID checkpoint has and a plain ViT lacks.
REID_PREFIXES = ("bottleneck", "b1.", "b2.", "sie_embed")


@dataclasses.dataclass(frozen=True)
class InitialModel:
    """A model to train.

    `parent` is the sha256 of the file that the ViT's weights come from, None without a file. `notes` has a line for everything
    that does not come from the files.
    """

    model: TransReID
    parent: str | None = None
    notes: tuple[str, ...] = ()


def initial_model(config: Config, sources: Sequence[str]) -> InitialModel:
    """Return a model to train. It gets random weights from the configuration's seed, and then those of each of the `sources` in turn.

    A source is one of these texts:

    - "imagenet": timm's ImageNet weights of the ViT
    - "timm:NAME": the weights of timm's CNN with this name, for the stem of a hybrid model
    - the path of a model.safetensors that this project wrote
    - the path of a file with the weights of a plain ViT, or of the CNN for the stem

    Raises ArtifactError when a source cannot be read or does not fit the model; for a TransReID checkpoint, the message names the
    command that converts it. Raises ConfigError when the model has no stem for a CNN, or timm has no weights for the ViT.
    """
    torch.manual_seed(config.train.seed)
    model = TransReID(config.architecture(), drop_path=config.model.drop_path)
    parent, notes = None, []
    for source in sources:
        own_file, lines = _fill(model, source)
        notes += lines
        if own_file:
            parent = sha256(source)
    return InitialModel(model, parent, tuple(notes))


def _fill(model: TransReID, source: str) -> tuple[bool, list[str]]:
    """Fill the model from one source; return (whether it is a file with the ViT's weights, lines on what is not taken from it)."""
    if source == "imagenet":
        initialise(model, pretrained(model.architecture), model.architecture.vit.imagenet or source)
        return False, []
    if source.startswith(TIMM):
        return False, initialise_stem(model, downloaded_cnn(source.removeprefix(TIMM)), source)
    if manifest_path(source).is_file():
        return True, copy_weights(model, load_model(source)[0], source)
    if (cnn := cnn_file(source)) is not None:
        return False, initialise_stem(model, cnn, source)
    state = read_weights(source)
    if "cls_token" in state and any(key.startswith(REID_PREFIXES) for key in state):
        raise ArtifactError(_reid_advice(Path(source)))
    return True, initialise(model, state, source)


def copy_weights(model: TransReID, source: TransReID, path: str) -> list[str]:
    """Fill `model` with the tensors of `source`, and return a line for everything that is new or resampled instead.

    Where the number of identities or cameras differs, the classifiers or the camera table keep their initial values. Where the
    grid differs, the position embedding is resampled. Raises ArtifactError, whose message names `path`, when `source` is pruned or
    its architecture differs in anything else.
    """
    ours, theirs = model.architecture, source.architecture
    if theirs.blocks != _unpruned(theirs).blocks:
        raise ArtifactError(f"{path}: is a pruned model; give the unpruned model that it was made from")
    # the coefficient belongs to the camera table
    adjustable = (
        ADJUSTABLE if ours.cameras and ours.cameras == theirs.cameras else (*ADJUSTABLE, "sie_coefficient")
    )
    # a hybrid model can start from the plain ViT of the same sizes
    plain_sizes = dataclasses.replace(ours.vit, stem=None)
    new_stem = ours.vit.stem is not None and theirs.vit == plain_sizes
    adjustable = (*adjustable, "variant") if new_stem else adjustable
    fields = [field.name for field in dataclasses.fields(Architecture) if field.name not in adjustable]
    differing = [name for name in fields if getattr(ours, name) != getattr(theirs, name)]
    if differing:
        values = ", ".join(f"model.{name} is {getattr(theirs, name)}" for name in differing)
        settings = " ".join(f"--set model.{name}={str(getattr(theirs, name)).lower()}" for name in differing)
        raise ArtifactError(
            f"{path}: does not fit the configuration, because in this model {values}; add {settings}"
        )
    tensors, notes = source.state_dict(), ["it has no stem: the stem is new"] if new_stem else []
    if theirs.identities != ours.identities:
        tensors = {key: value for key, value in tensors.items() if not key.startswith("classifier")}
        trained = f"the training set has {ours.identities}: the classifiers are new"
        reason = trained if ours.identities else "the model has no classifiers"
        notes.append(f"its classifiers know {theirs.identities} people, but {reason}")
    if theirs.cameras != ours.cameras:
        tensors.pop("base.sie_embed", None)
        table = "the camera table is new" if ours.cameras else "the model has no camera table"
        notes.append(f"it knows {theirs.cameras} cameras, but the configuration has {ours.cameras}: {table}")
    if theirs.grid != ours.grid:
        tensors["base.pos_embed"] = resampled(tensors["base.pos_embed"], theirs.grid, ours.grid)
        notes.append(f"the position embedding was resampled from {_grid(theirs)} to {_grid(ours)} patches")
    model.load_state_dict(tensors, strict=False)
    return [f"{path}: {text}" for text in notes]


def _unpruned(architecture: Architecture) -> Architecture:
    fields = {field.name: getattr(architecture, field.name) for field in dataclasses.fields(Architecture)}
    return unpruned(**{name: value for name, value in fields.items() if name not in ("mode", "blocks")})


def _grid(architecture: Architecture) -> str:
    return f"{architecture.grid[0]} x {architecture.grid[1]}"


def _reid_advice(path: Path) -> str:
    if path.suffix == ".safetensors":
        return (
            f"{path}: is a re-identification model without its manifest; put the file {manifest_path(path).name}, which was written "
            "together with it, beside it"
        )
    converted = path.with_suffix(".safetensors")
    return (
        f"{path}: is a re-identification checkpoint, not a plain ViT; convert it with its own configuration first: python -m "
        f"prune.convert {path} --config ITS_CONFIG --out {converted}; then --init {converted}"
    )
