"""The command-line option `--backend`, which has one meaning in every command."""

from __future__ import annotations

from argparse import ArgumentParser

from runtime.options.choices import AUTO, BACKENDS


def add_backend_option(parser: ArgumentParser) -> None:
    """Add `--backend` and its alias `--engine`; the parsed value is in `backend`."""
    parser.add_argument(
        "--backend",
        "--engine",
        dest="backend",
        choices=(*BACKENDS, AUTO),
        default=BACKENDS[0],
        help="the library that runs an .onnx file on the CPU; auto: the fastest one, found by `runtime choose` (default: %(default)s)",
    )
