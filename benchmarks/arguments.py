"""What several command lines share: batch sizes, counts, and the models that --model names."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.candidate import Subject
from runtime.errors import ConfigError
from runtime.options.argument_types import positive_integer
from runtime.options.choices import AUTO, BACKENDS

# Of models that no --batch was given for: without a preset or with latency's, and with throughput's.
BATCHES = (1,)
# Files that run as torch models, in eager mode or compiled.
WEIGHTS, COMPILED = ".safetensors", "compile"


def subjects_of(args: argparse.Namespace) -> list[Subject]:
    """What the parsed command line wants measured, in its order. ConfigError for an engine that does not exist."""
    how = {"device": args.device, "threads": args.threads, "allow_ungated": args.allow_ungated}
    found = []
    for text in args.models:
        name, _, engine = text.partition("@")
        path = Path(name)
        torch, known = path.suffix == WEIGHTS, (COMPILED,) if path.suffix == WEIGHTS else (*BACKENDS, AUTO)
        if engine and engine not in known:
            raise ConfigError(f"{text}: no engine {engine}; give {name}@{{{','.join(known)}}}")
        found.append(
            Subject(path, torch=torch, compiled=engine == COMPILED, engine=engine or args.backend, **how)
        )
    return found + [Subject(path, torch=True, **how) for path in args.torch]


def batches(text: str) -> tuple[int, ...]:
    """`1,8` as batch sizes, for argparse."""
    try:
        return tuple(dict.fromkeys(positive_integer(part) for part in text.split(",")))
    except argparse.ArgumentTypeError:
        raise ConfigError(f"--batch {text}: give sizes from 1, such as 1,8") from None
