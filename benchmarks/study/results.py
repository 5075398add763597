"""Summarise the trials of a study: means, standard deviations and comparisons of methods. Reads no file and no model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks.study.plan import BUDGET, LEVELS, METHODS, TEACHER, TUNED, UNPRUNED

Record = Mapping[str, Any]
# The mAP (0..1) that the milder pruning level may cost, the name of this level, and the method that AMG must clearly surpass.
ALLOWED, MILD, AGAINST = 0.01, "h25_t25", "random"


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return {mean, sd, values} of `values`. `sd` is the sample standard deviation (n - 1), or None for a single value."""
    return {
        "mean": mean(values),
        "sd": stdev(values) if len(values) > 1 else None,
        "values": [round(value, 6) for value in values],
    }


def separation(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Return {difference, pooled_sd, separated}: whether the scores `ours` are clearly above the scores `theirs`.

    `difference` is the mean of `ours` minus that of `theirs`. `pooled_sd` is the pooled standard deviation: the root of the mean of
    the two variances, with the weights n - 1. `separated` is whether `difference` is above 2 * `pooled_sd`. If either sample has a
    single value, `pooled_sd` and `separated` are None.
    """
    difference = mean(ours) - mean(theirs)
    degrees_of_freedom = len(ours) + len(theirs) - 2
    if min(len(ours), len(theirs)) < 2:
        return {"difference": difference, "pooled_sd": None, "separated": None}
    squares = sum((value - mean(side)) ** 2 for side in (ours, theirs) for value in side)
    pooled = math.sqrt(squares / degrees_of_freedom)
    return {"difference": difference, "pooled_sd": pooled, "separated": difference > 2 * pooled}


def line_fit(xs: Sequence[float], ys: Sequence[float]) -> dict[str, float | None]:
    """Fit a line to the points (`xs`, `ys`) by least squares. Return {slope, error}, where `error` is the slope's standard error.

    Both values are None for fewer than 3 points, or if all `xs` are equal.
    """
    x_mean, y_mean = mean(xs), mean(ys)
    squares = sum((x - x_mean) ** 2 for x in xs)
    if len(xs) < 3 or squares == 0:
        return {"slope": None, "error": None}
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys)) / squares
    residual = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in zip(xs, ys))
    return {"slope": slope, "error": math.sqrt(residual / (len(xs) - 2) / squares)}


def occlusion(reference: Sequence[Record], pruned: Sequence[Record]) -> dict[str, Any]:
    """Return how much mAP a pruned model loses on occluded queries, and whether it loses more if more of the person is hidden.

    `reference` has the records of the unpruned model and `pruned` those of the pruned model, in each case one for each seed. The
    average precision of each query is averaged over the seeds of a model. The result has these keys. `query` and `twins` are the
    mAP lost (0..1) on the occluded queries and on their unoccluded pairs. `more` is {mean, error}: how much more the occluded
    queries lose than their pairs, and its standard error (None for a single query). `slope` is the slope of a linear fit over the
    queries: mAP lost against the hidden fraction of the person. `error` is the standard error of the slope, and `grows` is whether
    the slope is above twice its error. `slope`, `error` and `grows` are None if `line_fit` cannot fit a line.
    """
    losses = {
        side: [a - b for a, b in zip(_precisions(reference, side), _precisions(pruned, side))]
        for side in ("query", "twins")
    }
    more = [hidden - whole for hidden, whole in zip(losses["query"], losses["twins"])]
    fit = line_fit([1 - share for share in reference[0]["visible"]], losses["query"])
    slope, error = fit["slope"], fit["error"]
    return {
        "query": mean(losses["query"]),
        "twins": mean(losses["twins"]),
        "more": {"mean": mean(more), "error": stdev(more) / math.sqrt(len(more)) if len(more) > 1 else None},
        **fit,
        "grows": None if slope is None or error is None else slope > 2 * error,
    }


def group(records: Sequence[Record]) -> dict[str, Any]:
    """Return the entry of one method at one level in result.json.

    It has the `spread` of each cost, and of each score (0..1), over the seeds. `records` are the records of its trials, one for each
    seed.
    """
    first = records[0]["scores"]

    def spread_of(*keys: Any) -> dict[str, Any]:
        return spread([float(_at(record["scores"], keys)) for record in records])

    out: dict[str, Any] = {
        "method": records[0]["method"],
        "level": records[0]["level"],
        "seeds": [record["seed"] for record in records],
        "macs_folded": spread([float(record["macs"]["macs_folded"]) for record in records]),
        "equal_budget": all(record["budget"]["reached"] for record in records if "budget" in record),
        "heads": [record["heads"] for record in records],
        "tokens": [record["tokens"] for record in records],
    }
    for side in ("query", "twins"):
        out[side] = {name: spread_of(side, name) for name in ("mAP", "R1")}
    out["visible"] = [
        {key: share_range[key] for key in ("low", "high", "queries")}
        | {name: spread_of("query", "visible", number, name) for name in ("mAP", "R1")}
        for number, share_range in enumerate(first["query"]["visible"])
    ]
    out["others"] = {
        name: {
            part: {key: spread_of("others", name, part, key) for key in ("mAP", "R1")}
            | {"queries": scores["queries"]}
            for part, scores in parts.items()
        }
        for name, parts in first["others"].items()
    }
    out["untuned"] = {
        name: spread([record["untuned"][name] for record in records if "untuned" in record])
        for name in ("mAP", "R1")
        if "untuned" in records[0]
    }
    out["person"] = {
        side: {
            "all": token_shares["all"],
            **{
                key: _column_means([record["scores"]["person"][side][key] for record in records])
                for key in ("kept", "person_kept")
            },
        }
        for side, token_shares in first["person"].items()
    }
    return out


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Return {groups, verdicts, occlusion}, a summary of the records of finished trials.

    `groups` has the `group` of each method at each level. `verdicts` has two keys. "separation" maps each level and each method
    other than AMG to the `separation` of AMG's mAP from that of the method. "cost" maps "teacher" and "tuned" (the fine-tuned
    teacher) to {difference, within}. `difference` is the mAP of AMG at the milder level minus the mAP of that unpruned model, and
    `within` is whether AMG loses at most ALLOWED. `occlusion` maps each level, then each method, then "teacher" and "tuned" to what
    the function `occlusion` returns with that unpruned model as the reference.
    """
    order = [(name, "") for name in UNPRUNED] + [(name, level) for level in LEVELS for name in METHODS]
    by_group = {
        key: matching
        for key in order
        if (
            matching := sorted(
                (record for record in records if (record["method"], record["level"]) == key), key=_seed
            )
        )
    }
    scores = {
        key: [float(record["scores"]["query"]["mAP"]) for record in matching]
        for key, matching in by_group.items()
    }
    verdicts: dict[str, Any] = {"separation": {}, "cost": {}}
    occlusion_losses: dict[str, Any] = {}
    for level in LEVELS:
        if (BUDGET, level) not in by_group:
            continue
        verdicts["separation"][level] = {
            name: separation(scores[BUDGET, level], scores[name, level])
            for name in METHODS
            if name != BUDGET and (name, level) in by_group
        }
        for name in UNPRUNED:
            if (name, "") in by_group and level == MILD:
                difference = mean(scores[BUDGET, level]) - mean(scores[name, ""])
                verdicts["cost"][name] = {"difference": difference, "within": difference >= -ALLOWED}
        occlusion_losses[level] = {
            name: {
                reference: occlusion(by_group[reference, ""], by_group[name, level])
                for reference in (TEACHER, TUNED)
                if (reference, "") in by_group
            }
            for name in METHODS
            if (name, level) in by_group
        }
    return {
        "groups": [group(matching) for matching in by_group.values()],
        "verdicts": verdicts,
        "occlusion": occlusion_losses,
    }


def _seed(record: Record) -> int:
    return int(record["seed"])


def _at(value: Any, keys: Sequence[Any]) -> Any:
    for key in keys:
        value = value[key]
    return value


def _precisions(records: Sequence[Record], side: str) -> list[float]:
    return _column_means([record["scores"][side]["precisions"] for record in records])


def _column_means(rows: Sequence[Sequence[float]]) -> list[float]:
    return [mean(column) for column in zip(*rows, strict=True)]
