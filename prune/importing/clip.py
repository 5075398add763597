"""Rename the tensors of a CLIP-ReID checkpoint (ViT-B/16, image side) to this project's names."""

from __future__ import annotations

import re

from torch import Tensor

ENCODER = "image_encoder."
BLOCK = re.compile(
    rf"{ENCODER}transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias|in_proj_weight|in_proj_bias)$"
)
# The part of a block in CLIP -> in this project. CLIP's attention has the packed weight of query, key and value, in this order.
BLOCK_PARTS = {
    "attn": "attn.qkv",
    "attn.out_proj": "attn.proj",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
OUTSIDE_BLOCKS = {
    f"{ENCODER}conv1.weight": "base.patch_embed.proj.weight",
    f"{ENCODER}ln_pre.weight": "base.norm_pre.weight",
    f"{ENCODER}ln_pre.bias": "base.norm_pre.bias",
    f"{ENCODER}ln_post.weight": "base.norm.weight",
    f"{ENCODER}ln_post.bias": "base.norm.bias",
}


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of CLIP-ReID (`state`) under this project's names; a tensor of another name or shape keeps its name.

    The class token, the position embedding and the camera table get the dimensions that they have in TransReID. The projection is
    transposed, because CLIP multiplies tokens by it from the left. The patch convolution of CLIP has no bias; here it gets zeros.
    """
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        match = BLOCK.match(key)
        if match and match[2] in BLOCK_PARTS:
            tensors[f"base.blocks.{match[1]}.{BLOCK_PARTS[match[2]]}.{match[3].removeprefix('in_proj_')}"] = (
                value
            )
        elif key == f"{ENCODER}class_embedding" and value.dim() == 1:
            tensors["base.cls_token"] = value[None, None]
        elif key == f"{ENCODER}positional_embedding" and value.dim() == 2:
            tensors["base.pos_embed"] = value[None]
        elif key == f"{ENCODER}proj" and value.dim() == 2:
            tensors["output.proj.weight"] = value.T.contiguous()
        elif key == "cv_embed" and value.dim() == 2:
            tensors["base.sie_embed"] = value[:, None]
        else:
            tensors[OUTSIDE_BLOCKS.get(key, key)] = value
    convolution = tensors.get("base.patch_embed.proj.weight")
    if convolution is not None and convolution.dim() and "base.patch_embed.proj.bias" not in tensors:
        tensors["base.patch_embed.proj.bias"] = convolution.new_zeros(len(convolution))
    return tensors
