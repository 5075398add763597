#!/usr/bin/env python
"""Prune a model; the code is in prune.command."""

from collections.abc import Sequence

from runtime.errors import guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pruning. What it needs is imported here, so that a library that cannot be used is one line."""
    from prune.command import main as prune

    return prune(argv)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
