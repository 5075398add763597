"""`python -m runtime choose`: find the fastest backend for a model on this CPU, and record it for `--backend auto`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.options.argument_types import positive_integer, seconds
from runtime.options.choices import SECONDS

if TYPE_CHECKING:
    from runtime import BackendResult

HELP = "find the fastest backend for a model on this CPU"


@dataclass(frozen=True)
class ChooseOptions:
    """The options of `choose`: the model file and how to time it.

    `threads` None means all cores, and `batch` None means the model's fixed batch, else 1. `seconds` is the time for each backend.
    `as_json` prints one JSON document instead of a table.
    """

    model: Path
    threads: int | None
    batch: int | None
    seconds: float
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `choose` to `parser`."""
    parser.add_argument(
        "model",
        metavar="MODEL.onnx",
        help="an exported .onnx file, with its check crops (MODEL.onnx.check.npz) beside it",
    )
    parser.add_argument(
        "--threads", type=positive_integer, metavar="N", help="threads of the model (default: all cores)"
    )
    parser.add_argument(
        "--batch",
        type=positive_integer,
        metavar="N",
        help="batch size: images in one run of the model (default: the model's fixed batch, else 1)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=SECONDS,
        metavar="S",
        help="seconds for which each backend is timed (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of a table")


def command(args: Namespace) -> None:
    """Run the command `choose` with the parsed arguments `args`."""
    run(ChooseOptions(Path(args.model), args.threads, args.batch, args.seconds, args.json))


def run(options: ChooseOptions) -> None:
    """Print the verdict of the quality gate and the times of each backend, and record the fastest backend that passes.

    The record is the file `<model>.choice.json`. Raises GateError when no backend passes; `--backend auto` then refuses the model.
    """
    from runtime import GateError, choose_backend, console

    choice = choose_backend(
        options.model,
        threads=options.threads,
        batch=options.batch,
        seconds=options.seconds,
        progress=console.note,
    )
    if options.as_json:
        console.print_json(choice.to_json())
    else:
        columns = ["engine", "gate", "cosine min", "p50 ms", "p95 ms", "CPU ms", "products"]
        console.print_table(str(options.model), columns, [_cells(result) for result in choice.results])
    if choice.chosen is None:
        raise GateError(
            f"{options.model}: no backend passes the quality gate on this machine (details in {choice.path}); "
            "export the model again with a higher export_onnx.py --precision"
        )
    console.note(f"chosen for --backend auto: {choice.chosen}; written to {choice.path}")


def _cells(result: BackendResult) -> list[object]:
    if result.missing is not None:
        return [result.backend, result.missing, "", "", "", "", ""]
    gate = "passed" if result.passed else "; ".join(result.gate["failures"])
    numbers = result.gate.get("numbers", {})
    cosine = f"{numbers['cosine_min']:.6f}" if "cosine_min" in numbers else ""
    if (timing := result.timing) is None:
        return [result.backend, gate, cosine, "", "", "", ""]
    products = ", ".join(f"{count} {kind}" for kind, count in timing.products.items())
    return [result.backend, gate, cosine, timing.p50_ms, timing.p95_ms, timing.cpu_ms, products]
