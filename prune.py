#!/usr/bin/env python
"""Prune a model; the code is in prune.command."""

from prune.command import main
from runtime.errors import guarded

if __name__ == "__main__":
    raise SystemExit(guarded(main))
