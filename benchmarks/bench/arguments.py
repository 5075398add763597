"""Parse the command line of bench.py into frozen options. Imports no numpy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.options import Candidate, Images, Timing, candidates_of
from runtime.datasets import READERS
from runtime.errors import ConfigError
from runtime.options.argument_types import batch_sizes, camera_policy, positive_integer, seconds
from runtime.options.backend_option import add_backend_option
from runtime.options.choices import LATENCY, PRESETS, SECONDS, THROUGHPUT
from runtime.options.presets import refuse_contradictions

# The batch sizes of `--preset throughput` if --batch is not given.
THROUGHPUT_BATCHES = (1, 8)


@dataclass(frozen=True)
class BenchOptions:
    """The command line of bench.py: the models, and how they are measured.

    `candidates` are the models to run. If `batches` is None, the device determines the batch sizes. If `threads` is None, the backend
    determines their number. `preset` is a name in `runtime.options.choices.PRESETS`, or None. With `parity`, the features of each
    model are compared with those of the first model. With `keep_going`, a model that fails is reported, and the others are measured.

    Three paths are None if their option is not given. `compare` is the JSON document of an earlier run. `record` is the new folder in
    which a Jetson run is saved. `replay` is the folder of a saved Jetson run. With it, no model runs, and `recorded` lists the models
    of that run to report, each by its path or its file name.
    """

    candidates: tuple[Candidate, ...]
    recorded: tuple[str, ...]
    device: str
    threads: int | None
    batches: tuple[int, ...] | None
    preset: str | None
    timing: Timing
    images: Images
    parity: bool
    keep_going: bool
    compare: Path | None
    replay: Path | None
    record: Path | None
    as_json: bool


def parse(argv: Sequence[str] | None, description: str | None = None) -> BenchOptions:
    """Parse the arguments of the command line, `argv`, into options. None stands for those of this process.

    `description` is the text that --help shows above the options. Raises ConfigError if options contradict each other. argparse
    itself exits with code 2 if an option does not exist or has a wrong value.
    """
    args = parser(description).parse_args(argv)
    if args.replay is not None and args.device != "jetson":
        raise ConfigError(
            "--replay: works only with --device jetson, because it reads a run that was recorded on a Jetson; add --device jetson"
        )
    if args.record is not None and (args.device != "jetson" or args.replay is not None):
        raise ConfigError(
            "--record: works only with --device jetson and without --replay, because it records a run on a Jetson; remove --record"
        )
    for option in ("parity", "keep_going"):
        if args.device == "jetson" and getattr(args, option):
            name = option.replace("_", "-")
            raise ConfigError(
                f"--{name}: does not work with --device jetson; remove the option, or use --device cuda or cpu"
            )
    not_one = next((size for size in args.batch or () if size != 1), 1)
    refuse_contradictions(
        args.preset,
        device=args.device,
        batch=not_one if args.preset == LATENCY else None,
        threads=args.threads,
    )
    throughput = args.preset == THROUGHPUT
    threads = 1 if throughput else args.threads
    return BenchOptions(
        candidates=() if args.replay is not None else _candidates(args, threads),
        recorded=tuple(args.models) if args.replay is not None else (),
        device=args.device,
        threads=threads,
        batches=args.batch or (THROUGHPUT_BATCHES if throughput else None),
        preset=args.preset,
        timing=Timing(args.rounds, args.seconds),
        images=Images(args.data, args.layout, args.camera, args.accuracy),
        parity=args.parity,
        keep_going=args.keep_going,
        compare=args.compare,
        replay=args.replay,
        record=args.record,
        as_json=args.json,
    )


def _candidates(args: argparse.Namespace, threads: int | None) -> tuple[Candidate, ...]:
    common = Candidate(
        Path(),
        # On a Jetson, engines run on the GPU.
        device="cuda" if args.device == "jetson" else args.device,
        threads=threads,
        allow_ungated=args.allow_ungated,
        backend=args.backend,
    )
    torch_models = tuple(replace(common, path=path, torch=True) for path in args.torch)
    return candidates_of(args.models, common) + torch_models


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the argument parser of bench.py. `description` is the text that --help shows above the options."""
    parser = argparse.ArgumentParser(prog="bench.py", description=description)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL[@BACKEND]",
        help="a model to measure; speeds are relative to the first model. An exported .onnx file runs on the backend after @, "
        "as in M.onnx@openvino, or on the backend of --backend. A .safetensors file runs in torch: in eager mode, or through "
        "torch.compile with @compile. @fp16 and @compile-fp16 run it in the same two ways in half precision",
    )
    parser.add_argument(
        "--device",
        choices=["cpu", "cuda", "jetson"],
        default="cpu",
        help="the device that the models run on (default: %(default)s)",
    )
    add_backend_option(parser)
    parser.add_argument(
        "--batch",
        type=batch_sizes,
        metavar="N[,N]",
        help="one or more batch sizes: images per call (default: 1; with --device cuda: 1, 8, 16 and 32). --device jetson always "
        "measures 1, 8, 16 and 32, and the sizes given here in addition",
    )
    parser.add_argument(
        "--threads",
        type=positive_integer,
        metavar="N",
        help="number of threads that each model uses (default: one for each core)",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="settings for a CPU. latency: batch size 1 on all cores. throughput: one thread and batch sizes 1 and 8; it also "
        "measures the images per second of several processes at once, one for each core",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--rounds",
        type=positive_integer,
        metavar="N",
        help="number of timed calls of each model at each batch size",
    )
    length.add_argument(
        "--seconds",
        type=seconds,
        default=SECONDS,
        metavar="S",
        help="seconds for which each model is timed at each batch size, in at least 10 calls (%(default)s)",
    )
    parser.add_argument(
        "--data",
        metavar="ROOT",
        help="folder of a data set: the models are timed on its crops, and their mAP is measured (default: the models are timed on "
        "random pixels)",
    )
    parser.add_argument(
        "--no-accuracy",
        action="store_false",
        dest="accuracy",
        help="with --data: time the models on its crops, but do not measure mAP",
    )
    parser.add_argument(
        "--layout",
        choices=sorted(READERS),
        help="layout of the data set (default: recognised from the folder; the command fails if several layouts fit)",
    )
    parser.add_argument(
        "--camera",
        type=camera_policy,
        metavar="P",
        help="camera embedding: input (camera ids from the file names), mean, none or a 0-based camera id (default: input on the data "
        "set that the model was trained on, otherwise mean)",
    )
    parser.add_argument(
        "--torch",
        type=Path,
        action="append",
        default=[],
        metavar="model.safetensors",
        help="one more model, which is measured after the MODEL arguments. It runs in torch eager mode, without the graph changes of "
        "an export. The option may be repeated",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="OLD.json",
        help="also compare the times with those of an earlier run, whose --json output is in this file: ratios with 95 %% intervals",
    )
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="DIR",
        help="with --device jetson: report the run that --record saved in this folder, instead of measuring on a board",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="with --device jetson: save the run in this new folder, for --replay",
    )
    parser.add_argument(
        "--parity",
        action="store_true",
        help="compare the features of each model with those of the first model, on the same images",
    )
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="if a model does not run on this machine, report it and measure the others",
    )
    parser.add_argument(
        "--allow-ungated", action="store_true", help="also run models that have not passed their quality gate"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    return parser
