"""`python -m prune.relabel`: keep only the classifier rows of one data set's training people, in the order of their labels.

A teacher that was trained on many people can then be published with the classifier rows of only a few of them. It can still be
distilled into a model that is fine-tuned on these few people. Its features do not change.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.cli.arguments import add_layout_option
from runtime.errors import ConfigError, GateError

# Manifest keys of `prune.train` that stay true for a model with fewer classifier rows.
TRAINING = ("source", "init", "config", "data")


@dataclass(frozen=True)
class RelabelOptions:
    """The model file to read, the data set whose training people keep their classifier rows, and the model file `out` to write.

    `data` is the folder of the data set, and `layout` its layout; None means that the layout is guessed from the folder.
    """

    model: str
    data: str
    layout: str | None
    out: Path


def parse(argv: Sequence[str] | None) -> RelabelOptions:
    """Return the parsed command line. Raises ConfigError when --out is the model; argparse exits with code 2 on other errors."""
    parser = ArgumentParser(prog="python -m prune.relabel", description=main.__doc__)
    parser.add_argument("model", metavar="MODEL", help="a model.safetensors")
    parser.add_argument("--data", required=True, metavar="ROOT", help="the folder of the data set")
    add_layout_option(parser)
    parser.add_argument("--out", required=True, type=Path, help="the new model.safetensors to write")
    args = parser.parse_args(argv)
    if args.out.resolve() == Path(args.model).resolve():
        raise ConfigError(f"--out {args.out} is the model itself; choose another name")
    return RelabelOptions(args.model, args.data, args.layout, args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Write a copy of a model whose classifiers keep only the rows of a data set's training people.

    A model file does not say which row belongs to which person. Up to eight images of each person therefore vote: an image votes
    for the row of the identity that the classifiers predict for it, and the person gets the row with the most votes.
    """
    run(parse(argv))
    return 0


def run(options: RelabelOptions) -> None:
    """Write the model and print its path.

    Raises GateError, and writes nothing, when the votes show that the model was not trained on these people: too many images vote
    for other rows than that of their person (see `prune.training.classifiers.RowVotes.accepted`). Raises ConfigError when the data
    set has no training people, or more than the classifiers have rows.
    """
    from prune.model.file import save_model
    from prune.session import open_torch_model
    from prune.training.classifiers import row_votes, voting_batches, with_classifier_rows
    from prune.training.data import label_map
    from runtime.console import note
    from runtime.datasets import read_dataset, training_images
    from runtime.files.manifest import read_manifest
    from runtime.wording import printable

    artifact, model = open_torch_model(options.model)
    items = training_images(read_dataset(options.data, options.layout)).train
    identities = len(label_map(items))
    if not identities or model.architecture.identities < identities:
        raise ConfigError(
            f"{options.model}: its classifiers have {model.architecture.identities} identities, but the training set of "
            f"{options.data} has {identities}; give a data set that the model was trained on"
        )
    votes = row_votes(model, voting_batches(items, artifact.spec, "cpu"), identities)
    note(
        f"{options.model}: the training images of {options.data} voted for the classifier rows of their people: {votes}"
    )
    if not votes.accepted:
        raise GateError(
            f"{options.out}: not written; the classifiers of {options.model} do not know the people of {options.data} ({votes}); "
            "give a data set that the model was trained on"
        )
    manifest = read_manifest(options.model)
    notes = {key: manifest[key] for key in TRAINING if key in manifest}
    notes["relabelled"] = {
        "from": model.architecture.identities,
        "to": identities,
        "agree": round(votes.agree, 4),
    }
    save_model(
        with_classifier_rows(model, votes.rows),
        options.out,
        artifact.spec,
        parent=artifact.sha256,
        notes=notes,
    )
    print(printable(str(options.out)))
