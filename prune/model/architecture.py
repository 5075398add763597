"""The architecture of a TransReID model as data: its sizes, and which heads, tokens and MLP neurons each block keeps.

Imports no tensor library.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from prune.model.families.table import FAMILIES, Family, Part, family_problem, parts_of, size_problem
from prune.model.variants import VARIANTS, Variant
from runtime.errors import ArtifactError, ConfigError

PATCH = 16
MODES = ("bypass", "kv")
# Far beyond any real model, and small enough that a damaged manifest cannot exhaust the memory.
LIMITS = {"height": 10_000, "width": 10_000, "stride": 10_000, "cameras": 100_000, "identities": 1_000_000}
MAX_TOKENS = 50_000
MAX_DEPTH = 100
# Older files lack these fields; where they have their default values, newer files lack them too.
LATER_FIELDS = ("family", "pooling", "depth")


@dataclass(frozen=True)
class BlockArchitecture:
    """The heads, tokens and MLP neurons that one transformer block keeps.

    `heads` are the ids of the kept heads, ascending. `tokens` are the ids of the kept tokens, ascending, with the leading tokens (the
    class token, 0) first. Both are 0-based ids of the unpruned model. `hidden` is the number of kept MLP neurons, or None for all of
    them. A block without heads and tokens is removed: it passes its input on unchanged.
    """

    heads: tuple[int, ...]
    tokens: tuple[int, ...]
    hidden: int | None = None

    @property
    def removed(self) -> bool:
        """Whether the whole block is removed."""
        return not self.heads and not self.tokens


REMOVED = BlockArchitecture((), ())


@dataclass(frozen=True)
class Architecture:
    """The structure of a model: family, variant, input size, and the heads, tokens and MLP neurons of each block.

    `variant` is a key of VARIANTS, and `family` of FAMILIES. `depth` is the number of blocks (None: the variant's). `pooling` is
    "class" (the feature is the class token) or one of POOLINGS (it is pooled from the patch tokens). `height` and `width` are the
    input size and `stride` the stride of the patch embedding, in pixels. `jpm` says whether the model has the jigsaw patch module
    (JPM), and `rearrange` whether the JPM shuffles the patches. `cameras` is the number of rows of the camera table (side information
    embedding; 0: no table), and `sie_coefficient` multiplies the table. `identities` is the number of outputs of each classifier (0:
    no classifiers). `neck` is "before" or "after": the descriptor is taken before or after the batch-norm necks.

    `blocks` are the blocks of the trunk. With the JPM there are depth - 1 of them: the two branches of the JPM, b1 and b2, take the
    place of the last block and are never pruned. Without the JPM there are depth of them, and the last one is never pruned. `mode`
    says what a pruned token skips: the whole block (`bypass`, as in the authors' code), or only keys and values (`kv`, as in the
    paper's figure). A checkpoint of the authors does not record which heads were removed, so its heads are numbered 0..h-1.
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
    family: str = "vit"
    pooling: str = "class"
    depth: int | None = None

    @property
    def vit(self) -> Variant:
        """The sizes of the ViT."""
        variant = VARIANTS[self.variant]
        return variant if self.depth is None else dataclasses.replace(variant, depth=self.depth)

    @property
    def kind(self) -> Family:
        """What the family has beside the sizes of its variant."""
        return FAMILIES[self.family]

    @property
    def leading(self) -> int:
        """The number of tokens before the patch tokens, which are never pruned: 1 (the class token), or more in some families."""
        return self.kind.leading

    @property
    def output(self) -> str:
        """How the last tokens become features: "jpm", "pooled", or that of the family."""
        if self.jpm:
            return "jpm"
        return self.kind.output if self.pooling == "class" else "pooled"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The features, each with a neck of its own, from which the descriptor is made."""
        return parts_of(self.output, self.vit.width)

    @property
    def classified(self) -> dict[str, int]:
        """The features that have a classifier: the suffix of its name -> the width of the feature."""
        if self.kind.one_classifier:
            return {"": self.dim}
        return {part.suffix: part.width for part in self.parts}

    @property
    def grid(self) -> tuple[int, int]:
        """The number of patches (vertically, horizontally)."""
        return (self.height - PATCH) // self.stride + 1, (self.width - PATCH) // self.stride + 1

    @property
    def patches(self) -> int:
        """The number of patch tokens P."""
        return self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        """The number of all tokens N: the leading tokens and the patch tokens."""
        return self.leading + self.patches

    @property
    def prunable(self) -> int:
        """The number of blocks that may be pruned, counted from the first: depth - 1."""
        return self.vit.depth - 1

    @property
    def present_blocks(self) -> int:
        """The number of prunable blocks that are not removed."""
        return sum(not block.removed for block in self.blocks[: self.prunable])

    @property
    def hidden(self) -> tuple[int, ...]:
        """The number of MLP neurons of each block, 0 for a removed block."""
        return tuple(0 if block.removed else block.hidden or self.vit.hidden for block in self.blocks)

    @property
    def dim(self) -> int:
        """The number of values in the descriptor."""
        return sum({part.slot: part.width for part in self.parts}.values())

    def with_blocks(self, blocks: tuple[BlockArchitecture, ...]) -> Architecture:
        """Return this architecture with `blocks` in place of its own; raise ConfigError when `validated` rejects them."""
        return validated(dataclasses.replace(self, blocks=blocks))

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict for JSON, which `from_json` reads.

        A block that keeps all tokens has None in place of their ids. A block that keeps all MLP neurons has no key `hidden`. The
        LATER_FIELDS are left out where they have their default values.
        """
        all_tokens = tuple(range(self.tokens))
        blocks = [
            {"heads": list(block.heads), "tokens": None if block.tokens == all_tokens else list(block.tokens)}
            | ({} if block.hidden is None else {"hidden": block.hidden})
            for block in self.blocks
        ]
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "blocks"
            and (field.name not in LATER_FIELDS or getattr(self, field.name) != field.default)
        } | {"blocks": blocks}

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str = "shape") -> Architecture:
        """Return the architecture in a dict of `to_json`; an invalid dict raises ArtifactError, whose message begins with `where`."""
        try:
            whole = unpruned(**{key: value for key, value in data.items() if key not in ("blocks", "mode")})
            all_tokens = tuple(range(whole.tokens))
            for block in data["blocks"]:
                if not all(type(index) is int for index in [*block["heads"], *(block["tokens"] or ())]):
                    raise TypeError("heads and tokens must be whole numbers")
            blocks = tuple(
                BlockArchitecture(
                    tuple(block["heads"]),
                    all_tokens if block["tokens"] is None else tuple(block["tokens"]),
                    block.get("hidden"),
                )
                for block in data["blocks"]
            )
            return validated(dataclasses.replace(whole, mode=data["mode"], blocks=blocks))
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            reason = f"the key {error} is missing" if isinstance(error, KeyError) else error
            raise ArtifactError(
                f"{where}: not the architecture of a model ({reason}); convert or prune the model again"
            ) from None


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
    family: str = "vit",
    pooling: str = "class",
    depth: int | None = None,
) -> Architecture:
    """Return the architecture of an unpruned model, whose blocks keep all heads, tokens and neurons.

    The arguments are fields of `Architecture`. Raises ConfigError for impossible values.
    """
    if variant not in VARIANTS:
        raise ConfigError(f"model.variant {variant!r} is not one of {', '.join(VARIANTS)}")
    if problem := family_problem(
        family, pooling, jpm=jpm, stem=VARIANTS[variant].stem is not None, cameras=bool(cameras)
    ):
        raise ConfigError(problem)
    if depth is not None and (type(depth) is not int or not 2 <= depth <= MAX_DEPTH):
        raise ConfigError(f"model.depth {depth!r} is not a whole number from 2 to {MAX_DEPTH}")
    sizes = {"height": height, "width": width, "stride": stride, "cameras": cameras, "identities": identities}
    for name, value in sizes.items():
        if type(value) is not int or not 0 <= value <= LIMITS[name]:
            raise ConfigError(f"model {name} {value!r} is not a whole number from 0 to {LIMITS[name]:,}")
    if type(sie_coefficient) not in (int, float) or not math.isfinite(sie_coefficient):
        raise ConfigError(f"model.sie_coefficient {sie_coefficient!r} is not a finite number")
    if type(jpm) is not bool or type(rearrange) is not bool:
        raise ConfigError(f"model.jpm {jpm!r} and model.rearrange {rearrange!r} must each be true or false")
    if min(height, width) < PATCH or stride < 1:
        raise ConfigError(
            f"model size {height}x{width} stride {stride}: height and width must be at least {PATCH} pixels, and the stride 1"
        )
    depth = None if depth == VARIANTS[variant].depth else depth
    model = (variant, height, width, stride, jpm, rearrange, cameras, sie_coefficient, identities, neck)
    architecture = Architecture(*model, "bypass", (), family, pooling, depth)
    if problem := size_problem(family, pooling, (height, width), stride=stride, patches=architecture.patches):
        raise ConfigError(f"model size {height}x{width} stride {stride}: {problem}")
    if architecture.tokens > MAX_TOKENS:
        raise ConfigError(
            f"model size {height}x{width} stride {stride}: that gives {architecture.tokens:,} tokens, more than {MAX_TOKENS:,}; "
            "use a smaller size or a larger stride"
        )
    whole_block = BlockArchitecture(tuple(range(architecture.vit.heads)), tuple(range(architecture.tokens)))
    return validated(
        dataclasses.replace(architecture, blocks=(whole_block,) * (architecture.vit.depth - jpm))
    )


def validated(architecture: Architecture) -> Architecture:
    """Return `architecture` unchanged; raise ConfigError, which names the first invalid block or setting, if no model can have it.

    A block must keep both heads and tokens, or neither. Its ids must ascend and be in range, and its tokens must include the leading
    ones. At least one prunable block must be left, and the last block must be unpruned.
    """
    vit = architecture.vit
    if architecture.mode not in MODES or architecture.neck not in ("before", "after"):
        raise ConfigError(
            f"mode {architecture.mode!r}, neck {architecture.neck!r}: the mode must be {' or '.join(MODES)}, the neck before or after"
        )
    if len(architecture.blocks) != vit.depth - architecture.jpm:
        raise ConfigError(
            f"{architecture.variant} needs {vit.depth - architecture.jpm} blocks, not {len(architecture.blocks)}"
        )
    if not architecture.present_blocks:
        raise ConfigError(f"all {architecture.prunable} prunable blocks are removed; keep at least one")
    for index, block in enumerate(architecture.blocks):
        if block.hidden is not None and (
            block.removed or type(block.hidden) is not int or not 1 <= block.hidden < vit.hidden
        ):
            raise ConfigError(
                f"block {index}: hidden is {block.hidden!r}, but must be 1..{vit.hidden - 1}, the number of kept neurons; leave it "
                f"out in a block that keeps all {vit.hidden}, and in a removed block"
            )
        if block.removed and index < architecture.prunable:
            continue
        for name, ids, limit in (
            ("heads", block.heads, vit.heads),
            ("tokens", block.tokens, architecture.tokens),
        ):
            if not ids or list(ids) != sorted(set(ids)) or ids[0] < 0 or ids[-1] >= limit:
                raise ConfigError(
                    f"block {index}: {name} must be at least one id of 0..{limit - 1}, in ascending order"
                )
        if block.tokens[: architecture.leading] != tuple(range(architecture.leading)):
            names = "class token (0)" if architecture.leading == 1 else f"first {architecture.leading} tokens"
            raise ConfigError(f"block {index}: the {names} must be kept")
        kept = (len(block.heads), len(block.tokens), architecture.hidden[index])
        if index >= architecture.prunable and kept != (vit.heads, architecture.tokens, vit.hidden):
            raise ConfigError(f"block {index}: the last block cannot be pruned; keep all of it")
    return architecture
