"""TransReID as a torch module in its plain form: every step as published, every size fixed by an Architecture."""

from __future__ import annotations

import torch
from timm.layers import DropPath, Mlp, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from prune.model.architecture import PARTS, PATCH, Architecture, BlockArchitecture
from prune.model.jpm import local_groups
from prune.model.stem import Stem
from prune.model.variants import Variant

# LayerNorm epsilon of the published ViTs; torch's default is 1e-5.
EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention whose head dimension does not depend on the number of heads.

    `probe` is an identity module that the attention maps (B, heads, queries, keys) pass through after the softmax, so that a
    forward hook on it can read them.
    """

    def __init__(self, vit: Variant, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim, self.scale = heads, vit.head_dim, vit.scale
        self.qkv = nn.Linear(vit.width, 3 * heads * vit.head_dim, bias=vit.qkv_bias)
        self.proj = nn.Linear(heads * vit.head_dim, vit.width)
        self.probe = nn.Identity()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Attend from the tokens `x` (B, n, D) to the tokens `context` (B, m, D), None for `x` itself; return (B, n, D)."""
        inner = self.heads * self.head_dim
        if context is None:
            q, k, v = self.qkv(x).split(inner, dim=-1)
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            q = F.linear(x, weight[:inner], None if bias is None else bias[:inner])
            k, v = F.linear(context, weight[inner:], None if bias is None else bias[inner:]).split(
                inner, dim=-1
            )
        q, k, v = (part.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2) for part in (q, k, v))
        attention = self.probe(((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1))
        return self.proj((attention @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm transformer block.

    `total` is the number of tokens that come in, and `tokens` are the ids of those that the block keeps (None: all). `mode` is
    bypass or kv (see `Architecture`). `hidden` is the number of MLP neurons (None: as many as in the unpruned model). The buffer
    `keep` has the ids of the kept tokens, or is None if all are kept. `back` has the indices of `write_back`; it is None if all
    are kept, and in mode kv.
    """

    keep: Tensor | None
    back: Tensor | None

    def __init__(
        self,
        vit: Variant,
        heads: int,
        *,
        total: int = 0,
        tokens: tuple[int, ...] | None = None,
        mode: str = "bypass",
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(vit.width, eps=EPS)
        self.attn = Attention(vit, heads)
        self.norm2 = nn.LayerNorm(vit.width, eps=EPS)
        self.mlp = Mlp(vit.width, hidden or vit.hidden)
        self.drop_path: nn.Module = nn.Identity()
        self.mode = mode
        pruned = tokens is not None and len(tokens) < total
        keep = torch.tensor(tokens) if pruned else None
        back = (
            torch.tensor(write_back(tokens, total))
            if pruned and tokens is not None and mode == "bypass"
            else None
        )
        self.register_buffer("keep", keep, persistent=False)
        self.register_buffer("back", back, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (B, N, D) after the block.

        In mode bypass, pruned tokens come out unchanged. In mode kv, the attention uses them as queries but not as keys and values.
        """
        if self.keep is None:
            return self._mlp(x + self.drop_path(self.attn(self.norm1(x))))
        if self.mode == "kv":
            y = self.norm1(x)
            return self._mlp(x + self.drop_path(self.attn(y, y.index_select(1, self.keep))))
        kept = x.index_select(1, self.keep)
        kept = self._mlp(kept + self.drop_path(self.attn(self.norm1(kept))))
        return torch.cat([kept, x], dim=1).index_select(1, self.back)

    def _mlp(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.mlp(self.norm2(x)))


def write_back(tokens: tuple[int, ...], total: int) -> list[int]:
    """Return `total` indices, one for each token, which put the results of a block in the order of its input.

    The indices refer to a list of the results for the kept `tokens`, followed by the inputs of all tokens. A kept token has the
    index of its result, and any other token that of its input.
    """
    place = {token: index for index, token in enumerate(tokens)}
    return [place.get(token, len(tokens) + token) for token in range(total)]


class PatchEmbed(nn.Module):
    """The patch embedding: one convolution over overlapping patches, tokens in row-major order."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) float as patch tokens (B, P, D)."""
        return self.proj(images).flatten(2).transpose(1, 2)


class Trunk(nn.Module):
    """The embedding and the blocks, under the names of the published checkpoints (`base.*`)."""

    def __init__(self, architecture: Architecture, drop_path: float) -> None:
        super().__init__()
        vit = architecture.vit
        self.cls_token = nn.Parameter(torch.zeros(1, 1, vit.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, architecture.tokens, vit.width))
        if architecture.cameras:
            self.sie_embed = nn.Parameter(torch.zeros(architecture.cameras, 1, vit.width))
        self.sie_coefficient = architecture.sie_coefficient
        self.patch_embed = PatchEmbed(vit.width, architecture.stride)
        self.stem: Stem | None = None
        if vit.stem:
            size = (architecture.height, architecture.width)
            self.stem = Stem(
                vit.stem, size, grid=architecture.grid, width=vit.width, outputs=architecture.dim
            )
        self.blocks = nn.ModuleList(_block(architecture, block) for block in architecture.blocks)
        rates = [drop_path * index / (vit.depth - 1) for index in range(vit.depth)]
        for block, rate in zip(self.blocks, rates):
            if isinstance(block, Block) and rate:
                block.drop_path = DropPath(rate)
        if not architecture.jpm:
            self.norm = nn.LayerNorm(vit.width, eps=EPS)

    def camera_table(self) -> Tensor:
        """Return (cameras + 2, 1, D): one row per camera, then their mean, then zeros, all multiplied by the coefficient."""
        table = self.sie_embed * self.sie_coefficient
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
        self.suffixes = ["", *(f"_{part}" for part in range(1, PARTS + 1))] if architecture.jpm else [""]
        if architecture.jpm:
            self.b1 = _branch(vit, drop_path)
            self.b2 = _branch(vit, drop_path)
            groups = local_groups(architecture.patches, PARTS, rearrange=architecture.rearrange)
            self.register_buffer("groups", torch.tensor(groups), persistent=False)
        for suffix in self.suffixes:
            neck = nn.BatchNorm1d(vit.width)
            neck.bias.requires_grad_(False)
            setattr(self, f"bottleneck{suffix}", neck)
            if architecture.identities:
                setattr(
                    self, f"classifier{suffix}", nn.Linear(vit.width, architecture.identities, bias=False)
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
        convolution = self.base.patch_embed.proj
        nn.init.normal_(convolution.weight, std=(2 / (PATCH * PATCH * convolution.out_channels)) ** 0.5)
        for name in ("cls_token", "pos_embed", "sie_embed"):
            if hasattr(self.base, name):
                trunc_normal_(getattr(self.base, name), std=0.02)

    def parts(self, images: Tensor, camera_ids: Tensor | None = None) -> list[Tensor]:
        """Return the features before the necks, each (B, D): [global], or [global, local 1..4] with the JPM."""
        tokens, skip = self.base.with_skip(images, camera_ids)
        if self.architecture.jpm:
            local = torch.cat([_with_class_token(tokens, group) for group in self.groups])
            parts = [self.b1(tokens)[:, 0], *self.b2(local)[:, 0].unflatten(0, (PARTS, -1)).unbind(0)]
        else:
            parts = [self.base.norm(tokens)[:, 0]]
        if skip is None:
            return parts
        return [part + addend for part, addend in zip(parts, skip.chunk(len(parts), dim=1))]

    def necks(self, parts: list[Tensor]) -> list[Tensor]:
        """Return the features, each (B, D), after their batch-norm necks."""
        return [getattr(self, f"bottleneck{suffix}")(part) for suffix, part in zip(self.suffixes, parts)]

    def logits(self, parts: list[Tensor]) -> list[Tensor]:
        """Return the identity logits of every feature, each (B, identities); `parts` are the features before the necks."""
        return [
            getattr(self, f"classifier{suffix}")(part)
            for suffix, part in zip(self.suffixes, self.necks(parts))
        ]

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> Tensor:
        """Return the descriptor (B, 5D), or (B, D) without the JPM, not L2-normalised.

        `images` are (B, 3, H, W) normalised float32. `camera_ids` (B,) int64 select the camera embedding: a 0-based camera id,
        `cameras` for the mean of all, `cameras` + 1 for none. The descriptor is the global feature, followed by the four local
        features, each divided by 4.
        """
        parts = self.parts(images, camera_ids)
        if self.architecture.neck == "after":
            parts = self.necks(parts)
        return torch.cat([parts[0], *(part / PARTS for part in parts[1:])], dim=1)


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
    return nn.Sequential(block, nn.LayerNorm(vit.width, eps=EPS))
