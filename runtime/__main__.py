"""Inspect data sets, extract features, evaluate and search: `python -m runtime --help`."""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("runtime.__main__"))

import argparse
import warnings
from collections.abc import Sequence

from runtime import choose, commands, search_command
from runtime.cameras import parse_policy
from runtime.datasets import MAX_BAD, READERS
from runtime.fast_resize import EXACT, RESIZES
from runtime.picture_file import add_picture_options
from runtime.preset import PRESETS
from runtime.protocol import SAME_CAMERA
from runtime.session import AUTO, DEVICES, ENGINES


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns 0; raises a Refusal for what a person can mend (argparse exits 2)."""
    # Pillow warns of odd metadata in single images; what matters of that is in skipped.jsonl.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    args = _parser().parse_args(argv)
    args.command(args)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runtime", description=__doc__)
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")

    inspect = subcommands.add_parser("inspect", help="count a data set's images, identities and cameras")
    inspect.add_argument("root", metavar="ROOT", help="the data set's own folder")
    _add_data(inspect)
    inspect.set_defaults(command=commands.inspect)

    extract = subcommands.add_parser("extract", help="write the features of images to a .npz file")
    extract.add_argument("model", metavar="MODEL", help="an exported .onnx file with its manifest beside it")
    extract.add_argument("images", metavar="IMAGES", help="a folder, a list file or one image")
    extract.add_argument("--out", required=True, metavar="FILE.npz", help="where the features go")
    extract.add_argument(
        "--preset",
        choices=PRESETS,
        help="of a CPU: latency (one process, all cores, batch 1) or throughput (one process of one thread per core)",
    )
    _add_resize(extract)
    _add_layout(extract)
    _add_model(extract)
    _add_output(extract)
    extract.set_defaults(command=commands.extract_features)

    evaluate = subcommands.add_parser("evaluate", help="score a model on a data set, or two feature files")
    evaluate.add_argument("model", metavar="MODEL", nargs="?", help="an exported .onnx file (needs --data)")
    evaluate.add_argument("--data", metavar="ROOT", help="the data set's own folder")
    evaluate.add_argument(
        "--query", metavar="Q.npz", help="saved query features, instead of MODEL and --data"
    )
    evaluate.add_argument("--gallery", metavar="G.npz", help="saved gallery features")
    evaluate.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking (20, 6, 0.3)")
    evaluate.add_argument(
        "--same-camera",
        choices=SAME_CAMERA,
        help="images of the query's person from the query's camera: remove, as almost every published protocol does, or keep "
        "(for a set of one camera)",
    )
    _add_partial(evaluate)
    _add_resize(evaluate)
    _add_layout(evaluate)
    add_picture_options(evaluate)
    _add_model(evaluate)
    _add_output(evaluate)
    evaluate.set_defaults(command=commands.evaluate)

    search = subcommands.add_parser("search", help="find the gallery images nearest to query images")
    search.add_argument("model", metavar="MODEL", help="the model that made the gallery features")
    search.add_argument("queries", metavar="QUERY", nargs="+", help="images, or folders of them")
    search.add_argument("--gallery", required=True, metavar="G.npz", help="saved gallery features")
    search.add_argument("--top", type=int, default=10, metavar="N", help="matches per query (10)")
    _add_partial(search)
    add_picture_options(search)
    _add_model(search)
    _add_output(search)
    search.set_defaults(command=search_command.search_gallery)

    chooser = subcommands.add_parser("choose", help="find the fastest engine for a model on this CPU")
    chooser.add_argument("model", metavar="MODEL.onnx", help="an exported .onnx file with its check crops")
    chooser.add_argument("--threads", type=_positive, metavar="N", help="threads of the model (all cores)")
    chooser.add_argument("--batch", type=_positive, metavar="N", help="images per run (the model's, or 1)")
    chooser.add_argument(
        "--seconds", type=_seconds, default=3.0, metavar="S", help="time each engine so long (%(default)s)"
    )
    chooser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of a table")
    chooser.set_defaults(command=choose.choose_engine)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    _add_layout(parser)
    _add_output(parser)


def _add_layout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--layout", choices=sorted(READERS), help="guessed from the folder where that is sure"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of a table")
    parser.add_argument(
        "--max-bad",
        type=_fraction,
        default=MAX_BAD,
        metavar="FRACTION",
        help="end with exit code 3 when more than this part of all images is unusable (%(default)s)",
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where the model runs (%(default)s)")
    parser.add_argument(
        "--engine",
        choices=(*ENGINES, AUTO),
        default=ENGINES[0],
        help="what runs an .onnx file on the CPU; auto: what `choose` found here (%(default)s)",
    )
    parser.add_argument("--threads", type=_positive, metavar="N", help="threads of the model (all cores)")
    parser.add_argument("--batch", type=_positive, metavar="N", help="images per run (the model's, or 16)")
    parser.add_argument("--workers", type=_positive, metavar="N", help="threads that decode (up to 4)")
    parser.add_argument(
        "--camera",
        type=parse_policy,
        metavar="P",
        help="camera embedding: input (ids from the names), mean, none or a 0-based id; default: input on "
        "the data set that the model was trained on, else mean",
    )
    parser.add_argument(
        "--allow-ungated", action="store_true", help="run a model that passed no quality gate"
    )


def _add_partial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-partial", action="store_true", help="take saved features of an extraction that was stopped"
    )


def _add_resize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resize",
        choices=RESIZES,
        default=EXACT,
        help="exact: Pillow's filter, as in training; fast: OpenCV's, which evaluate compares with exact (%(default)s)",
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("give more than 0 seconds")
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("give a fraction from 0 to 1")
    return value
