"""From the cells of the comparison to what it says: means, deviations, verdicts. Arithmetic alone: no files, no models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks.study.plan import BUDGET, LEVELS, METHODS, TEACHER, TUNED, UNPRUNED

Line = Mapping[str, Any]
# how much mAP (0..1) the mild level may cost, and against whom AMG must show
ALLOWED, MILD, AGAINST = 0.01, "h25_t25", "random"


def spread(values: Sequence[float]) -> dict[str, Any]:
    """{mean, sd, values}; `sd` is the sample's (n - 1), None for one value."""
    return {
        "mean": mean(values),
        "sd": stdev(values) if len(values) > 1 else None,
        "values": [round(value, 6) for value in values],
    }


def separation(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """{difference, pooled_sd, separated} of two samples: whether mean - mean is above twice the pooled standard deviation.

    The pooled variance weighs each sample's (n - 1). With one value on each side nothing is known: None.
    """
    difference, free = mean(ours) - mean(theirs), len(ours) + len(theirs) - 2
    if min(len(ours), len(theirs)) < 2:
        return {"difference": difference, "pooled_sd": None, "separated": None}
    squares = sum((value - mean(side)) ** 2 for side in (ours, theirs) for value in side)
    pooled = math.sqrt(squares / free)
    return {"difference": difference, "pooled_sd": pooled, "separated": difference > 2 * pooled}


def line_fit(across: Sequence[float], up: Sequence[float]) -> dict[str, float | None]:
    """{slope, error}: least squares of `up` on `across`, and the slope's standard error; None without spread or under 3 points."""
    centre, height = mean(across), mean(up)
    width = sum((x - centre) ** 2 for x in across)
    if len(across) < 3 or width == 0:
        return {"slope": None, "error": None}
    slope = sum((x - centre) * (y - height) for x, y in zip(across, up)) / width
    rest = sum((y - height - slope * (x - centre)) ** 2 for x, y in zip(across, up))
    return {"slope": slope, "error": math.sqrt(rest / (len(across) - 2) / width)}


def occlusion(reference: Sequence[Line], pruned: Sequence[Line]) -> dict[str, Any]:
    """Whether the mAP lost against `reference` grows with what is hidden; each side averaged over its lines, query by query.

    {query, twins: mAP lost (0..1); more: what occluded queries lose beyond their unoccluded twins, and its standard error;
    slope, error: mAP lost per hidden share (0..1); grows: slope above twice its error}.
    """
    drops = {
        side: [a - b for a, b in zip(_precisions(reference, side), _precisions(pruned, side))]
        for side in ("query", "twins")
    }
    more = [hidden - whole for hidden, whole in zip(drops["query"], drops["twins"])]
    fit = line_fit([1 - share for share in reference[0]["visible"]], drops["query"])
    slope, error = fit["slope"], fit["error"]
    return {
        "query": mean(drops["query"]),
        "twins": mean(drops["twins"]),
        "more": {"mean": mean(more), "error": stdev(more) / math.sqrt(len(more)) if len(more) > 1 else None},
        **fit,
        "grows": None if slope is None or error is None else slope > 2 * error,
    }


def group(lines: Sequence[Line]) -> dict[str, Any]:
    """What one method at one level reached over its seeds; scores 0..1."""
    first = lines[0]["scores"]

    def over(*keys: Any) -> dict[str, Any]:
        return spread([float(_at(line["scores"], keys)) for line in lines])

    out: dict[str, Any] = {
        "method": lines[0]["method"],
        "level": lines[0]["level"],
        "seeds": [line["seed"] for line in lines],
        "macs_folded": spread([float(line["macs"]["macs_folded"]) for line in lines]),
        "equal_budget": all(line["budget"]["reached"] for line in lines if "budget" in line),
        "heads": [line["heads"] for line in lines],
        "tokens": [line["tokens"] for line in lines],
    }
    for side in ("query", "twins"):
        out[side] = {name: over(side, name) for name in ("mAP", "R1")}
    out["visible"] = [
        {key: bin_[key] for key in ("low", "high", "queries")}
        | {name: over("query", "visible", number, name) for name in ("mAP", "R1")}
        for number, bin_ in enumerate(first["query"]["visible"])
    ]
    out["others"] = {
        name: {
            part: {key: over("others", name, part, key) for key in ("mAP", "R1")}
            | {"queries": found["queries"]}
            for part, found in parts.items()
        }
        for name, parts in first["others"].items()
    }
    out["untuned"] = {
        name: spread([line["untuned"][name] for line in lines if "untuned" in line])
        for name in ("mAP", "R1")
        if "untuned" in lines[0]
    }
    out["person"] = {
        side: {
            "all": found["all"],
            **{
                key: _columns([line["scores"]["person"][side][key] for line in lines])
                for key in ("kept", "person_kept")
            },
        }
        for side, found in first["person"].items()
    }
    return out


def summarise(lines: Sequence[Line]) -> dict[str, Any]:
    """{groups, verdicts, occlusion} of the finished cells, in the order of the plan.

    verdicts: per level AMG against every other method (mAP), and at the mild level against the teacher and the fine-tuned teacher.
    """
    order = [(name, "") for name in UNPRUNED] + [(name, level) for level in LEVELS for name in METHODS]
    mine = {
        key: found
        for key in order
        if (found := sorted((line for line in lines if (line["method"], line["level"]) == key), key=_seed))
    }
    scores = {key: [float(line["scores"]["query"]["mAP"]) for line in found] for key, found in mine.items()}
    verdicts: dict[str, Any] = {"separation": {}, "cost": {}}
    lost: dict[str, Any] = {}
    for level in LEVELS:
        if (BUDGET, level) not in mine:
            continue
        verdicts["separation"][level] = {
            name: separation(scores[BUDGET, level], scores[name, level])
            for name in METHODS
            if name != BUDGET and (name, level) in mine
        }
        for name in UNPRUNED:
            if (name, "") in mine and level == MILD:
                difference = mean(scores[BUDGET, level]) - mean(scores[name, ""])
                verdicts["cost"][name] = {"difference": difference, "within": difference >= -ALLOWED}
        lost[level] = {
            name: {
                reference: occlusion(mine[reference, ""], mine[name, level])
                for reference in (TEACHER, TUNED)
                if (reference, "") in mine
            }
            for name in METHODS
            if (name, level) in mine
        }
    return {"groups": [group(found) for found in mine.values()], "verdicts": verdicts, "occlusion": lost}


def _seed(line: Line) -> int:
    return int(line["seed"])


def _at(value: Any, keys: Sequence[Any]) -> Any:
    for key in keys:
        value = value[key]
    return value


def _precisions(lines: Sequence[Line], side: str) -> list[float]:
    return _columns([line["scores"][side]["precisions"] for line in lines])


def _columns(rows: Sequence[Sequence[float]]) -> list[float]:
    return [mean(column) for column in zip(*rows, strict=True)]
