"""The command line of bench.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import timing
from benchmarks.subject import Subject
from runtime.cameras import parse_policy
from runtime.datasets import READERS
from runtime.errors import ConfigError
from runtime.preset import LATENCY, PRESETS, THROUGHPUT, refuse_contradictions
from runtime.session import AUTO, ENGINES

# Files that run as torch models, in eager mode or compiled.
WEIGHTS, COMPILED = ".safetensors", "compile"
# Of models that no --batch was given for: without a preset or with latency's, and with throughput's.
BATCHES = (1,)
THROUGHPUT_BATCHES = (1, 8)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of bench.py."""
    parser = argparse.ArgumentParser(prog="bench.py", description=description)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL[@ENGINE]",
        help="exported .onnx files, or model.safetensors for torch eager mode; ratios are to the first. M.onnx@openvino runs "
        "on that engine, M.safetensors@compile through torch.compile",
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda", "jetson"], default="cpu", help="where (%(default)s)"
    )
    parser.add_argument(
        "--engine",
        choices=(*ENGINES, AUTO),
        default=ENGINES[0],
        help="of .onnx files on the CPU (%(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=batches,
        default=BATCHES,
        metavar="N[,N]",
        help="images per call (1; with --device cuda 1, 8, 16 and 32, and with jetson these besides)",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of each model (all cores)")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="of a CPU: latency (batch 1, all cores), or throughput: one thread, and besides the images a second of as many "
        "processes as cores (batches 1 and 8)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--rounds", type=positive, metavar="N", help="calls of each model and batch size")
    length.add_argument(
        "--seconds",
        type=_seconds,
        default=timing.SECONDS,
        metavar="S",
        help="measure about so long for each model and batch size, in at least 10 rounds (%(default)s)",
    )
    parser.add_argument("--data", metavar="ROOT", help="a data set: time on its crops, and report mAP")
    parser.add_argument(
        "--no-accuracy", action="store_false", dest="accuracy", help="with --data: only time on its crops"
    )
    parser.add_argument("--layout", choices=sorted(READERS), help="its layout, guessed where that is sure")
    parser.add_argument("--camera", type=parse_policy, metavar="P", help="input, mean, none or a 0-based id")
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
    parser.add_argument("--allow-ungated", action="store_true", help="run models that passed no quality gate")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of tables")
    return parser


def apply_preset(args: argparse.Namespace) -> None:
    """Fill in the batches and threads that `--preset` stands for. ConfigError for options that contradict it."""
    other = next((size for size in args.batch if size != 1), 1)
    refuse_contradictions(
        args.preset, device=args.device, batch=other if args.preset == LATENCY else None, threads=args.threads
    )
    if args.preset == THROUGHPUT:
        args.threads = 1
        # the default itself, not a --batch 1 that says the same
        args.batch = THROUGHPUT_BATCHES if args.batch is BATCHES else args.batch


def subjects_of(args: argparse.Namespace) -> list[Subject]:
    """What the parsed command line wants measured, in its order. ConfigError for an engine that does not exist."""
    how = {"device": args.device, "threads": args.threads, "allow_ungated": args.allow_ungated}
    found = []
    for text in args.models:
        name, _, engine = text.partition("@")
        path = Path(name)
        torch, known = path.suffix == WEIGHTS, (COMPILED,) if path.suffix == WEIGHTS else (*ENGINES, AUTO)
        if engine and engine not in known:
            raise ConfigError(f"{text}: no engine {engine}; give {name}@{{{','.join(known)}}}")
        found.append(
            Subject(path, torch=torch, compiled=engine == COMPILED, engine=engine or args.engine, **how)
        )
    return found + [Subject(path, torch=True, **how) for path in args.torch]


def batches(text: str) -> tuple[int, ...]:
    """`1,8` as batch sizes, for argparse."""
    try:
        return tuple(dict.fromkeys(positive(part) for part in text.split(",")))
    except (ValueError, argparse.ArgumentTypeError):
        raise ConfigError(f"--batch {text}: give sizes from 1, such as 1,8") from None


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("give more than 0 seconds")
    return value
