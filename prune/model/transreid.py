"""TransReID as a torch module in its plain form: every step as published, every size fixed by an Architecture."""

from __future__ import annotations

import torch
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from prune.model.architecture import Architecture, BlockArchitecture
from prune.model.block import Block
from prune.model.families.build import embedding, output
from prune.model.families.outputs import combined
from prune.model.families.table import PARTS
from prune.model.jpm import local_groups
from prune.model.stem import Stem
from prune.model.variants import Variant


class Trunk(nn.Module):
    """The embedding and the blocks, under the names of the published checkpoints (`base.*`)."""

    def __init__(self, architecture: Architecture, drop_path: float) -> None:
        super().__init__()
        vit = architecture.vit
        self.cls_token = nn.Parameter(torch.zeros(1, architecture.leading, vit.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, architecture.tokens, vit.width))
        if architecture.cameras:
            self.sie_embed = nn.Parameter(torch.zeros(architecture.cameras, 1, vit.width))
        self.sie_coefficient = architecture.sie_coefficient
        self.patch_embed = embedding(architecture)
        self.stem: Stem | None = None
        if vit.stem:
            size = (architecture.height, architecture.width)
            self.stem = Stem(
                vit.stem, size, grid=architecture.grid, width=vit.width, outputs=architecture.dim
            )
        self.norm_pre: nn.Module = nn.Identity()
        if architecture.kind.pre_norm:
            self.norm_pre = nn.LayerNorm(vit.width, eps=vit.eps)
        self.padding = architecture.tokens - 1 if architecture.kind.camera_tokens == "class" else 0
        self.blocks = nn.ModuleList(_block(architecture, block) for block in architecture.blocks)
        rates = [drop_path * index / (vit.depth - 1) for index in range(vit.depth)]
        for block, rate in zip(self.blocks, rates):
            if isinstance(block, Block) and rate:
                block.drop_path = DropPath(rate)
        if not architecture.jpm:
            self.norm = nn.LayerNorm(vit.width, eps=vit.eps)

    def camera_table(self) -> Tensor:
        """Return one row per camera, then their mean, then zeros, all multiplied by the coefficient.

        The table is (cameras + 2, 1, D), or (cameras + 2, N, D) with zeros for the patch tokens if it acts on the class token only.
        """
        table = F.pad(self.sie_embed * self.sie_coefficient, (0, 0, 0, self.padding))
        return torch.cat([table, table.mean(dim=0, keepdim=True), torch.zeros_like(table[:1])])

    def forward(self, images: Tensor, camera_ids: Tensor | None) -> Tensor:
        """Return the tokens (B, N, D), in original order and before the last norm, of images (B, 3, H, W).

        `camera_ids` (B,) are those of `TransReID.forward`.
        """
        return self.with_skip(images, camera_ids)[0]

    def with_skip(self, images: Tensor, camera_ids: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return (the tokens of `forward`, what the stem adds to the descriptor (B, dim), or None without a stem)."""
        patches, skip = self.patch_embed(images), None
        if self.stem is not None:
            tokens, skip = self.stem(images)
            patches = patches + tokens
        x = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1) + self.pos_embed
        if hasattr(self, "sie_embed"):
            table = self.camera_table()
            # Without camera ids the mean camera is used, as for an unknown camera.
            x = x + (table[-2:-1] if camera_ids is None else table.index_select(0, camera_ids))
        x = self.norm_pre(x)
        for block in self.blocks:
            x = block(x)
        return x, skip


class TransReID(nn.Module):
    """TransReID (He et al., ICCV 2021) with or without the JPM, pruned as its architecture says.

    The parameters have the names of the published checkpoints. Blocks that the forward pass never runs are left out.
    """

    def __init__(self, architecture: Architecture, *, drop_path: float = 0.1) -> None:
        super().__init__()
        self.architecture = architecture
        vit = architecture.vit
        self.base = Trunk(architecture, drop_path)
        self.suffixes = [part.suffix for part in architecture.parts]
        if architecture.jpm:
            self.b1 = _branch(vit, drop_path)
            self.b2 = _branch(vit, drop_path)
            groups = local_groups(architecture.patches, PARTS, rearrange=architecture.rearrange)
            self.register_buffer("groups", torch.tensor(groups), persistent=False)
        else:
            self.output = output(architecture)
        for part in architecture.parts:
            neck = nn.BatchNorm1d(part.width)
            neck.bias.requires_grad_(False)
            setattr(self, f"bottleneck{part.suffix}", neck)
            if architecture.identities and part.suffix in architecture.classified:
                width = architecture.classified[part.suffix]
                setattr(
                    self, f"classifier{part.suffix}", nn.Linear(width, architecture.identities, bias=False)
                )
        self.reset()

    def reset(self) -> None:
        """Draw the initial weights of all layers but the stem from normal distributions with mean 0, as published.

        The standard deviation is 0.001 for the classifiers, (2 / fan-out) ** 0.5 for the patch embedding, and otherwise 0.02, with
        the distribution truncated. The biases of linear layers become 0. Layer norms and batch norms keep their values.
        """
        for name, module in self.named_modules():
            # the stem has drawn its own initial weights
            if isinstance(module, nn.Linear) and not name.startswith("base.stem."):
                if "classifier" in name:
                    nn.init.normal_(module.weight, std=0.001)
                    continue
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        weight = self.base.patch_embed.proj.weight
        nn.init.normal_(weight, std=(2 / (weight[0, 0].numel() * len(weight))) ** 0.5)
        for name in ("cls_token", "pos_embed", "sie_embed"):
            if hasattr(self.base, name):
                trunc_normal_(getattr(self.base, name), std=0.02)

    def parts(self, images: Tensor, camera_ids: Tensor | None = None) -> list[Tensor]:
        """Return the features before the necks, one (B, width) for each of `Architecture.parts`: [global, local 1..4] with the JPM."""
        tokens, skip = self.base.with_skip(images, camera_ids)
        if self.architecture.jpm:
            local = torch.cat([_with_class_token(tokens, group) for group in self.groups])
            parts = [self.b1(tokens)[:, 0], *self.b2(local)[:, 0].unflatten(0, (PARTS, -1)).unbind(0)]
        else:
            parts = self.output(self.base.norm(tokens))
        if skip is None:
            return parts
        return [part + addend for part, addend in zip(parts, skip.chunk(len(parts), dim=1))]

    def necks(self, parts: list[Tensor]) -> list[Tensor]:
        """Return the features, each (B, width), after their batch-norm necks."""
        return [getattr(self, f"bottleneck{suffix}")(part) for suffix, part in zip(self.suffixes, parts)]

    def logits(self, parts: list[Tensor]) -> list[Tensor]:
        """Return the identity logits of every classifier, each (B, identities); `parts` are the features before the necks."""
        necked = self.compared(self.necks(parts))
        return [
            getattr(self, f"classifier{suffix}")(feature)
            for suffix, feature in zip(self.architecture.classified, necked)
        ]

    def compared(self, parts: list[Tensor]) -> list[Tensor]:
        """Return the features that the losses read, each (B, width): the `parts`, or the descriptor (B, dim) made of them."""
        return [combined(parts, self.architecture.parts)] if self.architecture.kind.one_classifier else parts

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> Tensor:
        """Return the descriptor (B, dim), not L2-normalised.

        `images` are (B, 3, H, W) normalised float32. `camera_ids` (B,) int64 select the camera embedding: a 0-based camera id,
        `cameras` for the mean of all, `cameras` + 1 for none. `Architecture.parts` says how the
        features become the descriptor. With the JPM, it is the global feature, followed by the four local features, each divided by 4.
        """
        parts = self.parts(images, camera_ids)
        if self.architecture.neck == "after":
            parts = self.necks(parts)
        return combined(parts, self.architecture.parts)


def _with_class_token(tokens: Tensor, group: Tensor) -> Tensor:
    return torch.cat([tokens[:, :1], tokens.index_select(1, group)], dim=1)


def _block(architecture: Architecture, block: BlockArchitecture) -> nn.Module:
    if block.removed:
        # an identity keeps the place, so that the parameters of the other blocks keep their names
        return nn.Identity()
    return Block(
        architecture.vit,
        len(block.heads),
        total=architecture.tokens,
        tokens=block.tokens,
        mode=architecture.mode,
        hidden=block.hidden,
    )


def _branch(vit: Variant, drop_path: float) -> nn.Sequential:
    block = Block(vit, vit.heads)
    block.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
    return nn.Sequential(block, nn.LayerNorm(vit.width, eps=vit.eps))
