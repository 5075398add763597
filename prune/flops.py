"""Count multiply-adds and parameters: `python -m prune.flops`. The command is prune.cli.flops."""

from runtime.errors import command

if __name__ == "__main__":
    raise SystemExit(command("prune.cli.flops"))
