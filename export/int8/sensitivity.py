"""What each group of Linears costs in INT8, on held-out images, and which groups to take back. Says nothing of a target's speed.

Ranges are measured once (`export.int8.quantize.calibrate`); every trial is the same graph with other groups quantised, run on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from export.int8.calibration import feeds, spaced
from export.int8.groups import groups
from export.int8.quantize import Ranges, with_qdq
from runtime.backends.onnxruntime import session_options
from runtime.datasets import Item, count_warnings, guess_layout, read_dataset
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.errors import ConfigError, DataError
from runtime.gate import LIMITS, compare, failures
from runtime.images.decode import load_image
from runtime.images.lists import read_images
from runtime.images.preprocess import resize
from runtime.ranking.metrics import evaluate
from runtime.spec import InputSpec

COUNT = 300
# Held-out crops of one person at least: a query and others to find.
PER_PERSON = 4
NOTHING_LEFT = "FP16 is the better engine here"
# on a CPU FP16 is computed in FP32, with casts around it
NOTHING_LEFT_CPU = "FP32 is the better file here"


@dataclass(frozen=True)
class HeldOut:
    """N test crops (N, H, W, 3) uint8 RGB and their camera ids (N,) int64 or None; the first `queries` are searched in the others.

    `pids` and `camids` (N,) say who is who. `queries` 0: nobody knows, and mAP is not measured.
    """

    images: NDArray[np.uint8]
    rows: NDArray[np.int64] | None
    spec: InputSpec
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    queries: int


@dataclass(frozen=True)
class Demand:
    """When INT8 is good enough: at most `max_map_drop` points of mAP below the parent (None: not asked), and the gate's limits.

    `saved_ms` (group -> milliseconds that INT8 saves there on the target): a group that is not in it, or saves nothing, stays
    float; None: no such table, every group may go.
    """

    max_map_drop: float | None = None
    saved_ms: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Choice:
    """The groups to leave float (`skip`, for `with_qdq`), those in INT8, what all of it costs, and a row for every group alone.

    `note`: what to write instead of an INT8 file, None when one should be. `refused`: what the final gate said of the choices
    before this one, {skip, failures} each.
    """

    skip: tuple[str, ...]
    int8: tuple[str, ...]
    accuracy: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    note: str | None = None
    slow: tuple[str, ...] = ()
    refused: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the manifest; `slow` are the groups that save no time on the target."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }


def held_out(
    root: Path | str, spec: InputSpec, *, count: int = COUNT, camera: str | int | None = None
) -> HeldOut:
    """Up to `count` test crops of the data set at `root`, by people, so that queries have matches; or images of the folder.

    DataError when fewer than three can be read.
    """
    query, gallery, dataset = _items(str(root))
    asked, searched = people(query, gallery, count)
    if not asked:
        every = [*query, *gallery]
        searched = [every[index] for index in spaced(len(every), count)]
    crops, kept, queries = [], [], 0
    for split in (asked, searched):
        for item in split:
            try:
                crops.append(resize(load_image(item.path), spec))
            except DataError:
                continue
            kept.append(item)
            queries += split is asked
    if len(crops) < 3:
        raise DataError(f"{root}: only {len(crops)} readable images; give --check ROOT with at least 3")
    camids = np.array([item.camid for item in kept], np.int64)
    rows, _ = camera_ids(camids, spec, policy=camera, dataset=dataset)
    pids = np.array([item.pid for item in kept], np.int64)
    return HeldOut(np.stack(crops), rows, spec, pids, camids, queries)


def people(query: Sequence[Item], gallery: Sequence[Item], count: int) -> tuple[list[Item], list[Item]]:
    """(queries, gallery) of up to `count` crops of people evenly spaced over those whom another camera saw too; empty without any.

    PER_PERSON crops of each or more, in the proportion of the splits, at least a query and its match.
    """
    own: dict[int, list[Item]] = {}
    found: dict[int, list[Item]] = {}
    for item in query:
        own.setdefault(item.pid, []).append(item)
    for item in gallery:
        # what the first query's own camera saw is no match
        if item.pid in own and (item.camid != own[item.pid][0].camid or item.camid < 0):
            found.setdefault(item.pid, []).append(item)
    known = sorted(found)
    each = max(PER_PERSON, count // max(1, len(known)))
    asked: list[Item] = []
    searched: list[Item] = []
    for index in spaced(len(known), max(1, count // each)) if known else []:
        first, second = own[known[index]], found[known[index]]
        share = max(1, round(each * len(first) / (len(first) + len(second))))
        asked += [first[place] for place in spaced(len(first), share)]
        searched += [second[place] for place in spaced(len(second), max(1, each - share))]
    return asked, searched


def features(graph: onnx.ModelProto, held: HeldOut) -> NDArray[np.float32]:
    """(N, D) float32 features of the held-out crops, from ONNX Runtime on the CPU."""
    # with the runtime's own options: a processor that saturates must not be mistaken for what a target's INT8 costs
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
    parts = [session.run(["features"], feed)[0] for feed in feeds(held.images, held.rows, held.spec)]
    found: NDArray[np.float32] = np.concatenate(parts)[: len(held.images)]
    return found


def numbers_of(
    reference: NDArray[np.float32], candidate: NDArray[np.float32], held: HeldOut
) -> dict[str, Any]:
    """`runtime.gate.compare`'s numbers and, where identities are known, `map_drop` in points (negative: better than the parent)."""
    numbers = compare(reference, candidate, gap=LIMITS["int8"].gap)
    if held.queries and not numbers["non_finite"]:
        before, after = (_map(one, held) for one in (reference, candidate))
        numbers["map_drop"] = 100 * (before - after)
    return numbers


def refusals(numbers: Mapping[str, Any], demand: Demand) -> list[str]:
    """Why this INT8 form is not good enough, in words; empty when it is. ConfigError: mAP asked for and not measured."""
    found = failures(numbers, LIMITS["int8"])
    if demand.max_map_drop is None or numbers["non_finite"]:
        return found
    if "map_drop" not in numbers:
        raise ConfigError("--max-map-drop needs a data set with identities; give --check ROOT")
    if not numbers["map_drop"] <= demand.max_map_drop:
        found.append(f"mAP drops by {numbers['map_drop']:.2f} points, more than {demand.max_map_drop}")
    return found


def choose(
    graph: onnx.ModelProto, ranges: Ranges, held: HeldOut, *, target: str, demand: Demand | None = None
) -> Choice:
    """The groups of the FP32 `graph` that can be INT8 on `target` within `demand`: all but the fewest of the worst, worst first.

    The order is by the mean cosine of the features that a group alone costs: mAP and rank agreement move in steps of one image.
    Each tried form is measured as a whole; that taking back more never costs accuracy is assumed in the search, not in the result.
    ConfigError: `demand` names a group that the model has not.
    """
    demand = demand or Demand()
    names = list(groups(graph))
    if unknown := sorted(set(demand.saved_ms or ()) - set(names)):
        raise ConfigError(
            f"--latency-table: no group {unknown[0]} of Linear layers in this model; it has {', '.join(names)}"
        )
    reference = features(graph, held)
    measured: dict[tuple[str, ...], dict[str, Any]] = {}

    def measure(skip: Collection[str]) -> dict[str, Any]:
        key = tuple(name for name in names if name in skip)
        if key not in measured:
            candidate = with_qdq(graph, ranges, target=measured_form(target), skip=key)
            measured[key] = numbers_of(reference, features(candidate, held), held)
        return measured[key]

    rows = [row_of(name, measure([other for other in names if other != name])) for name in names]
    slow = [name for name in names if demand.saved_ms is not None and not demand.saved_ms.get(name, 0) > 0]
    order = [name for name in worst_first(rows) if name not in slow]

    def good(taken: int) -> bool:
        return not refusals(measure([*slow, *order[:taken]]), demand)

    taken = fewest(good, len(order))
    skip = tuple(name for name in names if name in slow or name in order[:taken])
    left = tuple(name for name in names if name not in skip)
    accuracy = _accuracy(measure(skip)) if left else {}
    return Choice(skip, left, accuracy, tuple(rows), _note(left, target), tuple(slow))


def take_back(
    choice: Choice, graph: onnx.ModelProto, ranges: Ranges, held: HeldOut, *, target: str, failures: list[str]
) -> Choice:
    """The choice after the final gate refused it for `failures`: its worst group float too, then two, four, ... more at a time."""
    count = 2 ** len(choice.refused)
    worst = [name for name in worst_first(choice.rows) if name in choice.int8][:count]
    left = tuple(name for name in choice.int8 if name not in worst)
    skip = tuple(row["group"] for row in choice.rows if row["group"] not in left)
    accuracy: dict[str, Any] = {}
    if left:
        candidate = with_qdq(graph, ranges, target=measured_form(target), skip=skip)
        accuracy = _accuracy(numbers_of(features(graph, held), features(candidate, held), held))
    refused = (*choice.refused, {"skip": list(choice.skip), "failures": failures})
    return replace(choice, skip=skip, int8=left, accuracy=accuracy, note=_note(left, target), refused=refused)


def measured_form(target: str) -> str:
    """The form of `target` that is measured: FP16 is the business of its own gate, FP32 runs on integer kernels here."""
    return "tensorrt-on-cpu" if target.startswith("tensorrt") else target


def row_of(name: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """A group's line in the table: {group, map_drop, cosine_min, cosine_mean, top1, top10}; null where it could not be measured."""
    return {"group": name} | _accuracy(numbers)


def worst_first(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Group names by their mean cosine to the parent, lowest first; a group whose features are not finite comes before all."""
    costs = {row["group"]: -2.0 if row["cosine_mean"] is None else row["cosine_mean"] for row in rows}
    return sorted(costs, key=lambda name: costs[name])


def fewest(good: Callable[[int], bool], most: int) -> int:
    """The smallest count for which `good` holds, if it holds for all above it; `most` (never asked) when for none below."""
    low, step = 0, 1
    while low < most and not good(low):
        low, step = low + step, 2 * step
    # `good` failed at `below`, held at `above`, or that is `most`
    above, below = min(low, most), low - step // 2 if step > 1 else -1
    while above - below > 1:
        middle = (above + below) // 2
        above, below = (middle, below) if good(middle) else (above, middle)
    return above


def _note(left: Collection[str], target: str) -> str | None:
    if left:
        return None
    return NOTHING_LEFT if target.startswith("tensorrt") else NOTHING_LEFT_CPU


def _accuracy(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {key: numbers.get(key) for key in ("map_drop", "cosine_min", "cosine_mean", "top1", "top10")}


def _map(found: NDArray[np.float32], held: HeldOut) -> float:
    cut = held.queries
    scores = evaluate(
        found[:cut], held.pids[:cut], held.camids[:cut], found[cut:], held.pids[cut:], held.camids[cut:]
    )
    return float(scores.to_json()["mAP"])


def _items(root: str) -> tuple[list[Item], list[Item], str | None]:
    """(queries, gallery, name of the data set where that is sure); of a folder that is none: ([], its images, None)."""
    if not Path(root).is_dir():
        raise DataError(f"{root}: no such folder of check images; give --check ROOT")
    try:
        dataset = read_dataset(root, guess_layout(root))
    except (ConfigError, DataError):
        return [], read_images(root), None
    return list(dataset.query), list(dataset.gallery), dataset_name(dataset.layout, count_warnings(dataset))
