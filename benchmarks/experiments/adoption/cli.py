"""`python -m benchmarks.experiments.adoption`: adopt foreign ONNX files with right and wrong inputs, and measure what comes out.

The files are the two small networks of tests/data/adopt and this project's own float export without its manifest. Everything runs
through the project's commands.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.experiments.adoption.files import consumers, files, latency
from benchmarks.experiments.adoption.networks import DATA, NETWORKS, Network, original, score_original
from benchmarks.experiments.adoption.report import commands_table, files_table, inputs_table
from benchmarks.experiments.adoption.trials import trials
from benchmarks.host import describe_host
from runtime.console import print_json, print_table
from runtime.files.manifest import replacing
from runtime.stopping import keeping


def measure(network: Network, other: str, work: Path, seconds: float) -> dict[str, Any]:
    """Return all results of one network: {name, original, trials, files, latency, consumers}. Raises StepFailed if a command fails."""
    path = original(network, work)
    scores = {
        name: score_original(network, path, root) for name, root in (("anny_reid", DATA), ("other", other))
    }
    return {
        "name": network.name,
        "original": {"bytes": path.stat().st_size} | scores,
        "trials": trials(network, path, work),
        "files": files(network, path, other, work),
        "latency": latency(network, work, seconds),
        "consumers": consumers(network, work),
    }


@dataclass(frozen=True)
class AdoptionOptions:
    """The command line: the `networks` to measure, the second data set `other`, and the folder `work` for the adopted files.

    Each model is timed for `seconds` seconds at each batch size. The result is written to `out`, if that is not None.
    """

    networks: tuple[str, ...]
    other: str
    work: Path
    seconds: float
    out: Path | None
    as_json: bool


def parse(argv: Sequence[str] | None) -> AdoptionOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.adoption", description=main.__doc__
    )
    names = [network.name for network in NETWORKS]
    parser.add_argument(
        "--network", action="append", choices=names, help="measure only this one; may be repeated"
    )
    parser.add_argument(
        "--other",
        required=True,
        metavar="ROOT",
        help="folder of a data set of people and cameras that the models were not trained on",
    )
    parser.add_argument(
        "--work",
        type=Path,
        required=True,
        help="folder for the adopted files; files that it already has are used again",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        metavar="S",
        help="seconds for which each model is timed at each batch size (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="also write the result to this file (.json)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    args = parser.parse_args(argv)
    networks = tuple(name for name in names if name in (args.network or names))
    return AdoptionOptions(networks, args.other, args.work, args.seconds, args.out, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Adopt foreign ONNX files with right and wrong inputs, and measure the mAP and the speed of the adopted files on the CPU."""
    return run(parse(argv))


def run(options: AdoptionOptions) -> int:
    """Measure the networks of `options`, write the result, and print it as tables or as one JSON document. Returns exit code 0."""
    work, other = options.work.resolve(), str(Path(options.other).resolve())
    work.mkdir(parents=True, exist_ok=True)
    chosen = [network for network in NETWORKS if network.name in options.networks]
    with keeping(lambda: f"the files adopted so far are kept in {work}; the same command adopts the others"):
        models = [measure(network, other, work, options.seconds) for network in chosen]
    document = {"host": describe_host(device="cpu", threads=1), "other": Path(other).name, "models": models}
    if options.out is not None:
        with replacing(options.out) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n")
    if options.as_json:
        print_json(document)
        return 0
    print_table("stated inputs", *inputs_table(document))
    print_table("adopted files", *files_table(document))
    print_table("exit codes of other commands with the adopted files", *commands_table(document))
    return 0
