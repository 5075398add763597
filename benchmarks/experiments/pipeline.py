"""`python -m benchmarks.experiments.pipeline MODEL IMAGES`: compare extraction from files with the model alone.

Two measurements alternate, with the same number of processes and threads: the model alone on crops in memory, and `extract` on JPEG
files. Then `extract` runs in new processes on few and on many files (`--runs`), which shows whether its memory grows by more than the
size of the features.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.experiments.pipeline"))

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.options import PipelineOptions
from benchmarks.options import Candidate, candidates_of
from runtime import console
from runtime.errors import ConfigError
from runtime.options.argument_types import positive_integer, positive_integers, seconds
from runtime.options.backend_option import add_backend_option
from runtime.options.choices import PRESETS, THROUGHPUT


def parse(argv: Sequence[str] | None) -> PipelineOptions:
    """Parse a command line into options. Raises ConfigError for a torch model, because `extract` does not run those."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.pipeline", description=__doc__)
    parser.add_argument("models", metavar="MODEL[@BACKEND]", nargs=1, help="an exported .onnx file")
    parser.add_argument(
        "images",
        metavar="IMAGES",
        help="a folder or list of crops; new JPEG files are made of them and extracted",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default=THROUGHPUT,
        help="number of processes and threads, as in extract --preset (default: %(default)s)",
    )
    add_backend_option(parser)
    parser.add_argument(
        "--count",
        type=positive_integer,
        default=5000,
        metavar="N",
        help="number of files to extract for the comparison with the model alone (default: %(default)s)",
    )
    parser.add_argument(
        "--slice",
        type=positive_integer,
        default=1000,
        metavar="N",
        help="number of files to extract between two timings of the model alone (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=5.0,
        metavar="S",
        help="seconds of each timing of the model alone (default: %(default)s)",
    )
    parser.add_argument(
        "--runs",
        type=positive_integers,
        default=(500, 5000),
        metavar="N[,N]",
        help="numbers of files to extract, each in a new process (default: 500,5000)",
    )
    parser.add_argument(
        "--allow-ungated",
        action="store_true",
        help="run the model even if it has not passed its quality gate",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    args = parser.parse_args(argv)
    common = Candidate(Path(), allow_ungated=args.allow_ungated, backend=args.backend)
    (candidate,) = candidates_of(args.models, common)
    if candidate.torch:
        raise ConfigError(
            f"{candidate.path}: these are torch weights, which extract does not run; give an exported .onnx file"
        )
    return PipelineOptions(
        candidate, args.images, args.preset, args.count, args.slice, args.seconds, args.runs, args.json
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Compare extraction from files with the model alone, and print tables or one JSON document.

    Returns 0, or raises a UserError.
    """
    return run(parse(argv))


def run(options: PipelineOptions) -> int:
    """Make new JPEG files of the images that `options` names, measure the extraction from them, and print the result."""
    from benchmarks.experiments.turns import encode_again, measure_pipeline
    from runtime.images.sources import read_images

    with tempfile.TemporaryDirectory(prefix="pipeline-") as folder:
        count = max(options.count, *options.runs)
        document = measure_pipeline(options, encode_again(read_images(options.images), count, Path(folder)))
    for text in document["warnings"]:
        console.note(f"WARNING {text}")
    if options.as_json:
        console.print_json(document)
    else:
        _print(document)
    return 0


def _print(document: dict[str, Any]) -> None:
    rows = [
        [int(turn["images"]), turn["bare"], turn["extract"], turn["extract"] / turn["bare"]]
        + [turn["bare_cpu_ms"], turn["extract_cpu_ms"]]
        for turn in document["rounds"]
    ]
    layout = f"{document['processes']} processes, batch {document['batch']}, {document['model']['engine']}"
    shares = f"{document['ratio']:.1%} of the model alone"
    if document["cpu_ratio"]:
        shares += f", {document['cpu_ratio']:.1%} by CPU time"
    columns = [
        "images",
        "model alone",
        "extract",
        "ratio",
        "model alone CPU ms/image",
        "extract CPU ms/image",
    ]
    console.print_table(f"images/s ({layout}): {shares}", columns, rows)
    columns = ["images", "start s", "extract s", "images/s", "features MB", "peak MB", "largest worker MB"]
    console.print_table(
        "extractions, each in a new process", columns, [_run_row(run) for run in document["runs"]]
    )


def _run_row(run: dict[str, Any]) -> list[object]:
    sizes = [run["features_bytes"], run["parent_peak_bytes"], max(run["workers_peak_bytes"], default=None)]
    times = [run["start_s"], run["seconds"], run["images_per_s"]]
    return [run["images"], *times, *("-" if size is None else round(size / 1e6) for size in sizes)]
