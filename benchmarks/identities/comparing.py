"""The whole measurement, in one JSON document: methods, ingredients, precisions, strangers, costs, and a simulated day."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.identities import simple
from benchmarks.identities.intervals import against
from benchmarks.identities.long_run import PeopleModel, Traffic, run_day, traffic
from benchmarks.identities.measuring import (
    EXCLUSION,
    SEPARATE,
    SWITCHES,
    Folders,
    Group,
    Variant,
    best_threshold,
    cost,
    described,
    run,
    settings,
    strangers,
    tuned,
    with_ingredients,
)
from benchmarks.identities.prepared.sequences import TrackKey
from benchmarks.identities.prepared.writing import KINDS
from benchmarks.identities.scores import Hits
from runtime.console import note
from runtime.extraction.processes import each_apart
from runtime.identities.options import IdentityOptions

DAY = "day"


@dataclass(frozen=True)
class Models:
    """The names of the models whose features are compared.

    `main` is the one that all methods get. `unpruned` is its base in FP32; `main` and the `reduced` ones are compared with it, for
    example a pruned model in INT8. `foreign` is another embedder. None, or nothing, leaves a comparison out.
    """

    main: str
    unpruned: str | None = None
    reduced: tuple[str, ...] = ()
    foreign: str | None = None


@dataclass(frozen=True)
class Measurement:
    """What to measure. `ingredients` are those of the method as it ships, and `options` its other settings.

    `hours` is the length of the simulated day.
    """

    folders: Folders
    models: Models
    ingredients: tuple[str, ...]
    options: IdentityOptions
    hours: float = 24.0


def measure(
    plan: Measurement, report: Callable[[str], None] = lambda text: None, *, jobs: int = 1
) -> dict[str, Any]:
    """Return the results of a measurement, made by `jobs` processes. `report` gets a line about each part."""
    tasks = [*((plan, kind) for kind in KINDS), (plan, DAY)]
    if jobs == 1:
        parts = dict(_part(task, report) for task in tasks)
    else:
        # in the order in which they finish
        parts = dict(each_apart(_part, tasks, jobs))
    return {
        "synthetic": True,
        "train": [folder.name for folder in plan.folders.train],
        "test": [folder.name for folder in plan.folders.test],
        "strangers": [folder.name for folder in plan.folders.strangers],
        "ingredients": list(plan.ingredients),
        "kinds": {kind: parts[kind] for kind in KINDS},
        DAY: parts[DAY],
    }


def _part(task: tuple[Measurement, str], report: Callable[[str], None] = note) -> tuple[str, Any]:
    """Return the name of a kind of tracks, or DAY, and the results of this part."""
    plan, name = task
    report(f"begins: {name}")
    return name, _day(plan) if name == DAY else _of_kind(plan, name, lambda text: report(f"{name}: {text}"))


def _of_kind(plan: Measurement, kind: str, report: Callable[[str], None]) -> dict[str, Any]:
    train, test = (
        Group(folders, kind, plan.models.main) for folders in (plan.folders.train, plan.folders.test)
    )
    shipped = with_ingredients(plan.options, plan.ingredients)
    report("methods")
    thresholds = {
        name: best_threshold(train, method)
        for name, method in (("nearest", simple.nearest), ("agglomerated", simple.agglomerated))
    }
    nearest = [simple.nearest(means, thresholds["nearest"]) for means in test.means]
    base = test.hits(nearest)
    calibration = shipped.calibrated(train)
    said = [one.answer for one in run(shipped, calibration, test)]
    best = tuned(shipped, train)[0]
    overlapping = with_ingredients(plan.options, [name for name in plan.ingredients if name != SEPARATE])
    answers: dict[str, Sequence[Mapping[TrackKey, object]]] = {
        "none": [simple.everybody_apart(sequence) for sequence in test.sequences],
        "nearest": nearest,
        "agglomerated": [simple.agglomerated(means, thresholds["agglomerated"]) for means in test.means],
        "ours": said,
        "ours_tuned": [one.answer for one in run(best, calibration, test)],
        "overlapping": [one.answer for one in run(overlapping, overlapping.calibrated(train), test)],
        "perfect": [simple.perfect(sequence) for sequence in test.sequences],
    }
    methods = {name: described(test, answer, base) for name, answer in answers.items()}
    result: dict[str, Any] = {
        "tracks": sum(len(means.keys) for means in test.means),
        "crops": sum(sequence.crops for sequence in test.sequences),
        "thresholds": thresholds,
        "settings": settings(shipped),
        "tuned_rate": best.options.false_match_rate,
        "pairs": calibration.different.pairs,
        "methods": methods,
        "cost": cost(shipped, calibration, test.sequences),
    }
    if plan.models.foreign:
        report(plan.models.foreign)
        methods["foreign"], _ = _other_model(plan, kind, shipped, plan.models.foreign, base)
    if plan.models.unpruned:
        result["precision"] = _precision(plan, kind, shipped, base, test.hits(said), report)
    report("ingredients")
    result["ablation"] = _ablation(plan, train, test)
    if plan.folders.strangers:
        report("strangers")
        group = Group(plan.folders.strangers, kind, plan.models.main)
        result["strangers"] = strangers(shipped, calibration, group)
    return result


def _other_model(
    plan: Measurement, kind: str, shipped: Variant, model: str, base: Sequence[Hits]
) -> tuple[dict[str, Any], list[Hits]]:
    """Return the scores of the method with the features of another model, calibrated with these, and what IDF1 counts."""
    train, test = (Group(folders, kind, model) for folders in (plan.folders.train, plan.folders.test))
    answers = [one.answer for one in run(shipped, shipped.calibrated(train), test)]
    return described(test, answers, base), test.hits(answers)


def _precision(
    plan: Measurement,
    kind: str,
    shipped: Variant,
    base: Sequence[Hits],
    said: Sequence[Hits],
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Return the scores with the unpruned FP32 model, and how the main model and the reduced ones differ from it."""
    assert plan.models.unpruned is not None
    report(plan.models.unpruned)
    scores, whole = _other_model(plan, kind, shipped, plan.models.unpruned, base)
    mean = [hits.idf1 for hits in said]
    models = {plan.models.main: {"idf1": sum(mean) / len(mean), "against_unpruned": against(whole, said)}}
    for name in plan.models.reduced:
        report(name)
        other, hits = _other_model(plan, kind, shipped, name, base)
        models[name] = {"idf1": other["mean"]["idf1"], "against_unpruned": against(whole, hits)}
    return {"unpruned": scores["mean"], "models": models}


def _ablation(plan: Measurement, train: Group, test: Group) -> list[dict[str, Any]]:
    """Return the IDF1 with every ingredient alone, and with each left out. The rate of each is tuned on the training sequences."""
    names = plan.ingredients
    sets = {"all": names, "nothing": ()}
    sets |= {f"only {name}": (name,) for name in names}
    # separate_cameras includes exclusion, so nothing is without exclusion that has the other
    parts = {name: {name, SEPARATE} if name == EXCLUSION else {name} for name in names}
    sets |= {f"without {name}": tuple(other for other in names if other not in parts[name]) for name in names}
    sets |= {f"with {name}": (*names, name) for name in SWITCHES if name not in names}
    rows, full = [], None
    for name, chosen in sets.items():
        variant, calibration = tuned(with_ingredients(plan.options, chosen), train)
        answers = [one.answer for one in run(variant, calibration, test)]
        trained = train.idf1([one.answer for one in run(variant, calibration, train)])
        hits = test.hits(answers)
        full = full or hits
        rows.append(
            {
                "name": name,
                "rate": variant.options.false_match_rate,
                "train_idf1": trained,
                "idf1": test.idf1(answers),
                "against_all": against(full, hits),
            }
        )
    return rows


def _day(plan: Measurement) -> list[dict[str, Any]]:
    """Return the hours of a simulated day, whose features are drawn from a model of those of the training sequences."""
    shipped = with_ingredients(plan.options, plan.ingredients)
    train = Group(plan.folders.train, KINDS[0], plan.models.main)
    calibration = shipped.calibrated(train)
    model = PeopleModel([track for tracks in train.tracks for track in tracks])
    day = Traffic(hours=plan.hours)
    hours = run_day(traffic(model, day), calibration, shipped.options, hours=plan.hours)
    return [hour.to_json() for hour in hours]
