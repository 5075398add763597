"""The quality gate: check that an artifact ranks people in the same way as its torch model. Pure functions on features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, DataError, GateError
from runtime.options.backends import ONNX_BACKENDS

# If the cosine similarities of two ranked images differ by less than this, FP32 rounding alone may swap them.
GAP = 1e-4


@dataclass(frozen=True)
class Limits:
    """The limits of the quality gate for the numbers of `compare`.

    They compare the L2-normalised features of the artifact (the candidate) with those of the torch model (the reference).

    - `cosine_min`, `cosine_mean`: the least permitted cosine between the two features of an image, for the worst image and for the
      mean over all images.
    - `difference_max`: the largest permitted difference between two feature values; None sets no limit.
    - `top1_min`: the least permitted share of images (0..1) whose best match among the other images is the same in both. Only images
      are counted whose best match in the reference leads the second by more than `gap`, a difference of cosines. If `top1_min` is
      below 1, one of the counted images may always differ, even if the share then falls below `top1_min`.
    - `top10_min`: the least permitted overlap (0..1) of the ten best matches in both, in the mean over all images.
    - `spread_min`: the least permitted spread, as a fraction of the reference's spread. Two spreads are compared: 1 minus the mean
      cosine between different images, and the standard deviation of these cosines. This limit detects collapsed features, which are
      almost equal for all images. `cosine_min` and `cosine_mean` may miss them if the reference's features are similar to each other.
    """

    cosine_min: float
    cosine_mean: float
    difference_max: float | None
    top1_min: float
    top10_min: float
    spread_min: float = 0.8
    gap: float = GAP


# The gap of a precision is the change of a cosine that it causes in a correct model. It was measured on 240 crops with the demo's
# teacher in INT8: 5 crops swap ranked images whose cosines differ by 1e-4, and none swaps images whose cosines differ by 0.01. In a
# faulty model, whose INT8 ranges come from flat grey pictures, 7 crops swap such images.
LIMITS = {
    "fp32": Limits(0.99999, 0.99999, 1e-4, 1.0, 0.999, 0.98),
    "fp16": Limits(0.995, 0.999, 5e-3, 0.995, 0.98, 0.9, gap=1e-3),
    "int8": Limits(0.95, 0.98, None, 0.97, 0.8, 0.8, gap=1e-2),
}


def backend_limits(precision: str, backend: str) -> Limits:
    """Return the limits for an ONNX file of `precision` ("fp32", "fp16" or "int8") that runs on `backend`, one of `BACKENDS`.

    On a backend that computes in bf16, an FP32 file has the limits of FP16. Raises ArtifactError for any other precision.
    """
    if precision not in LIMITS:
        raise ArtifactError(
            f"the manifest states the precision {precision!r}, for which the quality gate has no limits; export the model again"
        )
    return LIMITS[ONNX_BACKENDS[backend].fp32_limits if precision == "fp32" else precision]


def compare(
    reference: NDArray[np.float32], candidate: NDArray[np.float32], *, gap: float = GAP
) -> dict[str, Any]:
    """Return numbers that describe how the artifact's features `candidate` differ from the torch model's features `reference`.

    Both are (N, D), of the same N images. The keys of the result are:

    - `images`: N; `non_finite`: the number of candidate features with NaN or infinity. If there are any, the result ends here.
    - `norm_error`: the largest difference of a candidate feature's norm from 1.
    - `cosine_min`, `cosine_mean`, `difference_max`: the values that the limits of these names in `Limits` hold for.
    - `top1`, `clear`, `top10`: the result of `rank_agreement` if every image is ranked against all others.
    - `reference_cosine_between`, `reference_cosine_spread`, and the same for `candidate`: the mean and the standard deviation of the
      cosines between different images.

    Raises DataError for different shapes, for fewer than three images, or if all reference features are equal, and GateError if the
    reference features are not finite.
    """
    if len(reference) < 3 or reference.shape != candidate.shape:
        raise DataError(
            f"cannot compare features {reference.shape} and {candidate.shape}: give 3 or more images, and equal shapes"
        )
    if not np.isfinite(reference).all():
        raise GateError("the reference features are not finite; check the weights of the original model")
    alike = _among_others(unit(reference))
    if alike[np.isfinite(alike)].min() > 1 - 1e-6:
        raise DataError(
            "the reference features of the check images are all equal, so they prove nothing; "
            "export with other images for export_onnx.py --check"
        )
    finite = np.isfinite(candidate).all(axis=1)
    numbers: dict[str, Any] = {"images": len(reference), "non_finite": int((~finite).sum())}
    if not finite.all():
        return numbers
    norms = np.linalg.norm(candidate.astype(np.float64), axis=1)
    a, b = unit(reference), unit(candidate)
    cosines = (a * b).sum(axis=1)
    numbers |= {
        "norm_error": float(np.abs(norms - 1).max()),
        "cosine_min": float(cosines.min()),
        "cosine_mean": float(cosines.mean()),
        "difference_max": float(np.abs(a - b).max()),
    }
    similar_a, similar_b = _among_others(a), _among_others(b)
    numbers |= rank_agreement(similar_a, similar_b, gap=gap)
    for name, similar in (("reference", similar_a), ("candidate", similar_b)):
        others = similar[np.isfinite(similar)]
        numbers[f"{name}_cosine_between"] = float(others.mean())
        numbers[f"{name}_cosine_spread"] = float(others.std())
    return numbers


def rank_agreement(
    reference: NDArray[np.float64], candidate: NDArray[np.float64], *, gap: float = GAP
) -> dict[str, float]:
    """Return {top1, clear, top10}: how well the rankings of two similarity matrices (N, N) agree.

    The diagonals must be -inf, so that no image is its own match. `clear` is the number of rows whose best match in `reference` leads
    the second by more than `gap`. `top1` is the share of these rows that have the same best match in `candidate`, and 1 if there are
    no such rows. `top10` is the mean overlap (0..1) of the ten best matches of all rows. Ties are ordered by index.
    """
    order_a = np.argsort(-reference, axis=1, kind="stable")
    order_b = np.argsort(-candidate, axis=1, kind="stable")
    rows = np.arange(len(reference))
    lead = reference[rows, order_a[:, 0]] - reference[rows, order_a[:, 1]] > gap
    same = order_a[lead, 0] == order_b[lead, 0]
    depth = min(10, len(reference) - 1)
    overlap = [len(set(x[:depth]) & set(y[:depth])) / depth for x, y in zip(order_a, order_b)]
    top1 = float(same.mean()) if lead.any() else 1.0
    return {"top1": top1, "clear": int(lead.sum()), "top10": float(np.mean(overlap))}


def failures(numbers: Mapping[str, Any], limits: Limits) -> list[str]:
    """Return the reasons why `numbers`, the result of `compare`, violate the `limits`; an empty list means that the gate passes."""
    if numbers["non_finite"]:
        return [f"{numbers['non_finite']} of {numbers['images']} features are not finite"]
    reasons = []
    if numbers["norm_error"] > 1e-3:
        reasons.append(f"features are not of length 1 (off by {numbers['norm_error']:.2g})")
    top1_min = limits.top1_min
    if top1_min < 1 and numbers["clear"]:
        top1_min = min(top1_min, (numbers["clear"] - 1) / numbers["clear"])
    floors = (
        ("cosine_min", limits.cosine_min, "lowest cosine to the original model"),
        ("cosine_mean", limits.cosine_mean, "mean cosine to the original model"),
        ("top1", top1_min, "top-1 agreement"),
        ("top10", limits.top10_min, "top-10 overlap"),
    )
    # The comparison is written so that NaN fails too.
    reasons += [
        f"{text} {numbers[key]:.6f} < {floor:.6g}" for key, floor, text in floors if not numbers[key] >= floor
    ]
    if limits.difference_max is not None and not numbers["difference_max"] <= limits.difference_max:
        reasons.append(f"largest difference {numbers['difference_max']:.2g} > {limits.difference_max}")
    return reasons + _collapse(numbers, limits)


def _collapse(numbers: Mapping[str, Any], limits: Limits) -> list[str]:
    apart, was = 1 - numbers["candidate_cosine_between"], 1 - numbers["reference_cosine_between"]
    spread, had = numbers["candidate_cosine_spread"], numbers["reference_cosine_spread"]
    if apart < limits.spread_min * was or spread < limits.spread_min * had:
        return [
            f"features collapse: cosine between different images {1 - apart:.4f} +- {spread:.4f}, "
            f"in the original model {1 - was:.4f} +- {had:.4f}"
        ]
    return []


def unit(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return `features` (N, D) in float64, each row divided by its 2-norm. A row of zeros stays zero."""
    wide = features.astype(np.float64)
    result: NDArray[np.float64] = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return result


def _among_others(features: NDArray[np.float64]) -> NDArray[np.float64]:
    similar: NDArray[np.float64] = features @ features.T
    np.fill_diagonal(similar, -np.inf)
    return similar
