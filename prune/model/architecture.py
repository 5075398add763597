"""A model's structure as data: which heads, tokens and MLP neurons each block keeps. Knows no tensors."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from prune.model.variants import VARIANTS, Variant
from runtime.errors import ArtifactError, ConfigError

PATCH = 16
PARTS = 4
MODES = ("bypass", "kv")
# Far beyond any model, and small enough that a damaged number fills no memory.
MOST = {"height": 10_000, "width": 10_000, "stride": 10_000, "cameras": 100_000, "identities": 1_000_000}
MOST_TOKENS = 50_000


@dataclass(frozen=True)
class BlockArchitecture:
    """`heads`: ids of the kept heads; `tokens`: kept token ids in original coordinates, ascending, class token (0) first.

    `hidden`: how many MLP neurons are kept, None for all of them. A block without heads and tokens is removed: what comes in
    goes out.
    """

    heads: tuple[int, ...]
    tokens: tuple[int, ...]
    hidden: int | None = None

    @property
    def removed(self) -> bool:
        """Whether nothing of the block is left."""
        return not self.heads and not self.tokens


REMOVED = BlockArchitecture((), ())


@dataclass(frozen=True)
class Architecture:
    """A TransReID model: variant, input size, heads, tokens and MLP neurons per block.

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
    blocks: tuple[BlockArchitecture, ...]

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
        """How many of the first blocks may be pruned: depth - 1."""
        return self.vit.depth - 1

    @property
    def present(self) -> int:
        """How many of those are not removed."""
        return sum(not block.removed for block in self.blocks[: self.prunable])

    @property
    def hidden(self) -> tuple[int, ...]:
        """MLP neurons of every block, 0 where it is removed."""
        return tuple(0 if block.removed else block.hidden or self.vit.hidden for block in self.blocks)

    @property
    def dim(self) -> int:
        """Width of the descriptor."""
        return self.vit.width * (1 + PARTS if self.jpm else 1)

    def with_blocks(self, blocks: tuple[BlockArchitecture, ...]) -> Architecture:
        """The same model with other blocks."""
        return checked(dataclasses.replace(self, blocks=blocks))

    def to_json(self) -> dict[str, Any]:
        """A plain dict; a block that keeps all tokens stores null, one that keeps all MLP neurons says nothing of them."""
        every = tuple(range(self.tokens))
        blocks = [
            {"heads": list(block.heads), "tokens": None if block.tokens == every else list(block.tokens)}
            | ({} if block.hidden is None else {"hidden": block.hidden})
            for block in self.blocks
        ]
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "blocks"
        } | {"blocks": blocks}

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str = "shape") -> Architecture:
        """Rebuild from `to_json`; ArtifactError names what is wrong."""
        try:
            bare = unpruned(**{key: value for key, value in data.items() if key not in ("blocks", "mode")})
            every = tuple(range(bare.tokens))
            for block in data["blocks"]:
                if not all(type(one) is int for one in [*block["heads"], *(block["tokens"] or ())]):
                    raise TypeError("heads and tokens must be whole numbers")
            blocks = tuple(
                BlockArchitecture(
                    tuple(block["heads"]),
                    every if block["tokens"] is None else tuple(block["tokens"]),
                    block.get("hidden"),
                )
                for block in data["blocks"]
            )
            return checked(dataclasses.replace(bare, mode=data["mode"], blocks=blocks))
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
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
) -> Architecture:
    """The shape of a whole model: every head and token in every block."""
    if variant not in VARIANTS:
        raise ConfigError(f"model.variant {variant!r} is not one of {', '.join(VARIANTS)}")
    sizes = {"height": height, "width": width, "stride": stride, "cameras": cameras, "identities": identities}
    for name, value in sizes.items():
        if type(value) is not int or not 0 <= value <= MOST[name]:
            raise ConfigError(f"model {name} {value!r} is no whole number from 0 to {MOST[name]:,}")
    if type(sie_coefficient) not in (int, float) or not math.isfinite(sie_coefficient):
        raise ConfigError(f"sie_coefficient {sie_coefficient!r} is no number")
    if type(jpm) is not bool or type(rearrange) is not bool:
        raise ConfigError(f"jpm {jpm!r} and rearrange {rearrange!r} must be true or false")
    if min(height, width) < PATCH or stride < 1:
        raise ConfigError(
            f"model size {height}x{width} stride {stride}: need at least {PATCH} pixels and stride 1"
        )
    architecture = Architecture(
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
    if architecture.tokens > MOST_TOKENS:
        raise ConfigError(
            f"model size {height}x{width} stride {stride}: {architecture.tokens:,} tokens, more than {MOST_TOKENS:,}; "
            "use a smaller size or a larger stride"
        )
    whole = BlockArchitecture(tuple(range(architecture.vit.heads)), tuple(range(architecture.tokens)))
    return checked(dataclasses.replace(architecture, blocks=(whole,) * (architecture.vit.depth - jpm)))


def checked(architecture: Architecture) -> Architecture:
    """The shape itself; ConfigError when a block is half empty, out of order, out of range, all or the last are pruned away."""
    vit = architecture.vit
    if architecture.mode not in MODES or architecture.neck not in ("before", "after"):
        raise ConfigError(
            f"mode {architecture.mode!r} / neck {architecture.neck!r}: need one of {MODES} and before|after"
        )
    if len(architecture.blocks) != vit.depth - architecture.jpm:
        raise ConfigError(
            f"{architecture.variant} needs {vit.depth - architecture.jpm} blocks, not {len(architecture.blocks)}"
        )
    if not architecture.present:
        raise ConfigError(
            f"all {architecture.prunable} blocks before the last are removed; keep at least one"
        )
    for index, block in enumerate(architecture.blocks):
        if block.hidden is not None and (
            block.removed or type(block.hidden) is not int or not 1 <= block.hidden < vit.hidden
        ):
            raise ConfigError(
                f"block {index}: hidden {block.hidden!r} must be 1..{vit.hidden - 1} kept neurons of a block that is there, "
                f"or left out for all {vit.hidden}"
            )
        if block.removed and index < architecture.prunable:
            continue
        for name, ids, limit in (
            ("heads", block.heads, vit.heads),
            ("tokens", block.tokens, architecture.tokens),
        ):
            if not ids or list(ids) != sorted(set(ids)) or ids[0] < 0 or ids[-1] >= limit:
                raise ConfigError(
                    f"block {index}: {name} must be ascending ids within 0..{limit - 1}, at least one"
                )
        if block.tokens[0] != 0:
            raise ConfigError(f"block {index}: the class token (0) is always kept")
        kept = (len(block.heads), len(block.tokens), architecture.hidden[index])
        if index >= architecture.prunable and kept != (vit.heads, architecture.tokens, vit.hidden):
            raise ConfigError(f"block {index}: the last block is never pruned")
    return architecture


def removed_count(architecture: Architecture, removed: int | tuple[int, ...]) -> int:
    """How many blocks `removed`, a number or block indices, means; ConfigError when none would be left, or there is no such block."""
    if isinstance(removed, int):
        count = removed
    else:
        there = [
            index
            for index, block in enumerate(architecture.blocks[: architecture.prunable])
            if not block.removed
        ]
        count = len(removed)
        if not set(removed) <= set(there) or len(set(removed)) < count:
            raise ConfigError(f"prune.blocks.removed {list(removed)}: give different numbers from {there}")
    if count and count >= architecture.present:
        raise ConfigError(
            f"prune.blocks.removed: {count} of {architecture.present} blocks, but one must stay; ask for fewer"
        )
    return count
