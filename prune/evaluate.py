"""CMC and mAP of a torch model, as the authors' test.py prints them: `python -m prune.evaluate`."""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("prune.evaluate"))

import argparse
from collections.abc import Sequence

from prune.config import load_config
from prune.session import open_weights
from runtime import commands
from runtime.cameras import parse_policy
from runtime.datasets import MAX_BAD, READERS
from runtime.picture_file import add_picture_options
from runtime.protocol import SAME_CAMERA


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate the torch model: model.safetensors, or a TransReID or AMG .pth with its configuration."""
    parser = argparse.ArgumentParser(prog="python -m prune.evaluate", description=main.__doc__)
    parser.add_argument("model", metavar="WEIGHTS", help="model.safetensors or a published .pth")
    parser.add_argument("--config", help="our YAML or the authors'; needed for a .pth")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", dest="overrides")
    parser.add_argument("--data", required=True, metavar="ROOT", help="the data set's own folder")
    parser.add_argument(
        "--layout", choices=sorted(READERS), help="guessed from the folder where that is sure"
    )
    parser.add_argument(
        "--camera", type=parse_policy, metavar="P", help="input, mean, none or a 0-based camera id"
    )
    parser.add_argument(
        "--same-camera",
        choices=SAME_CAMERA,
        help="what becomes of images from the query's camera (as published)",
    )
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking (20, 6, 0.3)")
    add_picture_options(parser)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="images per run (16)")
    parser.add_argument("--max-bad", type=float, default=MAX_BAD, metavar="FRACTION")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.set_defaults(query=None, gallery=None, workers=None, resize="exact", allow_partial=False)
    args = parser.parse_args(argv)
    config = load_config(args.config, args.overrides) if args.config else None
    commands.evaluate(args, opener=lambda given: open_weights(given.model, config, device=given.device)[0])
    return 0
