"""Print the results of the measurements, and say what must not happen whatever the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.console import print_table

SEARCH = (
    "rows",
    "peak/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "decode",
    "model",
    "scan",
    "sum ms",
    "overhead %",
    "CPU ms",
    "CPU of stages",
    "overhead %",
)


def print_results(results: Mapping[str, Any]) -> None:
    """Print a table for each measurement."""
    for measurement, result in results.items():
        if measurement == "search":
            print_table("search by picture, one at a time", SEARCH, [_search(row) for row in result])
            lines = [
                [f"{row['rows']:,} rows, {name}", value]
                for row in result
                for name, value in _flat(row["loaded"])
            ]
            print_table("search at 70 % of the peak", ["", ""], lines)
        else:
            print_table(measurement, ["", ""], _flat(result))


def faults(results: Mapping[str, Any]) -> list[str]:
    """Return what the server did wrong: an error of its own, or an accepted request that was lost."""
    loads = {"search": [row["loaded"] for row in results.get("search", [])]}
    loads |= {
        measurement: [results[measurement]["load"]]
        for measurement in ("soak", "overload")
        if measurement in results
    }
    if "trickle" in results:
        loads["trickle"] = [results["trickle"]["without"], results["trickle"]["beside"]]
    found = []
    for measurement, summaries in loads.items():
        allowed = {"200", "503"} if measurement == "overload" else {"200"}
        wrong = {
            status: count
            for load in summaries
            for status, count in load["statuses"].items()
            if status not in allowed
        }
        found += [f"{measurement}: {count} x {status}" for status, count in wrong.items()]
    if "overload" in results and (count := results["overload"]["without_retry_after"]):
        found.append(f"overload: {count} x 503 without Retry-After")
    stop = results.get("stop", {})
    found += [f"stop: {name} {stop[name]}" for name in ("lost", "cut", "added_lost") if stop.get(name)]
    return found


def _search(row: Mapping[str, Any]) -> list[object]:
    alone = [row["alone"][name] for name in ("p50", "p95", "p99")]
    stages = [row["stages"][name] for name in ("decode", "model", "scan")]
    overhead = None if row["overhead"] is None else 100 * row["overhead"]
    cpu = [row["cpu_ms"], row["stages_cpu_ms"], 100 * row["cpu_overhead"]]
    numbers = [row["peak_per_s"], *alone, *stages, row["sum_ms"], overhead, *cpu]
    return [row["rows"], *("-" if number is None else f"{number:.1f}" for number in numbers)]


def _flat(result: Mapping[str, Any], above: str = "") -> list[list[object]]:
    lines: list[list[object]] = []
    for name, value in result.items():
        if isinstance(value, Mapping):
            lines += _flat(value, f"{above}{name} ")
        else:
            text = (
                f"{value:.2f}"
                if isinstance(value, float)
                else ", ".join(map(str, value))
                if isinstance(value, list)
                else value
            )
            lines.append([above + name, str(text)])
    return lines
