"""`python -m runtime evaluate`: score a model on a data set, or score saved query and gallery features.

This module parses the options. `runtime.cli.evaluation` computes and prints the scores.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runtime.cli.arguments import (
    DataOptions,
    ModelOptions,
    add_layout_option,
    add_model_options,
    add_output_options,
    add_partial_option,
    model_options,
    run_options,
)
from runtime.cli.evaluate_options import FileEvaluation, ModelEvaluation, ScoreOptions
from runtime.cli.picture_options import add_picture_options, picture_options
from runtime.errors import ConfigError
from runtime.options.choices import SAME_CAMERA

HELP = "score a model on a data set, or score saved query and gallery features (mAP, CMC, mINP)"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `evaluate` to `parser`."""
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="an exported .onnx file or an engine; needs --data"
    )
    parser.add_argument("--data", metavar="ROOT", help="the root folder of the data set")
    parser.add_argument("--query", metavar="Q.npz", help="saved query features, instead of MODEL and --data")
    parser.add_argument("--gallery", metavar="G.npz", help="saved gallery features, together with --query")
    parser.add_argument(
        "--rerank", action="store_true", help="re-rank with k-reciprocal neighbours (k1 20, k2 6, lambda 0.3)"
    )
    parser.add_argument(
        "--same-camera",
        choices=SAME_CAMERA,
        help="remove or keep gallery images of the query's person from the query's camera; keep is for a data set of one camera "
        "(default: as the published protocol of the data set does)",
    )
    add_partial_option(parser)
    add_layout_option(parser)
    add_picture_options(parser)
    add_model_options(parser)
    add_output_options(parser)


def command(args: Namespace) -> None:
    """Run the command `evaluate` with the parsed arguments `args`."""
    score = score_options(args)
    if args.model is None:
        run_files(_file_evaluation(args, score))
    else:
        run_model(model_options(args), _model_evaluation(args, score))


def score_options(args: Namespace) -> ScoreOptions:
    """Return the values of `--rerank`, `--same-camera`, `--json` and `--picture...`. Raises the errors of `picture_options`."""
    return ScoreOptions(args.rerank, args.same_camera, picture_options(args), args.json)


def _model_evaluation(args: Namespace, score: ScoreOptions) -> ModelEvaluation:
    if args.data is None or args.query is not None or args.gallery is not None:
        raise ConfigError(
            "evaluate MODEL needs --data ROOT; to score saved features, give --query and --gallery without MODEL"
        )
    return ModelEvaluation(DataOptions(args.data, args.layout, args.max_bad), run_options(args), score)


def _file_evaluation(args: Namespace, score: ScoreOptions) -> FileEvaluation:
    if args.query is None or args.gallery is None or args.data is not None:
        raise ConfigError("evaluate needs MODEL --data ROOT, or --query q.npz --gallery g.npz")
    if args.camera is not None:
        raise ConfigError("--camera has no effect on saved features; give it to extract")
    return FileEvaluation(args.query, args.gallery, args.allow_partial, score)


def run_model(model: ModelOptions, options: ModelEvaluation) -> None:
    """Open a model, evaluate it on a data set, and print mAP, CMC and mINP."""
    from runtime.cli.evaluation import evaluate_model, read_data
    from runtime.cli.model_features import open_with_options

    # The data set is read first, so that its errors appear before the model is loaded.
    dataset = read_data(options)
    evaluate_model(open_with_options(model, options.run_options), dataset, options)


def run_files(options: FileEvaluation) -> None:
    """Evaluate saved query and gallery features, and print mAP, CMC and mINP."""
    from runtime.cli.evaluation import evaluate_files

    evaluate_files(options)
