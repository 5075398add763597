"""`python -m prune.fit_stem`: build a hybrid model, which is a ViT with a convolutional stem, without training.

The linear layer `skip` from the stem's features to the descriptor is computed in closed form (prune.training.whitening).
"""

from __future__ import annotations

import dataclasses
import math
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.cli.arguments import ConfigOptions, add_config_options, config_options
from prune.cli.training_set import notes, training_set
from runtime.cli.arguments import add_layout_option
from runtime.errors import ConfigError
from runtime.options.argument_types import fraction, positive_integer


@dataclass(frozen=True)
class FitOptions:
    """The parsed command line: the configuration, the data set, the initial weights `init`, and the model file `out` to write.

    `data` is the folder of the data set. If it or `layout` is None, it comes from the configuration. `init` has sources as in
    `prune.importing.initial.initial_model`. `images` is the number of augmented training crops that the layer is computed from.
    `shrinkage` (0..1) says how far the within-person scatter matrix of the stem's features is moved to a multiple of the identity
    matrix. `strength` is the mean 2-norm of what the stem adds to the ViT's descriptor, divided by the mean 2-norm of that descriptor.
    """

    config: ConfigOptions
    data: str | None
    layout: str | None
    init: tuple[str, ...]
    out: Path
    images: int
    shrinkage: float
    strength: float


def parse(argv: Sequence[str] | None) -> FitOptions:
    """Parse the command line; argparse exits with code 2 on an error."""
    parser = ArgumentParser(prog="python -m prune.fit_stem", description=main.__doc__)
    add_config_options(parser, required=True)
    parser.add_argument(
        "--data",
        metavar="ROOT",
        help="the folder of the data set itself, not its parent (default: data.root of the configuration)",
    )
    add_layout_option(parser)
    parser.add_argument(
        "--init",
        action="append",
        required=True,
        help="initial weights, as for prune.train: give one --init for the ViT and one for the stem's CNN",
    )
    parser.add_argument("--out", required=True, type=Path, help="the model.safetensors to write")
    parser.add_argument(
        "--images",
        type=positive_integer,
        default=20_000,
        metavar="N",
        help="how many augmented training crops to use (default: %(default)s)",
    )
    parser.add_argument(
        "--shrinkage",
        type=fraction,
        default=0.3,
        help="shrinkage of the within-person covariance matrix of the stem's features towards a scaled unit matrix, from 0 "
        "(not at all) to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        help="mean length of what the stem adds to the ViT's descriptor, relative to that descriptor (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if not 0 <= args.strength < math.inf:
        raise ConfigError(f"--strength {args.strength}: give a finite number of at least 0")
    return FitOptions(
        config_options(args),
        args.data,
        args.layout,
        tuple(args.init),
        args.out,
        args.images,
        args.shrinkage,
        args.strength,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write a hybrid model: the ViT's descriptor plus a projection of the stem's features, computed in closed form.

    The projection whitens the variation of the stem's features within each person of the training set.
    """
    run(parse(argv))
    return 0


def run(options: FitOptions) -> None:
    """Build the model, write it and print its path.

    Raises ConfigError when the configuration's variant has no stem, when its neck is not "before", or when `init` has no weights
    for the ViT or for the CNN.
    """
    import torch

    from prune.config.load import load_config
    from prune.importing.initial import initial_model
    from prune.model.file import save_model
    from prune.training.data import training_batches
    from prune.training.whitening import fit_skip, skip_inputs
    from runtime.console import note
    from runtime.wording import printable

    config = load_config(options.config.path, options.config.overrides)
    if config.architecture().vit.stem is None or config.model.neck != "before":
        raise ConfigError(
            f"model.variant {config.model.variant}, model.neck {config.model.neck}: the fit needs a variant with a stem and the "
            "neck `before`; add --set model.variant=hybrid_lite --set model.neck=before"
        )
    training = training_set(config, options.data, options.layout, config_path=options.config.path)
    dataset, spec = training.dataset, training.spec
    # Classifiers that no training has seen are of no use.
    config = dataclasses.replace(
        training.config, model=dataclasses.replace(training.config.model, identities=0)
    )
    initial = initial_model(config, options.init)
    if missing := initial.random_parts:
        raise ConfigError(
            f"--init {' --init '.join(options.init)}: the {' and the '.join(missing)} would keep random weights; give one --init for "
            "the ViT and one for the CNN"
        )
    for line in (*training.warnings, *initial.notes):
        note(line)
    batches = training_batches(dataset.train, spec, config.train)
    fitted = skip_inputs(initial.model, batches, options.images, workers=config.train.workers)
    with torch.no_grad():
        fit_skip(initial.model, *fitted, shrinkage=options.shrinkage, strength=options.strength)
    fit = {"images": len(fitted[2]), "shrinkage": options.shrinkage, "strength": options.strength}
    about = {"source": "fit_stem", "fit": fit} | notes(config, dataset, options.init)
    save_model(initial.model, options.out, spec, parent=initial.parent, notes=about)
    print(printable(str(options.out)))
