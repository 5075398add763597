"""`python bench.py MODEL [MODEL ...]`: latency, throughput, size, memory and mAP of models, side by side.

All models run interleaved in one process, on the same distinct images; ratios are to the first one. What they
computed while being timed is compared with a fresh run of each.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bench.arguments import BenchOptions, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the models and print tables or one JSON document. Returns 0; raises a UserError otherwise."""
    return run(parse(argv, __doc__))


def run(options: BenchOptions) -> int:
    """Do what the options ask for, and print it; after a signal, what is complete."""
    from benchmarks.bench.compare import compare, read_run
    from benchmarks.bench.measure import measured
    from benchmarks.bench.report import print_report
    from benchmarks.device.report import print_device_report
    from runtime import console
    from runtime.stopping import Stopped

    # before anything is measured for nothing
    before = read_run(options.compare) if options.compare else None
    document, stop = measured(options)
    if before is not None and document["models"]:
        document["compared"] = compare(before, document)
        document["warnings"] += document["compared"]["warnings"]
    for text in document["warnings"]:
        console.note(f"WARNING {text}")
    if options.as_json:
        console.print_json(document)
    elif options.device == "jetson":
        print_device_report(document)
    else:
        print_report(document)
    if stop is not None:
        raise Stopped(stop.number, "what is complete is printed, and marked as incomplete")
    return 0
