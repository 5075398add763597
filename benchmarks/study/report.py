"""The comparison in words: the README's table and what it says, from a result alone. Plain Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.study.plan import BUDGET, METHODS, TEACHER, TOLERANCE, TUNED, UNPRUNED
from benchmarks.study.results import AGAINST, ALLOWED, MILD


def markdown(result: Mapping[str, Any]) -> str:
    """The README's table, verdicts and notes."""
    others = list(result["groups"][0]["others"])
    columns = ["method", "level", "G multiply-adds", "mAP", "R1", "mAP untuned", "mAP twins"]
    columns += [f"{name} {part} mAP / R1" for name in others for part in result["groups"][0]["others"][name]]
    lines = [
        _row(columns),
        "|" + "---|" * len(columns),
        *(_row(_cells(one)) for one in result["groups"]),
    ]
    return "\n".join([*lines, "", *(f"- {text}" for text in notes(result))])


def notes(result: Mapping[str, Any]) -> list[str]:
    """What the table says, sentence by sentence."""
    seeds = max(len(one["seeds"]) for one in result["groups"])
    texts = [
        f"{result['label']}; percent, mean ± standard deviation of {seeds} seed{'s' if seeds > 1 else ''}. Every cell: the "
        f"same teacher, the same fine-tuning, macs_folded within {TOLERANCE:.1%} of AMG's, but for those marked *, whose "
        "budget cannot be reached: they remove AMG's fraction.",
    ]
    for level, found in result["verdicts"]["separation"].items():
        if AGAINST in found:
            texts.append(f"{level}: {_separation(found[AGAINST])}")
    for name, found in result["verdicts"]["cost"].items():
        word = "within" if found["within"] else "not within"
        texts.append(
            f"AMG {MILD} minus {UNPRUNED[name]}: {_points(found['difference'])} mAP, {word} {100 * ALLOWED:.1f}."
        )
    for level, methods in result["occlusion"].items():
        if BUDGET in methods and methods[BUDGET]:
            reference = TUNED if TUNED in methods[BUDGET] else TEACHER
            texts.append(
                f"{level}: against the {UNPRUNED[reference]}, {_occlusion(methods[BUDGET][reference])}"
            )
    texts += [_person(one) for one in result["groups"] if one["method"] == BUDGET]
    texts.append(
        "AMG keeps one fixed set of tokens a block, the same for every picture: it learns where people stand, not who is hidden where."
    )
    return texts


def _cells(one: Mapping[str, Any]) -> list[str]:
    mark = "" if one["equal_budget"] else " *"
    words = METHODS[one["method"]].words if one["method"] in METHODS else UNPRUNED[one["method"]]
    cells = [words, one["level"] or "-", f"{one['macs_folded']['mean'] / 1e9:.4f}{mark}"]
    cells += [_percent(one["query"]["mAP"]), _percent(one["query"]["R1"])]
    cells += [_percent(one["untuned"]["mAP"]) if one["untuned"] else "-", _percent(one["twins"]["mAP"])]
    for parts in one["others"].values():
        cells += [f"{_percent(found['mAP'])} / {_percent(found['R1'])}" for found in parts.values()]
    return cells


def _separation(found: Mapping[str, Any]) -> str:
    start = f"AMG minus {METHODS[AGAINST].words}: {_points(found['difference'])} mAP"
    if found["separated"] is None:
        return f"{start}; one seed says nothing of its spread."
    twice = f"twice the pooled standard deviation is {200 * found['pooled_sd']:.1f}"
    return f"{start}, {twice}: {'separated' if found['separated'] else 'no separation'}."


def _occlusion(found: Mapping[str, Any]) -> str:
    more = found["more"]
    text = f"occluded queries lose {_points(found['query'])} mAP, their unoccluded twins {_points(found['twins'])}"
    if more["error"] is not None:
        text += f" (difference {_points(more['mean'])}, standard error {100 * more['error']:.1f})"
    if found["grows"] is None:
        return text + "."
    grown = "grows" if found["grows"] else "does not clearly grow"
    return (
        f"{text}; the loss {grown} with occlusion: {_points(found['slope'] / 10)} per 10 % more of the person hidden, "
        f"standard error {10 * found['error']:.1f}."
    )


def _person(one: Mapping[str, Any]) -> str:
    sides = []
    for side, found in one["person"].items():
        kept = found["kept"]
        sides.append(
            f"{side} {found['all']:.0%} of all, {mean(kept):.0%} of the kept ({_list(kept)} by block)"
        )
    return f"{one['level']}: patch tokens on the person: {'; '.join(sides)}."


def _percent(found: Mapping[str, Any]) -> str:
    if found["sd"] is None:
        return f"{100 * found['mean']:.1f}"
    return f"{100 * found['mean']:.1f} ± {100 * found['sd']:.1f}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _list(values: Sequence[float]) -> str:
    return " ".join(f"{100 * value:.0f}" for value in values)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
