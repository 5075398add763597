"""The last transformer block, computed for the leading tokens only; it replaces TransReID's global and local branch (b1, b2).

Of the last block, the features use only the outputs of the leading tokens: of the class token, and in PASS also of three part tokens.
Therefore keys and values are not computed for each token: scores = (Wk^T q) . y and context = Wv (sum a . y), where q is the query of
a leading token, y are the normalised tokens, a are the attention weights, and Wk and Wv are the weights of keys and values. The key
bias adds the same number to every score of a query, so it does not change the softmax. The query and key weights are applied one
after the other. For each head, their product would be one D x D matrix, which is larger and slower than the two factors and has a
larger rounding error.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune.model.block import Block


class ClassTokenBlock(nn.Module):
    """A pre-norm transformer block and the norm after it, computed for the `leading` tokens only.

    With an additive attention `mask` (groups, N), there is one leading token, and its output is computed once for each group of
    tokens: the mask is 0 for the tokens of a group and very low for the others. None means that all tokens are attended to. `key`
    (heads, head_dim, D) and `value` (heads, D, head_dim) are the weights Wk and Wv of each head, the latter transposed. `value_bias`
    (heads * head_dim,) is the bias of the values.
    """

    mask: Tensor | None
    key: Tensor
    value: Tensor
    value_bias: Tensor

    def __init__(
        self, block: Block, norm: nn.LayerNorm, mask: Tensor | None = None, *, leading: int = 1
    ) -> None:
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
        self.leading, self.outputs = leading, leading if mask is None else len(mask)
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
        """Return the outputs of the final norm for (B, N, D) tokens with the leading ones first: (B, leading or groups, D)."""
        y = self.norm1(tokens)
        if self.leading == 1:
            # the same as below, with fewer operations in the graph
            query = self.query(y[:, 0]).unflatten(-1, (self.heads, self.head_dim)).transpose(0, 1)
            folded = (query @ self.key).transpose(0, 1)
        else:
            query = self.query(y[:, : self.leading]).unflatten(-1, (self.heads, self.head_dim))
            by_query = query.permute(2, 0, 1, 3).flatten(1, 2) @ self.key
            folded = by_query.unflatten(1, (-1, self.leading)).permute(1, 2, 0, 3).flatten(1, 2)
        scores = folded @ y.transpose(1, 2)
        if self.mask is not None:
            scores = scores.unsqueeze(1) + self.mask.unsqueeze(1)
        attention = scores.softmax(dim=-1)
        context = attention.flatten(1, -2) @ y
        by_head = context.unflatten(1, (self.outputs, self.heads)).permute(2, 0, 1, 3).flatten(1, 2)
        mixed = (by_head @ self.value).unflatten(1, (-1, self.outputs)).permute(1, 2, 0, 3).flatten(2)
        x = tokens[:, : self.leading] + self.proj(mixed + self.value_bias)
        output: Tensor = self.norm(x + self.mlp(self.norm2(x)))
        return output
