"""Recognise the family, the variant and the sizes of a re-identification transformer from its tensors' names and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from prune.importing.pass_reid import pass_family
from prune.model.architecture import PATCH
from prune.model.families.table import FAMILIES, variants_of
from prune.model.variants import VARIANTS
from runtime.errors import ArtifactError
from runtime.wording import printable

# A tensor that only this family has; a checkpoint with none of them is a plain ViT. The names are those after `unprefixed`.
SIGNS = {"ics": "base.patch_embed.conv.0.weight", "clip": "base.norm_pre.weight"}
# Tensor names of networks that cannot be imported -> what they are.
FOREIGN = (
    (r"relative_position_bias_table|semantic_embed_w", "a Swin transformer (as in SOLIDER and NVIDIA TAO)"),
    (
        r"rope_embed|storage_tokens|register_tokens|\.ls1\.gamma",
        "a ViT with registers or LayerScale (as in DINOv3)",
    ),
    (r"(^|\.)layer[1-4]\.\d+\.conv[1-3]\.", "a ResNet"),
    (r"(^|\.)conv[2-5]\.\d+\.(conv2[a-d]|conv1\.conv)\.", "an OSNet"),
    (r"(^|\.)stage[2-4]\.\d+\.fuse_layers\.", "an HRNet"),
)
ADOPT = (
    "prune.convert does not import it; export it to ONNX in its own project and adopt that file: python -m export adopt MODEL.onnx "
    "--out ADOPTED.onnx (docs/adopt.md)"
)
BLOCK = re.compile(r"base\.blocks\.(\d{1,4})\.")


@dataclass(frozen=True)
class Recognised:
    """What the tensors of a checkpoint show: family, variant, number of blocks, JPM, position embeddings, cameras and identities.

    `variants` are all variants with these sizes, the likeliest first. `tokens` counts the leading tokens too.
    """

    family: str
    variants: tuple[str, ...]
    depth: int
    jpm: bool
    tokens: int
    cameras: int
    identities: int


def refuse_foreign(state: Mapping[str, Tensor], path: Path | str) -> None:
    """Raise ArtifactError, which points to `python -m export adopt`, when the tensors are those of another kind of network.

    `state` has the tensors of the checkpoint at `path` under the names of `split_checkpoint`.
    """
    for pattern, network in FOREIGN:
        if name := next((key for key in state if re.search(pattern, key)), None):
            raise ArtifactError(f"{path}: holds {network} (it has {printable(name)}); {ADOPT}")
    if not any(key.endswith("cls_token") for key in state):
        names = ", ".join(printable(key) for key in list(state)[:3])
        raise ArtifactError(
            f"{path}: holds no vision transformer of TransReID's kind (its first tensors: {names}); {ADOPT}"
        )
    patch = state.get("base.patch_embed.proj.weight")
    if patch is not None and family_of(state) == "vit" and tuple(patch.shape[1:]) != (3, PATCH, PATCH):
        raise ArtifactError(
            f"{path}: its patch projection has the shape {tuple(patch.shape)}, but only patches of {PATCH} x {PATCH} pixels are "
            f"supported; {ADOPT}"
        )
    if "base.cls_token" not in state:
        raise ArtifactError(
            f"{path}: holds a plain ViT without the batch-norm neck of a re-identification model; train it instead: "
            f"python -m prune.train --config CONFIG.yaml --init {path} --data ROOT --out OUT"
        )


def family_of(state: Mapping[str, Tensor]) -> str:
    """Return the key of FAMILIES for a checkpoint with the tensors `state`."""
    return pass_family(state) or next((family for family, sign in SIGNS.items() if sign in state), "vit")


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what the tensors `state` of a checkpoint show; None when one is missing or damaged, or no variant has their sizes."""
    try:
        width = state["base.cls_token"].shape[-1]
        hidden = state["base.blocks.0.mlp.fc1.weight"].shape[0]
        tokens = state["base.pos_embed"].shape[1]
    except (KeyError, IndexError):
        return None
    family, jpm = family_of(state), "b1.0.norm1.weight" in state
    sizes = (width, hidden, "base.blocks.0.attn.qkv.bias" in state, "base.stem.conv_stem.weight" in state)
    # the published files also hold the last block, which the branches of the JPM replace; our own do not
    listed = 1 + max(int(match[1]) for key in state if (match := BLOCK.match(key)))
    depth = listed + (jpm and "base.norm.weight" not in state)
    fitting = [
        name
        for name in variants_of(family, tuple(VARIANTS))
        if sizes
        == (
            VARIANTS[name].width,
            VARIANTS[name].hidden,
            VARIANTS[name].qkv_bias,
            VARIANTS[name].stem is not None,
        )
    ]
    if not fitting or depth < 2:
        return None
    fitting.sort(key=lambda name: VARIANTS[name].depth != depth)
    return Recognised(
        family,
        tuple(fitting),
        depth,
        jpm,
        tokens,
        _rows(state, "base.sie_embed"),
        _rows(state, "classifier.weight"),
    )


def described(recognised: Recognised, variant: str) -> str:
    """Return words for what was recognised, such as "a plain ViT (deit_small: 384 x 12 x 6)"."""
    sizes = VARIANTS[variant]
    jpm = " with the JPM" if recognised.jpm else ""
    return f"{FAMILIES[recognised.family].title}{jpm} ({variant}: {sizes.width} x {recognised.depth} x {sizes.heads})"


def _rows(state: Mapping[str, Tensor], name: str) -> int:
    return state[name].shape[0] if name in state and state[name].dim() else 0
