"""The sizes of the vision transformers that TransReID is built from, and of their convolutional stems."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stem:
    """The convolutional stem of a hybrid variant: the first `blocks` blocks of timm's network `cnn`.

    `imagenet` is timm's name of its ImageNet weights. `stripes` is the number of horizontal stripes over which the stem's features
    are averaged for the descriptor.
    """

    cnn: str
    imagenet: str
    blocks: int
    stripes: int


@dataclass(frozen=True)
class Variant:
    """The sizes of a ViT with 16x16 patches, and its convolutional stem if it has one.

    `width` is the embedding dimension D, `depth` the number of blocks. Each block has `heads` heads of dimension `head_dim` and
    an MLP of `hidden` neurons. `qkv_bias` says whether the query, key and value projections have a bias, and `scale` multiplies
    the query-key products. `imagenet` is timm's name of the ImageNet weights that training starts from; None: timm has none.
    `stem` is None for a plain ViT. `eps` is the epsilon of every LayerNorm, and `activation` (a key of ACTIVATIONS in
    prune.model.block) the function between the two layers of an MLP.
    """

    width: int
    depth: int
    heads: int
    head_dim: int
    hidden: int
    qkv_bias: bool
    scale: float
    imagenet: str | None
    stem: Stem | None = None
    eps: float = 1e-6
    activation: str = "gelu"


LITE0 = Stem("tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k", 5, 8)

VARIANTS = {
    "vit_base": Variant(768, 12, 12, 64, 3072, True, 64**-0.5, "vit_base_patch16_224.orig_in21k_ft_in1k"),
    "deit_base": Variant(768, 12, 12, 64, 3072, True, 64**-0.5, "deit_base_distilled_patch16_224.fb_in1k"),
    # This is timm's old vit_small, not DeiT-S: 8 heads of 96, no qkv bias, and a scale taken from the whole width. timm no
    # longer offers its weights (vit_small_p16_224-15ec54c9).
    "vit_small": Variant(768, 8, 8, 96, 2304, False, 768**-0.5, None),
    "deit_small": Variant(384, 12, 6, 64, 1536, True, 64**-0.5, "deit_small_distilled_patch16_224.fb_in1k"),
    "deit_tiny": Variant(192, 12, 3, 64, 768, True, 64**-0.5, "deit_tiny_distilled_patch16_224.fb_in1k"),
    # the image encoder of CLIP ViT-B/16
    "clip_base": Variant(768, 12, 12, 64, 3072, True, 64**-0.5, None, eps=1e-5, activation="quick_gelu"),
    # Our own variant, small enough to train on a CPU and to ship with the project.
    "vit_lite": Variant(192, 8, 6, 32, 768, True, 32**-0.5, None),
    # vit_lite with a stem whose weights were trained on photographs (EfficientNet-Lite0 on ImageNet)
    "hybrid_lite": Variant(192, 8, 6, 32, 768, True, 32**-0.5, None, LITE0),
}
