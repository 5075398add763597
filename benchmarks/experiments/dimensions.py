"""`python -m benchmarks.experiments.dimensions`: how much accuracy features of fewer numbers cost, on rendered and on real people.

The projections are those of `export_onnx.py --dim`. Each is fitted on the training images of the rendered people, on those of the
other data set, or on both, and scored on people that it was not fitted on. The people of the other data set are scored with their
plain features, and with the site calibration that the training images give.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.experiments.dimensions"))

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.host import describe_host
from runtime.console import print_table
from runtime.errors import ConfigError
from runtime.files.manifest import replacing

DIMS = (64, 128, 256)


@dataclass(frozen=True)
class DimensionOptions:
    """The command line: `models` maps a name to a model file.

    `data` and `other` are the folders of the rendered and of the real data set, and `out` is the result file.
    """

    models: Mapping[str, Path]
    data: str
    other: str
    out: Path


def parse(argv: Sequence[str] | None) -> DimensionOptions:
    """Parse a command line into options. Raises ConfigError for a model that is not NAME=MODEL."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.dimensions", description=main.__doc__
    )
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="NAME=MODEL",
        help="an FP32 ONNX file or a model.safetensors, and its name in the result; the option may be repeated",
    )
    parser.add_argument(
        "--data", default="data/anny_reid", metavar="ROOT", help="rendered people (default: %(default)s)"
    )
    parser.add_argument(
        "--other", required=True, metavar="ROOT", help="real people, in the cameras 0 and 1 of one site"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.json", help="the result file to write"
    )
    args = parser.parse_args(argv)
    models = {name: Path(path) for name, _, path in (text.partition("=") for text in args.model)}
    if wrong := [text for text in args.model if not text.partition("=")[2]]:
        raise ConfigError(
            f"--model {wrong[0]}: this is not a name and a file; give NAME=MODEL, such as pruned=pruned.onnx"
        )
    return DimensionOptions(models, args.data, args.other, args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Score each MODEL with all numbers of its features and with 64, 128 and 256, on rendered and on real people."""
    return run(parse(argv))


def run(options: DimensionOptions) -> int:
    """Score the models, write the result file and print a table. Returns exit code 0."""
    from benchmarks.experiments.short_features import gallery_bytes, model_features, scores

    rows: list[dict[str, Any]] = []
    for name, path in options.models.items():
        rendered, real = (model_features(str(path), root) for root in (options.data, options.other))
        for result in scores(rendered, real, dims=DIMS):
            rows.append({"model": name, "sha256": rendered["train"].model} | result)
    sizes = {dim: gallery_bytes(dim) for dim in sorted({row["dim"] for row in rows})}
    document = {
        "host": describe_host(device="cpu", threads=None),
        "data": Path(options.data).name,
        "other": Path(options.other).name,
        "rows": rows,
        "gallery_bytes_per_1000_rows": sizes,
    }
    with replacing(options.out) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    cells = [[row["model"], row["fit"] or "-", row["dim"], *_percents(row)] for row in rows]
    print_table("mAP, %", ["model", "fit", "numbers", "rendered", "real", "calibrated"], cells)
    return 0


def _percents(row: Mapping[str, Any]) -> list[str]:
    return [f"{100 * row[key]['mAP']:.1f}" for key in ("rendered", "real", "calibrated")]
