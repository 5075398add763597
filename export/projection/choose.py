"""Fit the projection of an export, and measure how much mAP it costs; a projection that costs too much is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.check import Check
from export.int8.calibration import Calibration, training_crops
from export.options import SHIPPED, ExportOptions
from export.projection.graph import features_of, graph_session
from export.projection.matrix import CROPS_PER_NUMBER, Projection, directions
from runtime.artifact import Artifact
from runtime.console import note
from runtime.datasets import guess_layout, read_dataset
from runtime.errors import ConfigError, DataError, GateError
from runtime.extraction.accuracy import dataset_features
from runtime.features import Features
from runtime.ranking.protocol import published_rule, score
from runtime.session import Session
from runtime.spec import InputSpec

# The points of mAP that a projection may cost.
MOST_COST = 0.5
# The least share of the squared lengths of the features that a projection must keep where the cost is measured on the rendered people
# that ship with the project. They do not show what real people lose: docs/export.md has the measurements from which this number was
# chosen.
LEAST_KEPT = 0.95
# The numbers of values that a refusal tries, to name one that passes.
USUAL = (64, 128, 256)
# The largest number of crops that a projection is fitted on.
CROPS = 2048


@dataclass(frozen=True)
class ChosenProjection:
    """A fitted projection, and its cost as the manifest records it under `gate` (None: not measured, with --gate off)."""

    projection: Projection
    cost: dict[str, Any] | None


def projection_crops(spec: InputSpec, dim: int, options: ExportOptions) -> Calibration | None:
    """Return the crops on which the projection of an export is fitted; None if `options` ask for no projection.

    `spec` is the input of the exported file, and `dim` the number of values in the model's features. Raises ConfigError if
    `options.dim` is not below `dim`, and DataError for too few crops.
    """
    if options.dim is None or options.projection_data is None:
        return None
    if options.dim >= dim:
        raise ConfigError(
            f"--dim {options.dim}: the model gives features of {dim} numbers; give a number below {dim}, or leave --dim out"
        )
    root, needed = options.projection_data, CROPS_PER_NUMBER * options.dim
    crops = training_crops(root, spec, count=max(CROPS, needed), option="--projection-data")
    if len(crops.images) < needed:
        raise DataError(
            f"{root}: has {len(crops.images)} crops, but --dim {options.dim} needs at least {needed}; give --projection-data a folder "
            "with more, or a smaller --dim"
        )
    for text in crops.notes:
        note(text)
    if root.resolve() == SHIPPED.resolve():
        note(
            "WARNING the projection is fitted on the rendered people that ship with the project; give --projection-data DIR with "
            "crops from your own cameras"
        )
    return crops


def choose_projection(
    graph: onnx.ModelProto,
    parent: Artifact,
    spec: InputSpec,
    crops: Calibration,
    options: ExportOptions,
    out: Path,
) -> ChosenProjection:
    """Fit a projection to `options.dim` numbers on the features that the FP32 `graph` gives for `crops`, and measure its cost.

    `spec` is the input of the graph, `parent` the model it was made from, and `out` the file to write, which messages name. Raises
    GateError if the projection costs more than MOST_COST points of mAP on the data set `options.check`, or if this is the shipped one
    and the projection keeps less than LEAST_KEPT of the features; with `options.gate` False, nothing is measured.
    """
    dim = options.dim or 0
    with graph_session(graph, spec) as session:
        features = features_of(session, crops)
        columns = directions(features)
        if columns.shape[1] < dim:
            raise DataError(
                f"{options.projection_data}: the features of its {len(features)} crops span only {columns.shape[1]} directions, fewer "
                f"than --dim {dim}; give --projection-data a folder with more different crops, or a smaller --dim"
            )
        sides = _labelled(session, parent, spec, options.check) if options.gate else None

    def first(number: int) -> Projection:
        return Projection(np.ascontiguousarray(columns[:, :number]), len(features), crops.sha256)

    if sides is None:
        return ChosenProjection(first(dim), None)
    least_kept = LEAST_KEPT if options.check.resolve() == SHIPPED.resolve() else 0.0
    cost = _cost(*sides, first(dim), least_kept)
    if reason := _reason(cost, options.check):
        most = min(len(features) // CROPS_PER_NUMBER, columns.shape[1], features.shape[1] - 1)
        others = {n: _cost(*sides, first(n), least_kept) for n in USUAL if n != dim and n <= most}
        raise GateError(
            f"{out}: not written, because {dim} numbers instead of {features.shape[1]} {reason}; "
            f"{_advice(others, options.check, least_kept)}"
        )
    return ChosenProjection(first(dim), cost)


def projected_check(check: Check, projection: Projection) -> Check:
    """Return `check` with the projected features of the original model."""
    return replace(check, features=projection.apply(check.features))


def gate_entry(chosen: ChosenProjection | None) -> dict[str, Any]:
    """Return what a projection adds to the verdict of the gate: {"projection": its cost}, or {} if none was measured."""
    return {"projection": chosen.cost} if chosen is not None and chosen.cost is not None else {}


def output_entry(dim: int, chosen: ChosenProjection | None) -> dict[str, Any]:
    """Return the manifest's entry `output` of a model with features of `dim` numbers, perhaps projected."""
    if chosen is None:
        return {"dim": dim, "normalised": True}
    entry = chosen.projection.to_json()
    return {"dim": entry["dim"], "normalised": True, "projection": entry}


def _labelled(session: Session, parent: Artifact, spec: InputSpec, root: Path) -> tuple[Features, Features]:
    dataset = read_dataset(str(root), guess_layout(str(root)))
    whole = Artifact(parent.path, {}, spec, parent.dim, parent.sha256, session)
    return dataset_features(whole, dataset)


def _cost(query: Features, gallery: Features, projection: Projection, least_kept: float) -> dict[str, Any]:
    """Return {all, projected, cost, limit, kept, least_kept}.

    `all` and `projected` are mAPs (0..1) of all numbers and of the projected ones; `cost` and `limit` are in points of mAP (0..100).
    `kept` is the share (0..1) of the squared lengths of the features that the projection keeps, and `least_kept` its limit.
    """
    rule = published_rule(query.layout)
    short = [replace(side, features=projection.apply(side.features)) for side in (query, gallery)]
    before, after = (score(*pair, same_camera=rule).mAP for pair in ((query, gallery), short))
    lengths = np.concatenate([side.features @ projection.matrix for side in (query, gallery)])
    kept = float((lengths**2).sum(axis=1).mean())
    return {
        "all": before,
        "projected": after,
        "cost": 100 * (before - after),
        "limit": MOST_COST,
        "kept": kept,
        "least_kept": least_kept,
    }


def _reason(cost: dict[str, Any], check: Path) -> str | None:
    """Return why a projection is refused; None if it passes."""
    if cost["cost"] > cost["limit"]:
        return (
            f"cost {cost['cost']:.2f} points of mAP on {check} ({100 * cost['all']:.1f} to {100 * cost['projected']:.1f} %), more "
            f"than {cost['limit']}"
        )
    if cost["kept"] < cost["least_kept"]:
        return (
            f"keep only {cost['kept']:.0%} of the squared length of the features of the rendered people that ship with the project, "
            f"less than {cost['least_kept']:.0%}: real people may lose far more than the {max(cost['cost'], 0):.2f} points of mAP "
            "that these lose"
        )
    return None


def _advice(costs: dict[int, dict[str, Any]], check: Path, least_kept: float) -> str:
    passing = [dim for dim, cost in costs.items() if _reason(cost, check) is None]
    if passing:
        return f"give --dim {passing[0]}, which costs {costs[passing[0]]['cost']:.2f}"
    tried = ", ".join(f"{dim} costs {c['cost']:.2f} and keeps {c['kept']:.0%}" for dim, c in costs.items())
    also = (
        f"none of the usual numbers passes ({tried})" if tried else "the crops are too few for more numbers"
    )
    hint = (
        "give --check a data set of real people, whose mAP then decides" if least_kept else "give more crops"
    )
    return f"{also}; {hint}, or leave --dim out"
