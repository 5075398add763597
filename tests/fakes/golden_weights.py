"""Deterministic weights, images and labels behind the golden outputs in tests/data/golden.

The outputs were computed once, on the CPU in float32, by the paper authors' public model and pruning
code filled with these weights.
"""

import numpy as np


def fill(shapes, seed, depth):
    """Map each key of `shapes` to a random float32 array of its shape, drawn in sorted key order from RandomState(seed).

    `token_index` and `num_batches_tracked` entries are not drawn (all True, 0).
    """
    rng = np.random.RandomState(seed)
    weights = {}
    for key in sorted(shapes):
        if "token_index" in key or "num_batches_tracked" in key:
            continue
        shape = tuple(shapes[key])
        value = rng.standard_normal(shape).astype(np.float32)
        is_norm = (
            "norm" in key
            or "bottleneck" in key
            or (key.startswith(("b1", "b2")) and key.split(".")[-2] == "1")
        )
        if key.endswith("running_var"):
            value = 1 + 0.1 * np.abs(value)
        elif key.endswith("running_mean"):
            value = 0.1 * value
        elif is_norm and key.endswith("weight"):
            value = 1 + 0.1 * value
        elif "qkv.weight" in key:
            heads = 8 if depth == 8 else {2304: 12, 1152: 6}[shape[0]]
            block = int(key.split(".")[2]) if key.startswith("base") else 0
            gain = np.exp(
                0.35 * rng.standard_normal(heads) + 0.15 * rng.standard_normal() + 0.12 * block
            ).astype(np.float32)
            scale = 0.06 if depth == 8 else 0.035
            value = scale * value * np.tile(np.repeat(gain, shape[0] // 3 // heads), 3)[:, None]
        elif key.endswith("bias"):
            value = 0.02 * value
        elif "embed" in key or "cls_token" in key:
            value = 0.03 * value if "proj" in key else 0.2 * value
        else:
            value = 0.03 * value
        weights[key] = value.astype(np.float32)
    return weights


def images(seed):
    """Return random normalised images (4, 3, 256, 128) float32, drawn from RandomState(seed + 1)."""
    return np.random.RandomState(seed + 1).standard_normal((4, 3, 256, 128)).astype(np.float32)


def labels():
    """Return identity labels (4,), which are used for the token scores."""
    return np.arange(4)


def cameras(count):
    """Return 0-based camera ids (4,), or None for a model without a camera embedding."""
    return np.array([0, 1, 2, count - 1]) if count else None
