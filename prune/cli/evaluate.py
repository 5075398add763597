"""CMC and mAP of a torch model, as the authors' test.py prints them: `python -m prune.evaluate`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.arguments import ConfigOptions, add_config_options, optional_config
from runtime.cli.arguments import DataOptions, RunOptions, add_layout_option
from runtime.cli.evaluate_command import score_options
from runtime.cli.evaluate_options import ModelEvaluation
from runtime.cli.picture_options import add_picture_options
from runtime.datasets import MAX_BAD
from runtime.options.argument_types import camera_policy, fraction, positive_integer
from runtime.options.choices import DEVICES, SAME_CAMERA


@dataclass(frozen=True)
class EvaluateOptions:
    """Which weights are scored, where they run, and on what; a published .pth needs the configuration."""

    weights: str
    config: ConfigOptions | None
    device: str
    evaluation: ModelEvaluation


def parse(argv: Sequence[str] | None) -> EvaluateOptions:
    """The options of a command line; argparse exits 2 where it is wrong."""
    parser = ArgumentParser(prog="python -m prune.evaluate", description=main.__doc__)
    parser.add_argument("model", metavar="WEIGHTS", help="model.safetensors or a published .pth")
    add_config_options(parser, text="our YAML or the authors'; needed for a .pth")
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
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--batch", type=positive_integer, default=16, metavar="N", help="images per run (16)")
    parser.add_argument("--max-bad", type=fraction, default=MAX_BAD, metavar="FRACTION")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    return EvaluateOptions(
        weights=args.model,
        config=optional_config(args),
        device=args.device,
        evaluation=ModelEvaluation(
            data=DataOptions(args.data, args.layout, args.max_bad),
            run_options=RunOptions(args.batch, None, args.camera, args.max_bad),
            score=score_options(args),
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate the torch model: model.safetensors, or a TransReID or AMG .pth with its configuration."""
    run(parse(argv))
    return 0


def run(options: EvaluateOptions) -> None:
    """Print the scores; a configuration or data set that cannot be read is refused before the model is loaded."""
    from prune.config.load import load_config
    from prune.session import open_weights
    from runtime import Model
    from runtime.cli.evaluation import evaluate_model, read_data

    config = load_config(options.config.path, options.config.overrides) if options.config else None
    dataset = read_data(options.evaluation)
    artifact, _ = open_weights(options.weights, config, device=options.device)
    evaluate_model(Model(artifact, options.evaluation.run_options.batch), dataset, options.evaluation)
