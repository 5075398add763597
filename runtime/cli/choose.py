"""`python -m runtime choose`: find the fastest backend for a model on this CPU, and record it for `--backend auto`."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.options.argument_types import positive_integer, seconds
from runtime.options.choices import SECONDS

HELP = "find the fastest backend for a model on this CPU"
# Warn when the load average exceeds this fraction of the cores, because other work slows the backends down unequally.
BUSY = 0.5


@dataclass(frozen=True)
class ChooseOptions:
    """The model to time, and the settings. `threads` None means all cores; `batch` None means the model's fixed batch, else 1."""

    model: Path
    threads: int | None
    batch: int | None
    seconds: float
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `choose`."""
    parser.add_argument("model", metavar="MODEL.onnx", help="an exported .onnx file with its check crops")
    parser.add_argument(
        "--threads", type=positive_integer, metavar="N", help="threads of the model (default: all cores)"
    )
    parser.add_argument(
        "--batch",
        type=positive_integer,
        metavar="N",
        help="images per run (default: the model's fixed batch, else 1)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=SECONDS,
        metavar="S",
        help="how long to time each backend (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of a table")


def command(args: Namespace) -> None:
    """Run `choose` with parsed arguments."""
    run(ChooseOptions(Path(args.model), args.threads, args.batch, args.seconds, args.json))


def run(options: ChooseOptions) -> None:
    """Print the gate and the times of each backend, and write the name of the fastest passing backend to `<model>.choice.json`.

    Raises GateError when none passes; `--backend auto` then refuses the model.
    """
    from runtime import console
    from runtime.backends.choice import write_choice
    from runtime.cli.choose_timing import load_average, measure
    from runtime.errors import ConfigError, GateError
    from runtime.files.manifest import ENGINES

    path = options.model
    if path.suffix in ENGINES:
        raise ConfigError(
            f"{path}: choose compares the backends that run an .onnx file on this CPU; give the .onnx file"
        )
    if (load := load_average()) is not None and load > BUSY * (os.cpu_count() or 1):
        console.note(
            f"WARNING the load average is {load:.1f} on {os.cpu_count()} cores; run choose on an idle machine"
        )
    document = measure(path, threads=options.threads, batch=options.batch, seconds=options.seconds)
    written = write_choice(path, document)
    if options.as_json:
        console.print_json(document)
    else:
        columns = ["engine", "gate", "cosine min", "p50 ms", "p95 ms", "CPU ms", "products"]
        console.print_table(str(path), columns, [_cells(row) for row in document["rows"]])
    if document["chosen"] is None:
        raise GateError(
            f"{path}: no backend passes its gate here (details in {written}); export the model in a higher --precision"
        )
    console.note(f"chosen for --backend auto: {document['chosen']}; written to {written}")


def _cells(row: dict[str, Any]) -> list[object]:
    if "missing" in row:
        return [row["engine"], row["missing"], "", "", "", "", ""]
    gate = "passed" if row["passed"] else "; ".join(row["failures"])
    cosine = f"{row['numbers']['cosine_min']:.6f}" if "cosine_min" in row.get("numbers", {}) else ""
    latency = row.get("latency_ms", {})
    products = ", ".join(f"{count} {kind}" for kind, count in row.get("products", {}).items())
    times = [latency.get("p50", ""), latency.get("p95", ""), row.get("cpu_ms", "")]
    return [row["engine"], gate, cosine, *times, products]
