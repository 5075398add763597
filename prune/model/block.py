"""A transformer block in its plain form, with the heads, tokens and MLP neurons that it keeps."""

from __future__ import annotations

import torch
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from prune.model.families.clip import QuickGELU
from prune.model.variants import Variant

# `Variant.activation` -> the module between the two layers of an MLP
ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "quick_gelu": QuickGELU}


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
        self.norm1 = nn.LayerNorm(vit.width, eps=vit.eps)
        self.attn = Attention(vit, heads)
        self.norm2 = nn.LayerNorm(vit.width, eps=vit.eps)
        self.mlp = Mlp(vit.width, hidden or vit.hidden, act_layer=ACTIVATIONS[vit.activation])
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
