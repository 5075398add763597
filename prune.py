#!/usr/bin/env python
"""Prune a model; the code is in prune.cli.prune."""

from runtime.entry import run_main

if __name__ == "__main__":
    raise SystemExit(run_main("prune.cli.prune"))
