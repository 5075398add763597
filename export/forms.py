"""The two exportable forms of a model: `Reference`, as published, and `Folded`, with the same features but fewer operations.

Both take images in the layout of the exported file and return L2-normalised features. Making a form does not change the model.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.head import ClassTokenBlock
from export.pixels import fold_pixels
from prune.model.architecture import PARTS, Architecture
from prune.model.jpm import local_groups
from prune.model.stem import Stem
from prune.model.transreid import Block, TransReID
from runtime.errors import ConfigError
from runtime.spec import InputSpec

# Stands for minus infinity in a mask: it is finite in float16, and its exp() is 0 in float16 and float32.
MASKED = -30000.0


class Reference(nn.Module):
    """The model as published, with the pixel normalisation before it and an L2-normalisation of its features after it.

    `pixel_mean` and `pixel_std`, both (1, 3, 1, 1), are for pixels 0..255 and serve only uint8 images. `camera_row` (1,) is the
    row of the fixed camera in the camera table; None if the form takes camera ids or the model has no camera embedding.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    camera_row: Tensor | None

    def __init__(self, model: TransReID, spec: InputSpec) -> None:
        super().__init__()
        self.model = model
        self.takes_uint8 = spec.layout == "uint8-nhwc"
        self.register_buffer("pixel_mean", 255 * torch.tensor(spec.mean).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", 255 * torch.tensor(spec.std).view(1, 3, 1, 1))
        self.register_buffer("camera_row", _baked_row(model.architecture, spec))

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> Tensor:
        """Return L2-normalised features (B, dim) float32 of images (B, H, W, 3) uint8 or (B, 3, H, W) normalised float32.

        `camera_ids` (B,) int64 are rows of the camera table; None if the form has a fixed camera or no camera.
        """
        if self.takes_uint8:
            images = (images.permute(0, 3, 1, 2).float() - self.pixel_mean) / self.pixel_std
        if camera_ids is None and self.camera_row is not None:
            camera_ids = self.camera_row.expand(images.shape[0])
        features: Tensor = self.model(images, camera_ids)
        return normalised(features)


class Folded(nn.Module):
    """The form to deploy: it computes the features of `Reference`, up to float rounding, with fewer operations.

    - The normalisation of uint8 images is folded into the patch convolution. This is exact, because the convolution has no padding.
      A convolutional stem pads, so for a model with a stem `pixel_mean` (1, 3, 1, 1) is subtracted first; otherwise it is None.
    - `table` (rows, N, D) is the sum of class token, position and camera embedding. It has one row for each row of the camera table
      if the file takes camera ids, else one row. The attention scale is multiplied into the query weights.
    - The kept tokens of a block move to the front and stay there. Constant masks over this order replace the shift, shuffle
      and grouping of the jigsaw patch module (JPM).
    - The last block is computed for the class token only.
    - The division of the local features by 4 is folded into the last norm. If the feature is taken after the batch-norm necks, the
      necks and this division together become `scale` and `shift`, both (parts, D); otherwise these are None.
    """

    pixel_mean: Tensor | None
    table: Tensor
    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, model: TransReID, spec: InputSpec) -> None:
        super().__init__()
        # The type is Any because torch types every submodule as Tensor | Module.
        network: Any = copy.deepcopy(model).eval()
        architecture = model.architecture
        self.takes_uint8 = spec.layout == "uint8-nhwc"
        self.patch, self.stem = network.base.patch_embed.proj, network.base.stem
        self.register_buffer("pixel_mean", None)
        if self.takes_uint8:
            self.pixel_mean = fold_pixels(self.patch, self.stem, spec)
        if self.stem is not None:
            fold_batch_norms(self.stem)
        self.register_buffer("table", _embedding_table(network, spec))
        blocks, order = _fold_blocks(network)
        self.blocks = nn.ModuleList(blocks)
        if architecture.jpm:
            self.heads = nn.ModuleList(
                [
                    ClassTokenBlock(network.b1[0], network.b1[1]),
                    ClassTokenBlock(network.b2[0], network.b2[1], group_mask(architecture, order)),
                ]
            )
        else:
            self.heads = nn.ModuleList([ClassTokenBlock(network.base.blocks[-1], network.base.norm)])
        scale, shift = output_affine(network)
        if architecture.neck == "before" and architecture.jpm:
            # Only the division of the local parts by 4 is left, and it fits into their final norm.
            network.b2[1].weight.data /= PARTS
            network.b2[1].bias.data /= PARTS
            if self.stem is not None:
                self.stem.skip.weight.data[architecture.vit.width :] /= PARTS
                self.stem.skip.bias.data[architecture.vit.width :] /= PARTS
        self.register_buffer("scale", scale if architecture.neck == "after" else None)
        self.register_buffer("shift", shift if architecture.neck == "after" else None)

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> Tensor:
        """Return L2-normalised features (B, dim) float32 of images (B, H, W, 3) uint8 or (B, 3, H, W) normalised float32.

        `camera_ids` (B,) int64 are rows of the camera table; None if the form has a fixed camera or no camera.
        """
        if self.takes_uint8:
            images = images.permute(0, 3, 1, 2).float()
        if self.pixel_mean is not None:
            images = images - self.pixel_mean
        patches, skip = self.patch(images).flatten(2).transpose(1, 2), None
        if self.stem is not None:
            tokens, skip = self.stem(images)
            patches = patches + tokens
        table = self.table if camera_ids is None else self.table.index_select(0, camera_ids)
        # The class token is a row of zeros here, because the table holds its whole value.
        x = F.pad(patches, (0, 0, 1, 0)) + table
        for block in self.blocks:
            x = block(x)
        parts = torch.cat([head(x) for head in self.heads], dim=1)
        if skip is not None:
            parts = parts + skip.unflatten(1, parts.shape[1:])
        if self.scale is not None and self.shift is not None:
            parts = parts * self.scale + self.shift
        return normalised(parts.flatten(1))


class ReorderedBlock(nn.Module):
    """A block that acts on the first `kept` tokens (None: on all) after a constant permutation; the other tokens pass unchanged.

    `gather` has the permutation: `gather[i]` is the old position of the token that moves to position i (None: the order stays). The
    old order is not restored, so later permutations and masks refer to the new one.
    """

    gather: Tensor | None

    def __init__(self, block: Block, gather: list[int] | None, kept: int | None) -> None:
        super().__init__()
        self.block, self.kept = block, kept
        self.register_buffer("gather", None if gather is None else torch.tensor(gather))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (B, N, D) after the block, in the order of `gather`."""
        if self.gather is not None:
            x = x.index_select(1, self.gather)
        if self.kept is None:
            whole: Tensor = self.block(x)
            return whole
        return torch.cat([self.block(x[:, : self.kept]), x[:, self.kept :]], dim=1)


def normalised(features: Tensor) -> Tensor:
    """Return features (B, D) divided by their 2-norms; the operations also export with a dynamic batch."""
    norms: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / norms.clamp_min(1e-12)


def fold_batch_norms(stem: Stem) -> None:
    """Fold every batch norm of the stem into the convolution before it, in place. The activation after a batch norm stays."""
    convolution: nn.Conv2d | None = None
    places = {child: (parent, name) for parent in stem.modules() for name, child in parent.named_children()}
    for module in list(stem.modules()):
        if isinstance(module, nn.Conv2d):
            convolution = module
        elif isinstance(module, nn.BatchNorm2d):
            assert convolution is not None and convolution.bias is None
            assert module.running_mean is not None and module.running_var is not None
            scale = module.weight.double() / (module.running_var.double() + module.eps).sqrt()
            shift = module.bias.double() - module.running_mean.double() * scale
            convolution.weight.data = (convolution.weight.double() * scale.view(-1, 1, 1, 1)).float()
            convolution.bias = nn.Parameter(shift.float())
            parent, name = places[module]
            setattr(parent, name, getattr(module, "act", nn.Identity()))


def fold_scale(block: Block) -> None:
    """Multiply the query weights and bias of a block by its attention scale, in place, and set the scale to 1."""
    attn: Any = block.attn
    inner = attn.heads * attn.head_dim
    attn.qkv.weight.data[:inner] *= attn.scale
    if attn.qkv.bias is not None:
        attn.qkv.bias.data[:inner] *= attn.scale
    attn.scale = 1.0


def running_order(keep: tuple[int, ...], order: list[int]) -> tuple[list[int] | None, list[int]]:
    """Return (the permutation that moves the kept tokens to the front, the token order after it).

    `keep` has the original ids of the kept tokens, and `order[i]` is the original id of the token at position i. Entry i of the
    permutation is the old position of the token that moves to position i. The permutation is None if the order does not change. The
    class token stays first.
    """
    kept = set(keep)
    new_order = [token for token in order if token in kept] + [token for token in order if token not in kept]
    if new_order == order:
        return None, order
    position = {token: index for index, token in enumerate(order)}
    return [position[token] for token in new_order], new_order


def group_mask(architecture: Architecture, order: list[int]) -> Tensor:
    """Return the additive attention masks (4, N) of the JPM's four local groups, one row each.

    `order[i]` is the original id of the token at position i. A row is 0 for the class token and for the tokens of its group, and
    MASKED for the others. With an odd number of patches a token can be in a group twice; its value is then log 2, so that the
    softmax counts it twice.
    """
    mask = torch.full((PARTS, architecture.tokens), MASKED)
    position = {token: index for index, token in enumerate(order)}
    for row, group in enumerate(local_groups(architecture.patches, PARTS, rearrange=architecture.rearrange)):
        for token in (0, *group):
            mask[row, position[token]] = torch.tensor(float((0, *group).count(token))).log()
    return mask


def output_affine(model: TransReID) -> tuple[Tensor, Tensor]:
    """Return (scale, shift), both (parts, D), that replace the batch-norm necks and the division of local features by 4.

    The caller computes features * scale + shift with the features (B, parts, D) before the necks. The parts are the global feature
    and, with the JPM, the four local features. Only the local ones are divided by 4.
    """
    divide = torch.tensor([1.0] + [1 / PARTS] * (len(model.suffixes) - 1)).unsqueeze(1)
    rows = []
    for suffix in model.suffixes:
        neck: Any = getattr(model, f"bottleneck{suffix}")
        scale = neck.weight.detach() / (neck.running_var + neck.eps).sqrt()
        rows.append((scale, neck.bias.detach() - neck.running_mean * scale))
    scale, shift = (torch.stack(column) for column in zip(*rows))
    return scale * divide, shift * divide


def _fold_blocks(model: Any) -> tuple[list[nn.Module], list[int]]:
    architecture = model.architecture
    order = list(range(architecture.tokens))
    folded: list[nn.Module] = []
    for index in range(architecture.prunable):
        block, tokens = model.base.blocks[index], architecture.blocks[index].tokens
        if architecture.blocks[index].removed:
            continue
        fold_scale(block)
        if len(tokens) == architecture.tokens or architecture.mode == "kv":
            folded.append(block)
            continue
        gather, order = running_order(tokens, order)
        block.keep = block.back = None
        folded.append(ReorderedBlock(block, gather, len(tokens)))
    return folded, order


def _baked_row(architecture: Architecture, spec: InputSpec) -> Tensor | None:
    if not architecture.cameras or spec.camera == "input":
        return None
    return torch.tensor([camera_row(architecture, spec.camera)])


def camera_row(architecture: Architecture, camera: str | int) -> int:
    """Return the row of the model's camera table for `mean`, `none` or a 0-based id; raise ConfigError for any other camera."""
    named = {"mean": architecture.cameras, "none": architecture.cameras + 1}
    row = named.get(camera, -1) if isinstance(camera, str) else camera
    if isinstance(camera, int) and not 0 <= camera < architecture.cameras or row < 0:
        raise ConfigError(
            f"--camera {camera}: the model has cameras 0..{architecture.cameras - 1}; give one of them, input, mean or none"
        )
    return row


def _embedding_table(model: Any, spec: InputSpec) -> Tensor:
    """Return (rows, N, D): class token and positions plus the camera embedding of each row, or one row for a fixed camera."""
    base, architecture = model.base, model.architecture
    positions: Tensor = base.pos_embed.detach().clone()
    positions[:, :1] += base.cls_token.detach()
    if not architecture.cameras:
        return positions
    table: Tensor = base.camera_table().detach() + positions
    return table if spec.camera == "input" else table[[camera_row(architecture, spec.camera)]]
