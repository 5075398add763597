"""The command line of bench.py, and the frozen options that it becomes. Measures nothing, and imports no numpy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.options import Candidate, Images, Timing, candidates_of
from runtime.datasets import READERS
from runtime.errors import ConfigError
from runtime.options.argument_types import batch_sizes, camera_policy, positive_integer, seconds
from runtime.options.choices import AUTO, BACKENDS, LATENCY, PRESETS, SECONDS, THROUGHPUT
from runtime.options.presets import refuse_contradictions

# Of `--preset throughput` without --batch.
THROUGHPUT_BATCHES = (1, 8)


@dataclass(frozen=True)
class BenchOptions:
    """What bench.py was asked to measure.

    `candidates` are the models; a replay names recorded ones instead, in `recorded`. `batches` None are those that the device
    calls for. With `parity`, features are compared with the first model's; with `keep_going`, a model that does not run is reported.
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
    """The options of a command line. ConfigError for those that contradict each other; argparse ends with exit code 2."""
    args = parser(description).parse_args(argv)
    if args.replay is not None and args.device != "jetson":
        raise ConfigError("--replay: only with --device jetson, whose recorded runs it reads")
    if args.record is not None and (args.device != "jetson" or args.replay is not None):
        raise ConfigError(
            "--record: only with --device jetson and without --replay; it keeps what a board did"
        )
    for option in ("parity", "keep_going"):
        if args.device == "jetson" and getattr(args, option):
            name = option.replace("_", "-")
            raise ConfigError(
                f"--{name}: not with --device jetson; leave it out, or use --device cuda or cpu"
            )
    other = next((size for size in args.batch or () if size != 1), 1)
    refuse_contradictions(
        args.preset, device=args.device, batch=other if args.preset == LATENCY else None, threads=args.threads
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
        # a Jetson's engines run on its GPU
        device="cuda" if args.device == "jetson" else args.device,
        threads=threads,
        allow_ungated=args.allow_ungated,
        backend=args.backend,
    )
    last = tuple(replace(common, path=path, torch=True) for path in args.torch)
    return candidates_of(args.models, common) + last


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of bench.py."""
    parser = argparse.ArgumentParser(prog="bench.py", description=description)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL[@BACKEND]",
        help="exported .onnx files, or model.safetensors for torch eager mode; ratios are to the first. M.onnx@openvino runs "
        "on that backend, M.safetensors@compile through torch.compile, @fp16 and @compile-fp16 in half precision",
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda", "jetson"], default="cpu", help="where (%(default)s)"
    )
    parser.add_argument(
        "--backend",
        "--engine",
        dest="backend",
        choices=(*BACKENDS, AUTO),
        default=BACKENDS[0],
        help="of .onnx files on the CPU (%(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=batch_sizes,
        metavar="N[,N]",
        help="images per call (1; with --device cuda 1, 8, 16 and 32, and with jetson these besides)",
    )
    parser.add_argument(
        "--threads", type=positive_integer, metavar="N", help="threads of each model (all cores)"
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="of a CPU: latency (batch 1, all cores), or throughput: one thread, and besides the images a second of as many "
        "processes as cores (batches 1 and 8)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--rounds", type=positive_integer, metavar="N", help="calls of each model and batch size"
    )
    length.add_argument(
        "--seconds",
        type=seconds,
        default=SECONDS,
        metavar="S",
        help="measure about so long for each model and batch size, in at least 10 rounds (%(default)s)",
    )
    parser.add_argument("--data", metavar="ROOT", help="a data set: time on its crops, and report mAP")
    parser.add_argument(
        "--no-accuracy", action="store_false", dest="accuracy", help="with --data: only time on its crops"
    )
    parser.add_argument("--layout", choices=sorted(READERS), help="its layout, guessed where that is sure")
    parser.add_argument("--camera", type=camera_policy, metavar="P", help="input, mean, none or a 0-based id")
    parser.add_argument(
        "--torch",
        type=Path,
        action="append",
        default=[],
        metavar="model.safetensors",
        help="a last model, in torch eager mode and its plain published form; may be repeated",
    )
    parser.add_argument(
        "--compare", type=Path, metavar="OLD.json", help="against a run saved with --json: with intervals"
    )
    parser.add_argument(
        "--replay", type=Path, metavar="DIR", help="with --device jetson: a recorded run instead of a board"
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="with --device jetson: keep what --replay needs in a new folder",
    )
    parser.add_argument(
        "--parity",
        action="store_true",
        help="compare each model's features with those of the first, on the same images",
    )
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="report a model that does not run here, and measure the rest",
    )
    parser.add_argument("--allow-ungated", action="store_true", help="run models that passed no quality gate")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of tables")
    return parser
