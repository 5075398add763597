"""Measure the gallery: kills, failing disks, speed, size and calibrations. Rows are synthetic unless a result says otherwise."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gallery import shim
from benchmarks.gallery.options import (
    CommandOptions,
    ErasedOptions,
    FaultOptions,
    FullOptions,
    IngestOptions,
    KillOptions,
    ResumeOptions,
    SearchOptions,
    SiteOptions,
    ThresholdOptions,
    parse,
)
from runtime.console import print_json, print_table
from runtime.errors import GateError

# The results, and the text of the failure that they show, or None.
Outcome = tuple[list[dict[str, Any]], str | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement. Raises GateError if a row was lost, came back, was doubled or damaged, or left bytes behind."""
    given = parse(sys.argv[1:] if argv is None else argv, __doc__)
    with tempfile.TemporaryDirectory(dir=given.at) as folder:
        if isinstance(given.options, FaultOptions) and not shim.is_loaded():
            raise SystemExit(_run_under_shim(given, Path(folder)))
        results, failure = RUNS[type(given.options)](given.options, Path(folder))
    _print(given, results)
    if failure:
        raise GateError(failure)
    return 0


def _run_under_shim(given: CommandOptions, folder: Path) -> int:
    """Run the command in another process with the library that lets calls fail, and return its exit status."""
    words = ["-m", "benchmarks.gallery", *given.command.split()[3:], "--at", str(folder)]
    return shim.run_under_shim([*words, *(["--json"] if given.as_json else [])], folder)


def _kills(options: KillOptions, folder: Path) -> Outcome:
    from benchmarks.gallery.kills import kill_often

    result = kill_often(folder, options.count, seed=options.seed)
    bad = result.findings.faults or result.erased_found
    return [asdict(result)], "the gallery did not survive a kill; see the table" if bad else None


def _faults(options: FaultOptions, folder: Path) -> Outcome:
    from benchmarks.gallery.faults import fail_each

    results = fail_each(folder, every=options.every)
    bad = any(r.findings.faults or r.erased_found or r.crashed or r.not_repeated for r in results)
    text = "the gallery did not survive a failing call; see the table" if bad else None
    return [asdict(result) for result in results], text


def _erased(options: ErasedOptions, folder: Path) -> Outcome:
    from benchmarks.gallery.erased import measure_erased

    results = measure_erased(folder)
    text = (
        "bytes of deleted rows are left; see the table" if any(result.found for result in results) else None
    )
    return [asdict(result) for result in results], text


def _full(options: FullOptions, folder: Path) -> Outcome:
    from benchmarks.gallery.full_disk import measure_full_disk

    results = measure_full_disk(folder)
    bad = any(result.lost or result.damaged for result in results)
    return [asdict(result) for result in results], "a full disk cost rows; see the table" if bad else None


def _ingest(options: IngestOptions, folder: Path) -> Outcome:
    from benchmarks.gallery.speed.ingest import measure_ingest

    rows, rounds = options.rows, options.rounds
    results = [
        measure_ingest(folder, rows=rows, dim=dim, batch=batch, rounds=rounds)
        for dim in options.dims
        for batch in options.batches
    ]
    return [asdict(result) for result in results], None


def _search(options: SearchOptions, folder: Path) -> Outcome:
    from benchmarks.gallery.labelled import read_people
    from benchmarks.gallery.speed.search import measure_search

    result = measure_search(
        folder / "gallery",
        read_people(options.people),
        rows=options.rows,
        dim=options.dim,
        searches=options.searches,
        queries=options.queries,
        index=options.index,
    )
    return [asdict(result)], None


def _resume(options: ResumeOptions, folder: Path) -> Outcome:
    from benchmarks.gallery.speed.resume import measure_resume

    results = measure_resume(folder, options.model, options.images, stops=options.stops)
    bad = any(result.differing for result in results)
    return [asdict(result) for result in results], "a resumed run differs; see the table" if bad else None


def _thresholds(options: ThresholdOptions, folder: Path) -> Outcome:
    from benchmarks.gallery.accuracy.thresholds import measure_thresholds
    from benchmarks.gallery.labelled import read_people

    results = [
        measure_thresholds(
            name,
            features,
            fpir=options.fpir,
            enrolled=options.enrolled,
            held_out=options.held_out,
            splits=options.splits,
            site=options.site,
        )
        for name, features in read_people(options.people)
    ]
    return [asdict(result) for result in results], None


def _site(options: SiteOptions, folder: Path) -> Outcome:
    from benchmarks.gallery.accuracy.site import measure_gain, measure_refusals
    from runtime import load_features

    train, query, gallery = map(load_features, (options.train, options.query, options.gallery))
    gains = measure_gain(train, query, gallery, crops=(25, 50, 100), draws=options.draws)
    refusals = measure_refusals(train, query, gallery, draws=options.draws)
    return [{"gains": [*map(asdict, gains)], "refusals": [*map(asdict, refusals)]}], None


RUNS: dict[type, Callable[[Any, Path], Outcome]] = {
    KillOptions: _kills,
    FaultOptions: _faults,
    ErasedOptions: _erased,
    FullOptions: _full,
    IngestOptions: _ingest,
    SearchOptions: _search,
    ResumeOptions: _resume,
    ThresholdOptions: _thresholds,
    SiteOptions: _site,
}


def _print(given: CommandOptions, results: list[dict[str, Any]]) -> None:
    if given.as_json:
        from benchmarks.host import describe_host

        host = describe_host(device="cpu", threads=None)
        print_json({"command": given.command, "host": host, "results": results})
        return
    for title, lines in _tables(results):
        flat = [_flat(line) for line in lines]
        print_table(title, list(flat[0]), [list(line.values()) for line in flat])


def _tables(results: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return (title, rows) of the tables: one for the numbers of all results, and one for each list of results inside them."""
    lists = {
        key: [line for result in results for line in result[key]]
        for key, value in results[0].items()
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict)
    }
    rest = [{key: value for key, value in result.items() if key not in lists} for result in results]
    return ([("results", rest)] if rest[0] else []) + list(lists.items())


def _flat(result: dict[str, Any]) -> dict[str, Any]:
    return {
        (f"{name}.{inner}" if inner else name): part
        for name, value in result.items()
        for inner, part in (value.items() if isinstance(value, dict) else [("", value)])
    }
