"""Compare the latency, throughput, size, memory and mAP of models: `python bench.py MODEL [MODEL ...]`.

All models run in one process and are called alternately on the same images. Speeds are relative to the first model. To find faulty
measurements, the features that a model computed while it was timed are compared with those of a freshly opened copy.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bench.arguments import BenchOptions, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the models that the command line names, and print tables or one JSON document. Returns 0, or raises a UserError."""
    return run(parse(argv, __doc__))


def run(options: BenchOptions) -> int:
    """Measure the models of `options`, print the result and return 0.

    If a signal stops the run, print the results that are complete and raise Stopped.
    """
    from benchmarks.bench.compare import compare, read_run
    from benchmarks.bench.measure import measured
    from benchmarks.bench.report import print_report
    from benchmarks.device.report import print_device_report
    from runtime import console
    from runtime.stopping import Stopped

    # Read the earlier run first: if it is damaged, the command fails before it measures for minutes.
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
        raise Stopped(
            stop.number,
            "the output has the results of the complete parts of the run and is marked as incomplete",
        )
    return 0
