"""Measure the gallery: kills, failing disks, speed and size. All rows are synthetic unless a command says otherwise."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.console import print_json, print_table
from runtime.errors import GateError
from runtime.options.argument_types import positive_integer


@dataclass(frozen=True)
class KillOptions:
    """The number of `kills`, the `seed` of all random choices, and a folder `at` for galleries (None: a temporary one)."""

    kills: int
    seed: int
    at: Path | None
    as_json: bool


@dataclass(frozen=True)
class FaultOptions:
    """Let every n-th call fail (`every`), in galleries below the folder `at` (None: temporary)."""

    every: int
    at: Path | None
    as_json: bool


def parse(argv: Sequence[str] | None) -> KillOptions | FaultOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    kills = commands.add_parser(
        "kills", help="kill a writing process again and again, and check what is left"
    )
    kills.add_argument("--count", type=positive_integer, default=1000, help="kills (default: %(default)s)")
    kills.add_argument(
        "--seed", type=int, default=0, help="seed of all random choices (default: %(default)s)"
    )
    faults = commands.add_parser("faults", help="let every write, sync, rename and removal fail once")
    faults.add_argument(
        "--every", type=positive_integer, default=1, help="let every n-th call fail (default: %(default)s)"
    )
    for command in (kills, faults):
        command.add_argument(
            "--at", type=Path, metavar="DIR", help="make galleries below DIR (default: a temporary folder)"
        )
        command.add_argument(
            "--json", action="store_true", help="one JSON document on stdout instead of a table"
        )
    args = parser.parse_args(argv)
    if args.name == "kills":
        return KillOptions(args.count, args.seed, args.at, args.json)
    return FaultOptions(args.every, args.at, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement. Raises GateError if a row was lost, came back, was doubled or damaged, or left bytes behind."""
    options = parse(argv)
    with tempfile.TemporaryDirectory(dir=options.at) as folder:
        if isinstance(options, KillOptions):
            _kills(options, Path(folder))
        else:
            _faults(options, Path(folder))
    return 0


def _kills(options: KillOptions, folder: Path) -> None:
    from benchmarks.gallery.kills import kill_often

    result = kill_often(folder, options.kills, seed=options.seed)
    _print("kills", [asdict(result)], as_json=options.as_json)
    if result.findings.faults or result.erased_found:
        raise GateError("the gallery did not survive a kill; see the table")


def _faults(options: FaultOptions, folder: Path) -> None:
    from benchmarks.gallery import shim

    if not shim.is_loaded():
        words = ["-m", "benchmarks.gallery", "faults", "--every", str(options.every), "--at", str(folder)]
        status = shim.run_under_shim([*words, *(["--json"] if options.as_json else [])], folder)
        if status:
            raise SystemExit(status)
        return
    from benchmarks.gallery.faults import fail_each

    results = fail_each(folder, every=options.every)
    _print("faults", [asdict(result) for result in results], as_json=options.as_json)
    if any(r.findings.faults or r.erased_found or r.crashed or r.not_repeated for r in results):
        raise GateError("the gallery did not survive a failing call; see the table")


def _print(title: str, results: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(results)
        return
    flat = [
        {
            (inner if isinstance(value, dict) else name): part
            for name, value in result.items()
            for inner, part in (value.items() if isinstance(value, dict) else [(name, value)])
        }
        for result in results
    ]
    print_table(title, list(flat[0]), [list(line.values()) for line in flat])
