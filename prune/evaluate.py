"""CMC and mAP of a torch model, as the authors' test.py prints them: `python -m prune.evaluate`."""

from collections.abc import Sequence

from runtime.entry import guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. What it needs is imported here, so that a library that is missing is one line."""
    from prune.cli.evaluate import main as run

    return run(argv)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
