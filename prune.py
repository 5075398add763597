#!/usr/bin/env python
"""Prune a model; the code is in prune.cli.prune."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("prune.cli.prune"))
