"""`python -m prune.train`: train a TransReID model on a data set."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.cli.arguments import DEVICES, ConfigOptions, add_config_options, config_options
from runtime.datasets import READERS
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from prune.config.load import Config
    from runtime.datasets import Dataset, Item


@dataclass(frozen=True)
class TrainOptions:
    """The configuration, the data set, the initial weights and the output folder. `data` and `layout` of None come from `config`."""

    config: ConfigOptions
    data: str | None
    layout: str | None
    out: Path
    init: tuple[str, ...]
    resume: bool
    device: str


def parse(argv: Sequence[str] | None) -> TrainOptions:
    """Parse the command line; argparse exits with code 2 on an error."""
    parser = ArgumentParser(prog="python -m prune.train", description=main.__doc__)
    add_config_options(parser, required=True)
    parser.add_argument(
        "--data",
        help="the folder of the data set itself, not its parent (default: data.root of the configuration)",
    )
    parser.add_argument(
        "--layout",
        choices=sorted(READERS),
        help="layout of the data set (default: data.layout of the configuration, or guessed)",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--init",
        action="append",
        default=[],
        help="initial weights: imagenet, a model.safetensors, or the weights of a plain ViT (.pth, .safetensors); for the stem of "
        "a hybrid model timm:NAME, or a file with the weights of its CNN. Can be given several times",
    )
    parser.add_argument(
        "--resume", action="store_true", help="resume the stopped run in DIR from its newest checkpoint"
    )
    parser.add_argument(
        "--device",
        default="auto",
        choices=DEVICES,
        help="auto: CUDA if there is a GPU, else the CPU (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    return TrainOptions(
        config=config_options(args),
        data=args.data,
        layout=args.layout,
        out=Path(args.out),
        init=tuple(args.init),
        resume=args.resume,
        device=args.device,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train an unpruned model. Write DIR/model.safetensors, metrics.jsonl, and checkpoints from which a stopped run resumes."""
    run(parse(argv))
    return 0


def run(options: TrainOptions) -> None:
    """Train, write the model after the last epoch and print its path. Raises ConfigError when `out` holds another run."""
    from prune.config.load import load_config
    from prune.importing.initial import initial_model
    from prune.model.file import save_model
    from prune.training.checkpoints import checkpoint_files
    from prune.training.data import training_batches
    from prune.training.loop import fit, make_accelerator
    from runtime.console import note
    from runtime.datasets import count_warnings, read_dataset, training_images
    from runtime.datasets.cameras import dataset_name
    from runtime.stopping import keeping
    from runtime.wording import printable

    config, out = load_config(options.config.path, options.config.overrides), options.out
    root = options.data or config.data.root
    if not root:
        raise ConfigError(f"{options.config.path}: the configuration has no data.root; add --data ROOT")
    if checkpoint_files(out) and not options.resume:
        raise ConfigError(f"{out}: holds a training run; add --resume to resume it, or choose another --out")
    dataset = training_images(read_dataset(root, options.layout or config.data.layout))
    config = with_identities(config, dataset.train)
    warnings = count_warnings(dataset)
    accelerator = make_accelerator(config.train.precision, options.device)
    main_process = accelerator.is_main_process
    for warning in (*warnings, *dataset.left_out) if main_process else ():
        note(warning)
    spec = dataclasses.replace(config.spec(), dataset=dataset_name(dataset.layout, warnings))
    batches = training_batches(
        dataset.train,
        spec,
        config.train,
        rank=accelerator.process_index,
        ranks=accelerator.num_processes,
    )
    initial = initial_model(config, options.init)
    for remark in initial.notes if main_process else []:
        note(remark)
    # The model after the last epoch is the result, because no epoch is selected on the test set.
    with keeping(lambda: resume_advice(checkpoint_files(out), out)):
        fit(
            initial.model,
            batches,
            config=config.train,
            out=out,
            resume=options.resume,
            accelerator=accelerator,
        )
    if main_process:
        path = out / "model.safetensors"
        save_model(
            initial.model, path, spec, parent=initial.parent, notes=notes(config, dataset, options.init)
        )
        print(printable(str(path)))


def with_identities(config: Config, items: Sequence[Item]) -> Config:
    """Return the configuration with the number of identities in the training set.

    Raises ConfigError when `model.identities` or `model.cameras` is set (not 0) and differs from the training set. A
    `model.cameras` of 0 means no camera embedding and stays 0.
    """
    if not items:
        raise ConfigError(
            "the training set is empty; give as --data the folder of a data set with training images (as in bounding_box_train)"
        )
    identities = len({item.pid for item in items})
    cameras = max(item.camid for item in items) + 1
    model = config.model
    for key, configured, counted in (
        ("identities", model.identities, identities),
        ("cameras", model.cameras, cameras),
    ):
        if configured and configured != counted:
            raise ConfigError(
                f"model.{key} is {configured}, but the training set has {counted}; check --data, or add "
                f"--set model.{key}={counted}"
            )
    return dataclasses.replace(config, model=dataclasses.replace(model, identities=identities))


def notes(config: Config, dataset: Dataset, init: Sequence[str]) -> dict[str, Any]:
    """Return the manifest entries about the training: initial weights, configuration and data."""
    names = [source if source == "imagenet" else Path(source).name for source in init]
    return {
        "source": "train",
        "init": names[0] if len(names) == 1 else names or None,
        "config": dataclasses.asdict(config),
        "data": {"layout": dataset.layout, "images": len(dataset.train)},
    }


def resume_advice(checkpoints: Sequence[Path], out: Path) -> str:
    """Return the message of a stopped training: its newest checkpoint (the last of `checkpoints`) and how to resume."""
    if not checkpoints:
        return f"no checkpoint was written in {out} yet; the same command starts again from the beginning"
    return f"{checkpoints[-1]} is kept; add --resume to the same command to resume"
