"""The families of published re-identification transformers as data. Imports no tensor library."""

from __future__ import annotations

from dataclasses import dataclass

# The number of local features of the jigsaw patch module (JPM).
PARTS = 4
# PersonViT's ways to pool the patch tokens; `avg_max` takes the largest of each group of GROUPED consecutive patches, then the mean.
POOLINGS = ("avg", "max", "avg_max", "gem")
GROUPED = 4


@dataclass(frozen=True)
class Part:
    """One feature of a model: it has the neck `bottleneck<suffix>`, the classifier `classifier<suffix>` and `width` values.

    The descriptor is the concatenation over slots, ascending, of the sum of the parts of a slot, each multiplied by its `weight`.
    """

    suffix: str
    width: int
    slot: int = 0
    weight: float = 1.0


@dataclass(frozen=True)
class Family:
    """What a family has beside the sizes of its variant.

    `title` names it in messages. `leading` is the number of tokens before the patch tokens; they are never pruned. `embedding` and
    `output` are keys of the tables EMBEDDINGS and OUTPUTS in prune.model.families.build. `camera_tokens` says to which tokens the
    camera embedding is added: "all", "class", or "none" (the family has no camera embedding). With `pre_norm`, a LayerNorm stands
    before the first block. With `one_classifier`, the model has a single classifier, which reads the descriptor after the necks, and
    the metric loss compares descriptors; otherwise every part has a classifier and a metric loss of its own.
    """

    title: str
    leading: int = 1
    embedding: str = "patch"
    output: str = "class"
    camera_tokens: str = "all"
    pre_norm: bool = False
    one_classifier: bool = False


FAMILIES = {
    "vit": Family("plain ViT"),
    "ics": Family("ViT with the ICS convolutional stem (TransReID-SSL)", embedding="ics"),
    "clip": Family("CLIP-ReID", output="projected", camera_tokens="class", pre_norm=True),
    "pass": Family("PASS", leading=4, output="pass", camera_tokens="none", one_classifier=True),
    "pass_mean": Family(
        "PASS with FEAT_FUSION mean", leading=4, output="pass_mean", camera_tokens="none", one_classifier=True
    ),
    "pass_one_neck": Family(
        "PASS with a single neck", leading=4, output="pass_one_neck", camera_tokens="none"
    ),
    "pass_mean_one_neck": Family(
        "PASS with FEAT_FUSION mean and a single neck",
        leading=4,
        output="pass_mean_one_neck",
        camera_tokens="none",
    ),
}
# The width of CLIP's projection.
PROJECTED = 512


# Variants that belong to one family alone; all others go with any other family.
OWN_VARIANTS = {"clip": ("clip_base",)}


def variants_of(family: str, variants: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of `variants` that a model of the family can have, in their order."""
    own = OWN_VARIANTS.get(family)
    taken = {name for names in OWN_VARIANTS.values() for name in names}
    return tuple(name for name in variants if (name in own if own else name not in taken))


def parts_of(output: str, width: int) -> tuple[Part, ...]:
    """Return the parts of a model whose output is `output` (see `Architecture.output`) and whose tokens have `width` values."""
    if output == "jpm":
        local = (Part(f"_{part}", width, part, 1 / PARTS) for part in range(1, PARTS + 1))
        return (Part("", width), *local)
    if output == "projected":
        return Part("", width), Part("_proj", PROJECTED, 1)
    if output in ("pass", "pass_mean"):
        # [class token, mean of the three part tokens], or the mean of these two
        slot, share = (1, 1.0) if output == "pass" else (0, 0.5)
        parts = (Part(f"_{part}", width, slot, share / 3) for part in range(1, 4))
        return (Part("", width, 0, share), *parts)
    if output == "pass_one_neck":
        return (Part("", 2 * width),)
    return (Part("", width),)


def family_problem(family: str, pooling: str, *, jpm: bool, stem: bool, cameras: bool) -> str | None:
    """Return why there is no model with these settings and what to change; None if there is one.

    `stem` says whether the variant has a convolutional stem of its own (the hybrid variants), and `cameras` whether the model has a
    camera table.
    """
    if family not in FAMILIES:
        return f"model.family {family!r} is not one of {', '.join(FAMILIES)}"
    if pooling not in ("class", *POOLINGS):
        return f"model.pooling {pooling!r} is not one of class, {', '.join(POOLINGS)}"
    if cameras and FAMILIES[family].camera_tokens == "none":
        return f"model.family {family}: has no camera embedding; set model.cameras=0"
    if FAMILIES[family].output != "class" and (jpm or pooling != "class"):
        return f"model.family {family}: has an output of its own; set model.jpm=false and model.pooling=class"
    if jpm and pooling != "class":
        return f"model.pooling {pooling}: not with the JPM, which reads the class token; set model.jpm=false"
    if stem and (family != "vit" or pooling != "class"):
        return (
            "model.variant: a hybrid's stem goes with model.family=vit and model.pooling=class only; set both"
        )
    return None


def size_problem(
    family: str, pooling: str, size: tuple[int, int], *, stride: int, patches: int
) -> str | None:
    """Return why the family has no model for images of `size` (height, width) at `stride`, with `patches` patches; None if it has."""
    if FAMILIES[family].embedding == "ics":
        if stride != 16:
            return "the ICS stem ends in patches of 16 x 16 pixels that do not overlap; set model.stride=16"
        if any(length % 16 == 15 for length in size):
            return "the ICS stem's patches would be more than the position embeddings; use multiples of 16"
    if pooling == "avg_max" and patches % GROUPED:
        return f"model.pooling avg_max pools groups of {GROUPED} patches, but there are {patches}; use another size or stride"
    return None
