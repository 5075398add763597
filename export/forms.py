"""The two exportable forms of a model: `Reference`, as published, and `Folded`, with the same features but fewer operations.

Both take images in the layout of the exported file and return L2-normalised features. Making a form does not change the model.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.folding.convolutions import fold_batch_norms
from export.folding.outputs import fold_scale, folded_output
from export.folding.pixels import fold_pixels
from prune.model.architecture import Architecture
from prune.model.block import Block
from prune.model.transreid import TransReID
from runtime.errors import ConfigError
from runtime.spec import InputSpec


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
    - The output, with the last block, is that of `export.folding.outputs`: where only the class token is read, the last block is
      computed for it alone.
    """

    pixel_mean: Tensor | None
    table: Tensor

    def __init__(self, model: TransReID, spec: InputSpec) -> None:
        super().__init__()
        # The type is Any because torch types every submodule as Tensor | Module.
        network: Any = copy.deepcopy(model).eval()
        architecture = model.architecture
        self.takes_uint8 = spec.layout == "uint8-nhwc"
        self.patch, self.stem = network.base.patch_embed, network.base.stem
        self.leading = architecture.leading
        self.register_buffer("pixel_mean", None)
        if self.takes_uint8:
            self.pixel_mean = fold_pixels(self.patch, self.stem, spec)
        fold_batch_norms(self.patch)
        if self.stem is not None:
            fold_batch_norms(self.stem)
        self.register_buffer("table", _embedding_table(network, spec))
        self.norm_pre = network.base.norm_pre
        blocks, order = _fold_blocks(network)
        self.blocks = nn.ModuleList(blocks)
        self.output = folded_output(network, order)

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> Tensor:
        """Return L2-normalised features (B, dim) float32 of images (B, H, W, 3) uint8 or (B, 3, H, W) normalised float32.

        `camera_ids` (B,) int64 are rows of the camera table; None if the form has a fixed camera or no camera.
        """
        if self.takes_uint8:
            images = images.permute(0, 3, 1, 2).float()
        if self.pixel_mean is not None:
            images = images - self.pixel_mean
        patches, skip = self.patch(images), None
        if self.stem is not None:
            tokens, skip = self.stem(images)
            patches = patches + tokens
        table = self.table if camera_ids is None else self.table.index_select(0, camera_ids)
        # The leading tokens are rows of zeros here, because the table holds their whole values.
        x = F.pad(patches, (0, 0, self.leading, 0)) + table
        x = self.norm_pre(x)
        for block in self.blocks:
            x = block(x)
        return normalised(self.output(x, skip))


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
    positions[:, : architecture.leading] += base.cls_token.detach()
    if not architecture.cameras:
        return positions
    table: Tensor = base.camera_table().detach() + positions
    return table if spec.camera == "input" else table[[camera_row(architecture, spec.camera)]]
