"""What a run of bench.py has measured so far, and its document, also of a run that was stopped. Measures no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.agenda import Agenda
from benchmarks.bench.arguments import BenchOptions
from benchmarks.device import desktop, gpu_state
from benchmarks.host import describe_host, doubts, load_average
from runtime.stopping import Stopped

# Trustworthy times vary less than this (standard deviation over mean).
STEADY = 0.025
# From here on the p99 is not simply the slowest round.
FULL = 101
# What a row lacks until its part is done.
NOT_MEASURED: Mapping[str, Any] = {
    "accuracy": None,
    "stages": None,
    "peak_memory_bytes": None,
}
NOT_MEASURED_ON_CARD: Mapping[str, Any] = {"measured": None, "trtexec": []}


@dataclass
class Seen:
    """What was asked for, and what is filled in while models are measured.

    That is rows, ratios, states of the card, galleries, models that do not run, and the agenda with what is missing.
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


def document(seen: Seen, *, stop: Stopped | None = None) -> dict[str, Any]:
    """The document of bench.py, with warnings about its numbers. After a stop it is marked as incomplete."""
    options = seen.options
    card = options.device == "cuda"
    host = seen.host or describe_host(device=options.device, threads=options.threads)
    lacking = {**NOT_MEASURED, **(NOT_MEASURED_ON_CARD if card else {})}
    made = {
        "host": host | {"load_average_after": load_average()},
        "preset": options.preset,
        "images": seen.images,
        "models": [{**lacking, **model} for model in seen.models],
        "ratios": seen.ratios,
        "failed": seen.failed,
        "warnings": doubts(host) + doubtful(seen.models),
    } | completeness(seen.agenda, stop)
    if card:
        states = seen.states or [gpu_state.state()]
        made |= {"state": desktop.state([*states, gpu_state.state()]), "galleries": seen.galleries}
        made["warnings"] += desktop.warnings(made)
    return made


def doubtful(models: Sequence[dict[str, Any]]) -> list[str]:
    """What about the models' numbers makes them unreliable, in sentences for people."""
    found = [
        f"{model['path']}, batch {model['batch']}: features while timing differ by "
        f"{model['features_difference']:.1e} from a fresh run; do not trust this model's numbers"
        for model in models
        if model["features_equal"] is False
    ]
    unsteady = [
        f"{model['path']} at batch {model['batch']} by {model['cv']:.1%}"
        for model in models
        if model["cv"] > STEADY
    ]
    if unsteady:
        found.append(
            f"times vary by more than {STEADY:.1%} ({', '.join(unsteady)}): trust the ratios, or measure "
            "longer on an idle machine"
        )
    if (rounds := min((model["rounds"] for model in models), default=FULL)) < FULL:
        found.append(f"p99 of {rounds} rounds is the slowest of them; for a real one give --rounds {FULL}")
    return found


def completeness(agenda: Agenda | None, stop: Stopped | None) -> dict[str, Any]:
    """{complete, stopped, missing}: true, null and nothing, or false, the signal's name and the parts that are not done."""
    missing = ["everything: it was stopped before anything was measured"]
    if agenda is not None:
        missing = agenda.missing
    return {
        "complete": stop is None,
        "stopped": stop.name if stop else None,
        "missing": missing if stop else [],
    }
