"""`python -m prune.evaluate`: print the CMC and mAP of a torch model, as test.py of TransReID does."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.arguments import ConfigOptions, add_config_options, config_options
from runtime.cli.arguments import DataOptions, RunOptions, add_layout_option
from runtime.cli.evaluate_command import score_options
from runtime.cli.evaluate_options import ModelEvaluation
from runtime.cli.picture_options import add_picture_options
from runtime.datasets import MAX_BAD
from runtime.options.argument_types import camera_policy, fraction, positive_integer
from runtime.options.choices import DEVICES, SAME_CAMERA


@dataclass(frozen=True)
class EvaluateOptions:
    """The weights to evaluate, the device, and the data set. `config` says what the tensors of a published .pth do not show."""

    weights: str
    config: ConfigOptions
    device: str
    evaluation: ModelEvaluation


def parse(argv: Sequence[str] | None) -> EvaluateOptions:
    """Return the parsed command line; argparse exits with code 2 on an error."""
    parser = ArgumentParser(prog="python -m prune.evaluate", description=main.__doc__)
    parser.add_argument("model", metavar="WEIGHTS", help="a model.safetensors or a published .pth")
    add_config_options(
        parser, text="the configuration that the model was trained with; only a .pth may need it"
    )
    parser.add_argument("--data", required=True, metavar="ROOT", help="the folder of the data set")
    add_layout_option(parser)
    parser.add_argument(
        "--camera",
        type=camera_policy,
        metavar="P",
        help="camera embedding: input (by the camera ids in the file names), mean, none or a 0-based camera id (default: input on the "
        "data set that the model was trained on, otherwise mean)",
    )
    parser.add_argument(
        "--same-camera",
        choices=SAME_CAMERA,
        help="remove or keep gallery images of the query's person from the query's camera "
        "(default: as the published protocol does)",
    )
    parser.add_argument(
        "--rerank", action="store_true", help="re-rank with k-reciprocal neighbours (k1 20, k2 6, lambda 0.3)"
    )
    add_picture_options(parser)
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="where the model runs (default: %(default)s)"
    )
    parser.add_argument(
        "--batch",
        type=positive_integer,
        default=16,
        metavar="N",
        help="images per batch (default: %(default)s)",
    )
    parser.add_argument(
        "--max-bad",
        type=fraction,
        default=MAX_BAD,
        metavar="FRACTION",
        help="end with exit code 3 when more than this fraction of all images is unusable (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(argv)
    return EvaluateOptions(
        weights=args.model,
        config=config_options(args),
        device=args.device,
        evaluation=ModelEvaluation(
            data=DataOptions(args.data, args.layout, args.max_bad),
            run_options=RunOptions(args.batch, None, args.camera, args.max_bad),
            score=score_options(args),
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate a torch model on a data set: a model.safetensors, or a published .pth."""
    run(parse(argv))
    return 0


def run(options: EvaluateOptions) -> None:
    """Evaluate the model and print its scores. The configuration and the data set are read first, so that errors appear early."""
    from prune.config.load import load_config
    from prune.session import open_weights
    from runtime import Model
    from runtime.cli.evaluation import evaluate_model, read_data

    path, overrides = options.config.path, options.config.overrides
    config = load_config(path, overrides) if path else None
    dataset = read_data(options.evaluation)
    artifact, _ = open_weights(options.weights, config, device=options.device, overrides=overrides)
    evaluate_model(Model(artifact, options.evaluation.run_options.batch), dataset, options.evaluation)
