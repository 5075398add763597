"""A model's structure as data: which heads and tokens each block keeps. Knows no tensors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from prune.variants import VARIANTS, Variant
from runtime.errors import ArtifactError, ConfigError

PATCH = 16
PARTS = 4
MODES = ("bypass", "kv")


@dataclass(frozen=True)
class BlockShape:
    """`heads`: ids of the kept heads; `tokens`: kept token ids in original coordinates, ascending, class token (0) first."""

    heads: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """A TransReID model: variant, input size, heads and tokens per block.

    `blocks` are the blocks of the trunk: depth - 1 with the JPM (whose two branches b1 and b2 stand for the last block and are
    never pruned), depth without it (the last one is never pruned). `mode` says what a pruned token skips: `bypass` the whole
    block (the authors' code), `kv` only keys and values (the paper's figure). `cameras` is the size of the side-information
    table (0: none), `identities` the number of classifier outputs. Head ids count from 0 in the unpruned model; a checkpoint of
    the authors does not record which heads were removed, so its heads are numbered 0..h-1.
    """

    variant: str
    height: int
    width: int
    stride: int
    jpm: bool
    rearrange: bool
    cameras: int
    sie_coefficient: float
    identities: int
    neck: str
    mode: str
    blocks: tuple[BlockShape, ...]

    @property
    def vit(self) -> Variant:
        """The variant's numbers."""
        return VARIANTS[self.variant]

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (vertically, horizontally)."""
        return (self.height - PATCH) // self.stride + 1, (self.width - PATCH) // self.stride + 1

    @property
    def patches(self) -> int:
        """Patch tokens P."""
        return self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        """All tokens N = P + 1."""
        return self.patches + 1

    @property
    def prunable(self) -> int:
        """How many of the first blocks may lose heads and tokens: depth - 1."""
        return self.vit.depth - 1

    @property
    def dim(self) -> int:
        """Width of the descriptor."""
        return self.vit.width * (1 + PARTS if self.jpm else 1)

    def with_blocks(self, blocks: tuple[BlockShape, ...]) -> Shape:
        """The same model with other blocks."""
        return checked(dataclasses.replace(self, blocks=blocks))

    def to_json(self) -> dict[str, Any]:
        """A plain dict; a block that keeps all tokens stores null."""
        every = tuple(range(self.tokens))
        blocks = [
            {"heads": list(block.heads), "tokens": None if block.tokens == every else list(block.tokens)}
            for block in self.blocks
        ]
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "blocks"
        } | {"blocks": blocks}

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str = "shape") -> Shape:
        """Rebuild from `to_json`; ArtifactError names what is wrong."""
        try:
            bare = unpruned(**{key: value for key, value in data.items() if key not in ("blocks", "mode")})
            every = tuple(range(bare.tokens))
            blocks = tuple(
                BlockShape(
                    tuple(block["heads"]), every if block["tokens"] is None else tuple(block["tokens"])
                )
                for block in data["blocks"]
            )
            return checked(dataclasses.replace(bare, mode=data["mode"], blocks=blocks))
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise ArtifactError(f"{where}: not a model shape ({error}); convert or prune again") from None


def unpruned(
    variant: str,
    *,
    height: int = 256,
    width: int = 128,
    stride: int = 16,
    jpm: bool = True,
    rearrange: bool = True,
    cameras: int = 0,
    sie_coefficient: float = 3.0,
    identities: int = 0,
    neck: str = "before",
) -> Shape:
    """The shape of a whole model: every head and token in every block."""
    if variant not in VARIANTS:
        raise ConfigError(f"model.variant {variant!r} is not one of {', '.join(VARIANTS)}")
    if min(height, width) < PATCH or stride < 1:
        raise ConfigError(
            f"model size {height}x{width} stride {stride}: need at least {PATCH} pixels and stride 1"
        )
    shape = Shape(
        variant,
        height,
        width,
        stride,
        jpm,
        rearrange,
        cameras,
        sie_coefficient,
        identities,
        neck,
        "bypass",
        (),
    )
    whole = BlockShape(tuple(range(shape.vit.heads)), tuple(range(shape.tokens)))
    return checked(dataclasses.replace(shape, blocks=(whole,) * (shape.vit.depth - jpm)))


def checked(shape: Shape) -> Shape:
    """The shape itself; ConfigError when a block is empty, out of order, out of range, or the last one is pruned."""
    vit = shape.vit
    if shape.mode not in MODES or shape.neck not in ("before", "after"):
        raise ConfigError(f"mode {shape.mode!r} / neck {shape.neck!r}: need one of {MODES} and before|after")
    if len(shape.blocks) != vit.depth - shape.jpm:
        raise ConfigError(f"{shape.variant} needs {vit.depth - shape.jpm} blocks, not {len(shape.blocks)}")
    for index, block in enumerate(shape.blocks):
        for name, ids, limit in (("heads", block.heads, vit.heads), ("tokens", block.tokens, shape.tokens)):
            if not ids or list(ids) != sorted(set(ids)) or ids[0] < 0 or ids[-1] >= limit:
                raise ConfigError(
                    f"block {index}: {name} must be ascending ids within 0..{limit - 1}, at least one"
                )
        if block.tokens[0] != 0:
            raise ConfigError(f"block {index}: the class token (0) is always kept")
        if index >= shape.prunable and (len(block.heads), len(block.tokens)) != (vit.heads, shape.tokens):
            raise ConfigError(f"block {index}: the last block is never pruned")
    return shape
