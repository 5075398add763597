"""Build the model that a training run starts from: with random weights, or from one of our models, a plain ViT or a CNN."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from prune.config.load import Config
from prune.importing.imagenet import fetched, initialise, pretrained, read_weights, resampled
from prune.importing.stem import initialise_stem, is_cnn
from prune.model.architecture import Architecture, unpruned
from prune.model.file import load_model
from prune.model.transreid import TransReID
from runtime.errors import ArtifactError
from runtime.files.manifest import manifest_path, sha256

# Fields of an Architecture that may differ between the two models: no tensor depends on them, or only classifiers, the camera
# table and the position embedding, which `copy_weights` adjusts.
ADJUSTABLE = (
    "identities",
    "cameras",
    "height",
    "width",
    "stride",
    "rearrange",
    "neck",
    "pooling",
    "mode",
    "blocks",
)
TIMM = "timm:"
# Prefixes of the tensors that a TransReID checkpoint has and a plain ViT lacks.
REID_PREFIXES = ("bottleneck", "b1.", "b2.", "sie_embed")


@dataclasses.dataclass(frozen=True)
class InitialModel:
    """A model to train.

    `parent` is the sha256 of the file that the ViT's weights come from, None without a file. `notes` has a line for everything
    that does not come from the files. `random_parts` names the parts that no source has weights for: "ViT", "CNN" (the stem).
    """

    model: TransReID
    parent: str | None = None
    notes: tuple[str, ...] = ()
    random_parts: tuple[str, ...] = ()


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
    random = ["ViT", "CNN"] if model.architecture.vit.stem else ["ViT"]
    parent, notes = None, []
    for source in sources:
        parts, is_file, lines = _fill(model, source)
        random = [part for part in random if part not in parts]
        notes += lines
        if is_file and "ViT" in parts:
            parent = sha256(source)
    if sources and random:
        notes.append(f"the {' and the '.join(random)} of {config.model.variant} keeps random weights")
    return InitialModel(model, parent, tuple(notes), tuple(random))


def _fill(model: TransReID, source: str) -> tuple[tuple[str, ...], bool, list[str]]:
    """Fill the model from one source; return (the parts with its weights, whether it is a file, lines on what is not from it)."""
    if source == "imagenet":
        initialise(model, pretrained(model.architecture), model.architecture.vit.imagenet or source)
        return ("ViT",), False, []
    if source.startswith(TIMM):
        return ("CNN",), False, initialise_stem(model, fetched(source.removeprefix(TIMM)), source)
    if manifest_path(source).is_file():
        saved = load_model(source)[0]
        parts = ("ViT", "CNN") if saved.architecture.vit.stem else ("ViT",)
        return parts, True, copy_weights(model, saved, source)
    state = read_weights(source)
    if is_cnn(state):
        return ("CNN",), True, initialise_stem(model, state, source)
    if "cls_token" in state and any(key.startswith(REID_PREFIXES) for key in state):
        raise ArtifactError(_reid_advice(Path(source)))
    return ("ViT",), True, initialise(model, state, source)


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
    if ours.vit.stem is not None and theirs.vit == plain_sizes:
        adjustable = (*adjustable, "variant")
    fields = [field.name for field in dataclasses.fields(Architecture) if field.name not in adjustable]
    differing = [name for name in fields if getattr(ours, name) != getattr(theirs, name)]
    if differing:
        values = ", ".join(f"model.{name} is {getattr(theirs, name)}" for name in differing)
        settings = " ".join(f"--set model.{name}={str(getattr(theirs, name)).lower()}" for name in differing)
        raise ArtifactError(
            f"{path}: does not fit the configuration, because in this model {values}; add {settings}"
        )
    tensors = source.state_dict()
    notes: list[str] = []
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
