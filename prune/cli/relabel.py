"""`python -m prune.relabel`: a model whose classifiers know the training people of one data set alone, as numbered there.

A teacher trained on many people ships without those that nobody has pictures of, and still distils into a model that is
fine-tuned on the few. Features do not change.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from prune.model.file import save_model
from prune.session import open_model
from prune.training.classifiers import row_votes, voting_batches, with_classifier_rows
from prune.training.data import label_map
from runtime.console import note
from runtime.datasets import READERS, read_dataset, training_images
from runtime.errors import ConfigError, GateError
from runtime.files.manifest import read_manifest
from runtime.wording import printable

# what `prune.train` says of how a model came to be: still true of one with fewer rows
TRAINING = ("source", "init", "config", "data")


def main(argv: Sequence[str] | None = None) -> int:
    """Find the training people of a data set among a model's classifier rows by vote, and keep their rows alone."""
    parser = argparse.ArgumentParser(prog="python -m prune.relabel", description=main.__doc__)
    parser.add_argument("model", metavar="MODEL", help="model.safetensors")
    parser.add_argument("--data", required=True, metavar="ROOT", help="the data set's own folder")
    parser.add_argument(
        "--layout", choices=sorted(READERS), help="guessed from the folder where that is sure"
    )
    parser.add_argument("--out", required=True, type=Path, help="the new model.safetensors")
    args = parser.parse_args(argv)
    if args.out.resolve() == Path(args.model).resolve():
        raise ConfigError(f"--out {args.out}: is the model itself; choose another name")
    artifact, model = open_model(args.model)
    items = training_images(read_dataset(args.data, args.layout)).train
    identities = len(label_map(items))
    if not identities or model.shape.identities < identities:
        raise ConfigError(
            f"{args.model}: its classifiers know {model.shape.identities} people, {args.data} has {identities} to train on; "
            "give a data set that the model was trained on"
        )
    found = row_votes(model, voting_batches(items, artifact.spec, "cpu"), identities)
    note(str(found))
    if not found.accepted:
        raise GateError(
            f"{args.out}: not written, the classifiers of {args.model} do not know the people of {args.data}: {found}; "
            "give a data set that the model was trained on"
        )
    manifest = read_manifest(args.model)
    notes = {key: manifest[key] for key in TRAINING if key in manifest}
    notes["relabelled"] = {"from": model.shape.identities, "to": identities, "agree": round(found.agree, 4)}
    save_model(
        with_classifier_rows(model, found.rows), args.out, artifact.spec, parent=artifact.sha256, notes=notes
    )
    print(printable(str(args.out)))
    return 0
