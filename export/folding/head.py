"""The last transformer block, computed for the class token only; it replaces TransReID's global and local branch (b1, b2).

Of the last block, the features use only the output of the class token. Therefore keys and values are not computed for each token:
scores = (Wk^T q) . y and context = Wv (sum a . y), where q is the query of the class token, y are the normalised tokens, a are the
attention weights, and Wk and Wv are the weights of keys and values. The key bias adds the same number to every score of a query, so
it does not change the softmax. The query and key weights are applied one after the other. For each head, their product would be one
D x D matrix, which is larger and slower than the two factors and has a larger rounding error.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune.model.block import Block


class ClassTokenBlock(nn.Module):
    """A pre-norm transformer block and the norm after it, computed for the class token only, once for each group of tokens.

    The additive attention `mask` (groups, N) is 0 for the tokens of a group and very low for the others; None means one group of
    all tokens. `key` (heads, head_dim, D) and `value` (heads, D, head_dim) are the weights Wk and Wv of each head, the latter
    transposed. `value_bias` (heads * head_dim,) is the bias of the values.
    """

    mask: Tensor | None
    key: Tensor
    value: Tensor
    value_bias: Tensor

    def __init__(self, block: Block, norm: nn.LayerNorm, mask: Tensor | None = None) -> None:
        super().__init__()
        attn = block.attn
        self.norm1, self.norm2, self.norm, self.mlp, self.proj = (
            block.norm1,
            block.norm2,
            norm,
            block.mlp,
            attn.proj,
        )
        self.heads, self.head_dim, self.width = attn.heads, attn.head_dim, attn.qkv.in_features
        self.groups = 1 if mask is None else len(mask)
        inner = attn.heads * attn.head_dim
        weight, bias = attn.qkv.weight.detach(), attn.qkv.bias
        self.query = nn.Linear(self.width, inner, bias=bias is not None)
        self.query.weight.data = weight[:inner] * attn.scale
        if bias is not None:
            self.query.bias.data = bias.detach()[:inner] * attn.scale
        by_head = (self.heads, self.head_dim, self.width)
        self.register_buffer("key", weight[inner : 2 * inner].reshape(by_head).clone())
        self.register_buffer("value", weight[2 * inner :].reshape(by_head).transpose(1, 2).contiguous())
        # The rows of the attention sum to 1, so the value bias reaches the projection unchanged.
        value_bias = torch.zeros(inner) if bias is None else bias.detach()[2 * inner :].clone()
        self.register_buffer("value_bias", value_bias)
        self.register_buffer("mask", mask)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs of the final norm, (B, groups, D), for (B, N, D) tokens with the class token first."""
        y = self.norm1(tokens)
        query = self.query(y[:, 0]).unflatten(-1, (self.heads, self.head_dim)).transpose(0, 1)
        folded = (query @ self.key).transpose(0, 1)
        scores = folded @ y.transpose(1, 2)
        if self.mask is not None:
            scores = scores.unsqueeze(1) + self.mask.unsqueeze(1)
        attention = scores.softmax(dim=-1)
        context = attention.flatten(1, -2) @ y
        by_head = context.unflatten(1, (self.groups, self.heads)).permute(2, 0, 1, 3).flatten(1, 2)
        mixed = (by_head @ self.value).unflatten(1, (-1, self.groups)).permute(1, 2, 0, 3).flatten(2)
        x = tokens[:, :1] + self.proj(mixed + self.value_bias)
        output: Tensor = self.norm(x + self.mlp(self.norm2(x)))
        return output
