#!/usr/bin/env python
"""Export a pruned model to ONNX; the code is in export."""

from collections.abc import Sequence

from runtime.entry import guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Run the export. What it needs is imported here, so that a library that cannot be used is one line."""
    # before what uses it: this file says why ONNX Runtime cannot be used
    import runtime.backends.onnxruntime  # noqa: F401
    from export.cli import main as export

    return export(argv)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
