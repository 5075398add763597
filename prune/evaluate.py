"""CMC and mAP of a torch model, as the authors' test.py prints them: `python -m prune.evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from prune.config import load_config
from prune.session import open_weights
from runtime import commands, console, metrics
from runtime.cameras import camera_ids, dataset_name, parse_policy
from runtime.datasets import MAX_BAD, READERS, Dataset, Item, count_warnings
from runtime.errors import guarded
from runtime.extract import extract
from runtime.features import Features
from runtime.session import Artifact


def evaluate_model(artifact: Artifact, dataset: Dataset, *, batch: int = 16) -> dict[str, Any]:
    """{mAP, R1, R5, R10, mINP, ..} of an opened artifact on a data set's queries and gallery; nothing is printed but progress."""
    name = dataset_name(dataset.layout, count_warnings(dataset))

    def features(items: Sequence[Item], title: str) -> Features:
        ids, _ = camera_ids([item.camid for item in items], artifact.spec, dataset=name)
        with console.progress(title, len(items)) as advance:
            return extract(artifact, items, batch=batch, camera_ids=ids, progress=advance)

    query, gallery = features(dataset.query, "query"), features(dataset.gallery, "gallery")
    scores = metrics.evaluate(
        query.features, query.pids, query.camids, gallery.features, gallery.pids, gallery.camids
    )
    return scores.to_json()


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
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking (20, 6, 0.3)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="images per run (16)")
    parser.add_argument("--max-bad", type=float, default=MAX_BAD, metavar="FRACTION")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.set_defaults(query=None, gallery=None, workers=None)
    args = parser.parse_args(argv)
    config = load_config(args.config, args.overrides) if args.config else None
    commands.evaluate(args, opener=lambda given: open_weights(given.model, config, device=given.device)[0])
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
