#!/usr/bin/env python
"""Prune a model; the code is in prune.command."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("prune.command"))
