"""What a run of bench.py has measured so far, and its document, also of a run that was stopped. Measures no model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.agenda import Agenda
from benchmarks.device import desktop, gpu_state
from benchmarks.host import describe_host, doubts, load_average
from runtime.stopping import Stopped

# What a row lacks until its part is done.
NOT_MEASURED: Mapping[str, Any] = {"accuracy": None, "stages": None, "peak_memory_bytes": None}
NOT_MEASURED_ON_CARD: Mapping[str, Any] = {"measured": None, "trtexec": []}


@dataclass
class Seen:
    """Filled while models are measured: rows, ratios, states of the card, galleries and the agenda with what is missing."""

    host: dict[str, Any] | None = None
    images: dict[str, Any] | None = None
    agenda: Agenda | None = None
    models: list[dict[str, Any]] = field(default_factory=list)
    ratios: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any] | None] = field(default_factory=list)
    galleries: list[dict[str, Any]] = field(default_factory=list)


def document(
    seen: Seen, args: argparse.Namespace, found: Sequence[str], *, stop: Stopped | None = None
) -> dict[str, Any]:
    """The document of bench.py; `found` are the models' own warnings. After a stop it is marked as incomplete."""
    card = args.device == "cuda"
    host = seen.host or describe_host(device=args.device, threads=args.threads)
    rows = [{**NOT_MEASURED, **(NOT_MEASURED_ON_CARD if card else {}), **model} for model in seen.models]
    made = {
        "host": host | {"load_average_after": load_average()},
        "preset": args.preset,
        "images": seen.images,
        "models": rows,
        "ratios": seen.ratios,
        "warnings": doubts(host) + list(found),
    } | completeness(seen.agenda, stop)
    if card:
        states = seen.states or [gpu_state.state()]
        made |= {"state": desktop.state([*states, gpu_state.state()]), "galleries": seen.galleries}
        made["warnings"] += desktop.doubtful(made)
    return made


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
