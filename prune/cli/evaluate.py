"""CMC and mAP of a torch model, as the authors' test.py prints them: `python -m prune.evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from prune.config.load import load_config
from prune.session import open_weights
from runtime import Model
from runtime.cli.arguments import DataOptions, RunOptions, add_layout_option
from runtime.cli.evaluate_command import score_options
from runtime.cli.evaluate_options import ModelEvaluation
from runtime.cli.evaluation import evaluate_model, read_data
from runtime.cli.picture_options import add_picture_options
from runtime.datasets import MAX_BAD
from runtime.options.argument_types import camera_policy, fraction, positive_integer
from runtime.options.choices import SAME_CAMERA


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate the torch model: model.safetensors, or a TransReID or AMG .pth with its configuration."""
    parser = argparse.ArgumentParser(prog="python -m prune.evaluate", description=main.__doc__)
    parser.add_argument("model", metavar="WEIGHTS", help="model.safetensors or a published .pth")
    parser.add_argument("--config", help="our YAML or the authors'; needed for a .pth")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", dest="overrides")
    parser.add_argument("--data", required=True, metavar="ROOT", help="the data set's own folder")
    add_layout_option(parser)
    parser.add_argument(
        "--camera", type=camera_policy, metavar="P", help="input, mean, none or a 0-based camera id"
    )
    parser.add_argument(
        "--same-camera",
        choices=SAME_CAMERA,
        help="what becomes of images from the query's camera (as published)",
    )
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking (20, 6, 0.3)")
    add_picture_options(parser)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch", type=positive_integer, default=16, metavar="N", help="images per run (16)")
    parser.add_argument("--max-bad", type=fraction, default=MAX_BAD, metavar="FRACTION")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    options = ModelEvaluation(
        data=DataOptions(args.data, args.layout, args.max_bad),
        run=RunOptions(args.batch, None, args.camera, args.max_bad),
        score=score_options(args),
    )
    config = load_config(args.config, args.overrides) if args.config else None
    dataset = read_data(options)
    artifact, _ = open_weights(args.model, config, device=args.device)
    evaluate_model(Model(artifact, args.batch), dataset, options)
    return 0
