"""Format the result of a study as Markdown: a table of the methods and a list of conclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.study.plan import BUDGET, METHODS, TEACHER, TOLERANCE, TUNED, UNPRUNED
from benchmarks.study.results import AGAINST, ALLOWED, MILD

# The key of a set of queries in the result -> its description. An unoccluded pair is the image of a query with nothing in front of the
# person.
SIDES = {"query": "queries", "twins": "unoccluded pairs"}


def markdown(result: Mapping[str, Any]) -> str:
    """Return the Markdown table of a study, followed by the list of its conclusions. `result` is the content of its result.json."""
    others = list(result["groups"][0]["others"])
    columns = ["method", "level", "G multiply-adds", "mAP", "R1", "mAP before tuning", "mAP unoccluded"]
    columns += [f"{name} {part} mAP / R1" for name in others for part in result["groups"][0]["others"][name]]
    lines = [
        _row(columns),
        "|" + "---|" * len(columns),
        *(_row(_cells(group)) for group in result["groups"]),
    ]
    return "\n".join([*lines, "", *(f"- {text}" for text in notes(result))])


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return the conclusions of a study as texts of one or a few sentences. `result` is the content of its result.json."""
    seeds = max(len(group["seeds"]) for group in result["groups"])
    texts = [
        f"The data are {result['label']}. Scores are in percent, mean ± standard deviation of {seeds} seed{'s' if seeds > 1 else ''}. "
        "All models have the same teacher and the same fine-tuning. Their macs_folded are within "
        f"{TOLERANCE:.1%} of AMG's, except those marked *: these cannot reach AMG's budget and remove the same fractions as AMG.",
    ]
    for level, verdicts in result["verdicts"]["separation"].items():
        if AGAINST in verdicts:
            texts.append(f"{level}: {_separation(verdicts[AGAINST])}")
    for name, verdict in result["verdicts"]["cost"].items():
        word = "within" if verdict["within"] else "not within"
        texts.append(
            f"AMG {MILD} minus {UNPRUNED[name]}: {_points(verdict['difference'])} mAP, {word} the allowed loss of {100 * ALLOWED:.1f}."
        )
    for level, methods in result["occlusion"].items():
        if BUDGET in methods and methods[BUDGET]:
            reference = TUNED if TUNED in methods[BUDGET] else TEACHER
            texts.append(
                f"{level}: compared with the {UNPRUNED[reference]}, {_occlusion(methods[BUDGET][reference])}"
            )
    texts += [_person(group) for group in result["groups"] if group["method"] == BUDGET]
    texts.append(
        "AMG keeps one fixed set of tokens per block for all images. It learns where people stand in a crop, not which part of a "
        "person is hidden."
    )
    return texts


def _cells(group: Mapping[str, Any]) -> list[str]:
    mark = "" if group["equal_budget"] else " *"
    title = METHODS[group["method"]].title if group["method"] in METHODS else UNPRUNED[group["method"]]
    cells = [title, group["level"] or "-", f"{group['macs_folded']['mean'] / 1e9:.4f}{mark}"]
    cells += [_percent(group["query"]["mAP"]), _percent(group["query"]["R1"])]
    cells += [_percent(group["untuned"]["mAP"]) if group["untuned"] else "-", _percent(group["twins"]["mAP"])]
    for parts in group["others"].values():
        cells += [f"{_percent(scores['mAP'])} / {_percent(scores['R1'])}" for scores in parts.values()]
    return cells


def _separation(verdict: Mapping[str, Any]) -> str:
    start = f"AMG minus {METHODS[AGAINST].title}: {_points(verdict['difference'])} mAP"
    if verdict["separated"] is None:
        return f"{start}; a single seed gives no standard deviation."
    twice = f"twice the pooled standard deviation is {200 * verdict['pooled_sd']:.1f}"
    return f"{start}, {twice}: {'separated' if verdict['separated'] else 'no separation'}."


def _occlusion(losses: Mapping[str, Any]) -> str:
    more = losses["more"]
    text = (
        f"AMG's loss is {_points(losses['query'])} mAP on occluded queries and {_points(losses['twins'])} mAP on their "
        "unoccluded pairs"
    )
    if more["error"] is not None:
        text += f" (difference {_points(more['mean'])}, standard error {100 * more['error']:.1f})"
    if losses["grows"] is None:
        return text + "."
    grown = "grows" if losses["grows"] else "does not clearly grow"
    return (
        f"{text}. Among the occluded queries, the loss {grown} with the hidden fraction of the person: "
        f"{_points(losses['slope'] / 10)} mAP per 10 % of the person, standard error {10 * losses['error']:.1f}."
    )


def _person(group: Mapping[str, Any]) -> str:
    sides = []
    for side, shares in group["person"].items():
        kept = shares["kept"]
        sides.append(
            f"{SIDES.get(side, side)} {shares['all']:.0%} of all and {mean(kept):.0%} of the kept ({_list(kept)} by block)"
        )
    return f"{group['level']}: patch tokens that lie on the person: {'; '.join(sides)}."


def _percent(score: Mapping[str, Any]) -> str:
    if score["sd"] is None:
        return f"{100 * score['mean']:.1f}"
    return f"{100 * score['mean']:.1f} ± {100 * score['sd']:.1f}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _list(values: Sequence[float]) -> str:
    return " ".join(f"{100 * value:.0f}" for value in values)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
