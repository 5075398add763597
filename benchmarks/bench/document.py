"""Collect the measurements of a bench.py run, and make the JSON document of a complete or stopped run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.agenda import Agenda
from benchmarks.bench.arguments import BenchOptions
from benchmarks.device import desktop, gpu_state
from benchmarks.host import describe_host, doubts, load_average
from runtime.stopping import Stopped

# Reliable times have a smaller coefficient of variation (standard deviation divided by mean).
STEADY = 0.025
# With this many rounds or more, p99 is no longer the slowest round.
FULL = 101
# The values in a model's row until the part that measures them is done.
NOT_MEASURED: Mapping[str, Any] = {
    "accuracy": None,
    "stages": None,
    "peak_memory_bytes": None,
}
NOT_MEASURED_ON_CARD: Mapping[str, Any] = {"measured": None, "trtexec": []}


@dataclass
class Progress:
    """The options of a run, and its measurements so far. Only `options` is given; the run fills the other fields.

    `host` comes from `benchmarks.host.describe_host`, and `images` is {source, count} of the images that are timed. `agenda` records
    which parts of the run are complete. `models` has one row for each model and batch size. `ratios` has the speed of each row
    relative to the first model. `states` are the states of the graphics card in the order of time, and `galleries` has the result of
    extracting the whole gallery with each model. `failed` has {model, why} for each model that does not run.
    """

    options: BenchOptions
    host: dict[str, Any] | None = None
    images: dict[str, Any] | None = None
    agenda: Agenda | None = None
    models: list[dict[str, Any]] = field(default_factory=list)
    ratios: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any] | None] = field(default_factory=list)
    galleries: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)


def document(progress: Progress, *, stop: Stopped | None = None) -> dict[str, Any]:
    """Return the JSON document of bench.py, with warnings about its numbers.

    `progress` holds the measurements. `stop` is the signal that stopped the run, or None for a complete run. The document of a stopped
    run is marked as incomplete.
    """
    options = progress.options
    card = options.device == "cuda"
    host = progress.host or describe_host(device=options.device, threads=options.threads)
    unmeasured = {**NOT_MEASURED, **(NOT_MEASURED_ON_CARD if card else {})}
    content = {
        "host": host | {"load_average_after": load_average()},
        "preset": options.preset,
        "images": progress.images,
        "models": [{**unmeasured, **model} for model in progress.models],
        "ratios": progress.ratios,
        "failed": progress.failed,
        "warnings": doubts(host) + doubtful(progress.models),
    } | completeness(progress.agenda, stop)
    if card:
        states = progress.states or [gpu_state.state()]
        content |= {"state": desktop.state([*states, gpu_state.state()]), "galleries": progress.galleries}
        content["warnings"] += desktop.warnings(content)
    return content


def doubtful(models: Sequence[dict[str, Any]]) -> list[str]:
    """Return one line of text for each reason not to trust the numbers in `models`, the rows of a bench.py document."""
    warnings = [
        f"{model['path']}, batch {model['batch']}: the features computed during timing differ by "
        f"{model['features_difference']:.1e} from those of a freshly opened model; do not trust this model's numbers"
        for model in models
        if model["features_equal"] is False
    ]
    unsteady = [
        f"{model['path']} at batch {model['batch']} by {model['cv']:.1%}"
        for model in models
        if model["cv"] > STEADY
    ]
    if unsteady:
        warnings.append(
            f"times vary by more than {STEADY:.1%} ({', '.join(unsteady)}): rely on the ratios only, or measure "
            "longer on an idle machine"
        )
    if (rounds := min((model["rounds"] for model in models), default=FULL)) < FULL:
        warnings.append(
            f"p99 of {rounds} rounds is the slowest of them; for a meaningful p99, use --rounds {FULL} or more"
        )
    return warnings


def completeness(agenda: Agenda | None, stop: Stopped | None) -> dict[str, Any]:
    """Return {complete, stopped, missing}, which says whether the run is complete.

    `stopped` is the name of the signal `stop`, or None for a complete run. `missing` lists the parts that a stopped run did not
    measure. `agenda` is None if the run was stopped before its parts were planned.
    """
    missing = ["all parts, because the run was stopped before its first measurement"]
    if agenda is not None:
        missing = agenda.missing
    return {
        "complete": stop is None,
        "stopped": stop.name if stop else None,
        "missing": missing if stop else [],
    }
