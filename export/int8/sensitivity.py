"""Measure how much accuracy INT8 costs in each group of layers on held-out images, and choose the groups that stay float.

The value ranges are measured once (`export.int8.quantize.calibrate`). Every trial quantises a different set of groups of the same
graph and runs it on the CPU. Speed is not measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from export.int8.calibration import feeds
from export.int8.eval_set import EvalSet
from export.int8.groups import groups
from export.int8.quantize import Ranges, with_qdq
from runtime.backends.onnxruntime import session_options
from runtime.errors import ConfigError
from runtime.gate import LIMITS, compare, failures
from runtime.ranking.metrics import evaluate

NOTHING_LEFT = "FP16 is the better choice for this model"
# The note for a CPU names FP32, because a CPU computes FP16 operators in FP32 with additional casts.
NOTHING_LEFT_CPU = "FP32 is the better choice for this model"


@dataclass(frozen=True)
class Constraints:
    """The constraints on an INT8 model, in addition to the limits of the gate.

    mAP may be at most `max_map_drop` points below that of the FP32 graph (None: no limit). `saved_ms` maps a group to the milliseconds
    that INT8 saves on the target; a group that is not in it, or saves nothing, stays float. With `saved_ms` None every group may be
    INT8.
    """

    max_map_drop: float | None = None
    saved_ms: Mapping[str, float] | None = None


@dataclass(frozen=True)
class QuantPlan:
    """Which groups of layers become INT8 (`int8`) and which stay float (`skip`), with the accuracy of this choice.

    `accuracy` compares the features of the INT8 graph with those of the FP32 graph: {map_drop, cosine_min, cosine_mean, top1,
    top10}, as `compare_features` returns them (None: not measured); it is empty if no group is INT8. `rows` has one dict for each
    group: its name (`group`), and the same five numbers for a graph in which this group alone is INT8. `slow` are the groups in
    which INT8 saves no time on the target. `note` says which precision is better if no group is left in INT8, else None. `refused`
    has {skip, failures} for each earlier plan that the gate refused.
    """

    skip: tuple[str, ...]
    int8: tuple[str, ...]
    accuracy: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    note: str | None = None
    slow: tuple[str, ...] = ()
    refused: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the manifest entry, a dict with the names of the fields."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }


def features(graph: onnx.ModelProto, eval_set: EvalSet) -> NDArray[np.float32]:
    """Return the (N, D) float32 features that `graph` gives for the held-out crops, computed by ONNX Runtime on the CPU."""
    # With the options of our runtime, INT8 products do not saturate on any processor. Otherwise saturation on this one would be
    # mistaken for a cost of INT8 on the target.
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
    batches = feeds(eval_set.images, eval_set.camera_rows, eval_set.spec)
    parts = [session.run(["features"], feed)[0] for feed in batches]
    computed: NDArray[np.float32] = np.concatenate(parts)[: len(eval_set.images)]
    return computed


def compare_features(
    reference: NDArray[np.float32], candidate: NDArray[np.float32], eval_set: EvalSet
) -> dict[str, Any]:
    """Return a dict of numbers that say how much the features `candidate` of the held-out crops differ from `reference`, both (N, D).

    The keys are those of `runtime.gate.compare`, such as `top1`, the share of images (0..1) with the same best match in both (only
    images with a clear one count), and `top10`, the overlap (0..1) of the ten best matches. If the identities are known, `map_drop`
    is added, in points of mAP (negative: a gain).
    """
    numbers = compare(reference, candidate, gap=LIMITS["int8"].gap)
    if eval_set.queries and not numbers["non_finite"]:
        numbers["map_drop"] = 100 * (_map(reference, eval_set) - _map(candidate, eval_set))
    return numbers


def violations(numbers: Mapping[str, Any], constraints: Constraints) -> list[str]:
    """Return one line for each limit of the gate and the constraints that the `numbers` of an INT8 graph break; [] if there is none.

    `numbers` are the result of `compare_features`. Raises ConfigError when mAP is limited but was not measured.
    """
    reasons = failures(numbers, LIMITS["int8"])
    if constraints.max_map_drop is None or numbers["non_finite"]:
        return reasons
    if "map_drop" not in numbers:
        raise ConfigError(
            "--max-map-drop: mAP needs images with identities; give a data set with --check, or leave --max-map-drop out"
        )
    if not numbers["map_drop"] <= constraints.max_map_drop:
        allowed = constraints.max_map_drop
        reasons.append(f"mAP drops by {numbers['map_drop']:.2f} points, more than the allowed {allowed}")
    return reasons


def choose_groups(
    graph: onnx.ModelProto,
    ranges: Ranges,
    eval_set: EvalSet,
    *,
    target: str,
    constraints: Constraints | None = None,
) -> QuantPlan:
    """Choose the groups of the FP32 `graph` that become INT8 on `target`: as many as the gate's limits and the constraints allow.

    `ranges` are those of `calibrate`. Groups return to float one after another, the most harmful first. The most harmful group is the
    one with the lowest mean cosine of the features when only this group is INT8; mAP and rank agreement change in steps of one image,
    which is too coarse. Each tried combination is measured on `eval_set`. The search assumes that more float groups never cost
    accuracy. Raises ConfigError when the constraints name a group that the model does not have, or limit mAP without identities.
    """
    limits = constraints or Constraints()
    names = list(groups(graph))
    if unknown := sorted(set(limits.saved_ms or ()) - set(names)):
        raise ConfigError(
            f"--latency-table: this model has no group {unknown[0]} of layers; its groups are {', '.join(names)}"
        )
    reference = features(graph, eval_set)
    measured: dict[tuple[str, ...], dict[str, Any]] = {}

    def measure(skip: Collection[str]) -> dict[str, Any]:
        key = tuple(name for name in names if name in skip)
        if key not in measured:
            candidate = with_qdq(graph, ranges, target=measured_form(target), skip=key)
            measured[key] = compare_features(reference, features(candidate, eval_set), eval_set)
        return measured[key]

    rows = [group_row(name, measure([other for other in names if other != name])) for name in names]
    slow = [name for name in names if limits.saved_ms is not None and not limits.saved_ms.get(name, 0) > 0]
    order = [name for name in worst_first(rows) if name not in slow]

    def passes(count: int) -> bool:
        return not violations(measure([*slow, *order[:count]]), limits)

    count = smallest_passing(passes, len(order))
    skip = tuple(name for name in names if name in slow or name in order[:count])
    int8 = tuple(name for name in names if name not in skip)
    accuracy = _accuracy(measure(skip)) if int8 else {}
    return QuantPlan(skip, int8, accuracy, tuple(rows), _note(int8, target), tuple(slow))


def reduce_plan(
    plan: QuantPlan,
    graph: onnx.ModelProto,
    ranges: Ranges,
    eval_set: EvalSet,
    *,
    target: str,
    failures: list[str],
) -> QuantPlan:
    """Return a plan with fewer INT8 groups than `plan`, which the gate of the export refused for the reasons `failures`.

    Each call handles one refusal and returns the worst INT8 groups to float. Their number is 1 at first and doubles with each
    earlier refusal in `plan.refused`. The worst group has the lowest mean cosine in `plan.rows`. The other parameters are those of
    `choose_groups`.
    """
    count = 2 ** len(plan.refused)
    worst = [name for name in worst_first(plan.rows) if name in plan.int8][:count]
    int8 = tuple(name for name in plan.int8 if name not in worst)
    skip = tuple(row["group"] for row in plan.rows if row["group"] not in int8)
    accuracy: dict[str, Any] = {}
    if int8:
        candidate = with_qdq(graph, ranges, target=measured_form(target), skip=skip)
        before, after = features(graph, eval_set), features(candidate, eval_set)
        accuracy = _accuracy(compare_features(before, after, eval_set))
    refused = (*plan.refused, {"skip": list(plan.skip), "failures": failures})
    return replace(plan, skip=skip, int8=int8, accuracy=accuracy, note=_note(int8, target), refused=refused)


def measured_form(target: str) -> str:
    """Return the key of `export.int8.quantize.SCHEMES` with which the accuracy of INT8 on `target` is measured on a CPU.

    It is `target` itself, except for the TensorRT targets. Their key is "tensorrt-on-cpu": the same INT8 arithmetic, but the rest
    of the graph is FP32, because a CPU has fast integer kernels for this form. The gate of the export judges FP16 separately.
    """
    return "tensorrt-on-cpu" if target.startswith("tensorrt") else target


def group_row(name: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of the group `name` in a QuantPlan: {group, map_drop, cosine_min, cosine_mean, top1, top10}.

    `numbers` is the result of `compare_features`; a number that it does not have is None in the row.
    """
    return {"group": name} | _accuracy(numbers)


def worst_first(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the group names of `rows`, the lowest mean cosine to the FP32 features first; non-finite features count as lowest."""
    cosines = {row["group"]: -2.0 if row["cosine_mean"] is None else row["cosine_mean"] for row in rows}
    return sorted(cosines, key=lambda name: cosines[name])


def smallest_passing(passes: Callable[[int], bool], limit: int) -> int:
    """Return the smallest count from 0 to `limit` - 1 for which `passes(count)` is true, or `limit` if there is none.

    `passes(limit)` is never called. The search assumes that `passes` is true for every count above the smallest one.
    """
    low, step = 0, 1
    while low < limit and not passes(low):
        low, step = low + step, 2 * step
    # `passes` failed for `below` and held for `above`, unless `above` is `limit`.
    above, below = min(low, limit), low - step // 2 if step > 1 else -1
    while above - below > 1:
        middle = (above + below) // 2
        above, below = (middle, below) if passes(middle) else (above, middle)
    return above


def _note(int8_groups: Collection[str], target: str) -> str | None:
    if int8_groups:
        return None
    return NOTHING_LEFT if target.startswith("tensorrt") else NOTHING_LEFT_CPU


def _accuracy(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {key: numbers.get(key) for key in ("map_drop", "cosine_min", "cosine_mean", "top1", "top10")}


def _map(embedded: NDArray[np.float32], eval_set: EvalSet) -> float:
    query, gallery = slice(None, eval_set.queries), slice(eval_set.queries, None)
    pids, camids = eval_set.pids, eval_set.camids
    scores = evaluate(
        embedded[query], pids[query], camids[query], embedded[gallery], pids[gallery], camids[gallery]
    )
    return float(scores.to_json()["mAP"])
