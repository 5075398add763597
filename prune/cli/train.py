"""Train a TransReID model: `python -m prune.train`. Puts data, model and loop together, decides nothing."""

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
    """What is trained, on what, and where the model goes. `data` and `layout` None are the configuration's."""

    config: ConfigOptions
    data: str | None
    layout: str | None
    out: Path
    init: str | None
    resume: bool
    device: str


def parse(argv: Sequence[str] | None) -> TrainOptions:
    """The options of a command line; argparse exits 2 where it is wrong."""
    parser = ArgumentParser(prog="python -m prune.train", description=main.__doc__)
    add_config_options(parser, required=True)
    parser.add_argument("--data", help="the data set's own folder (default: data.root of the configuration)")
    parser.add_argument(
        "--layout", choices=sorted(READERS), help="how the data set is laid out (data.layout, or guessed)"
    )
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument(
        "--init", help="imagenet, a model.safetensors, or a plain ViT's weights (.pth, .safetensors)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last snapshot in DIR")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    args = parser.parse_args(argv)
    return TrainOptions(
        config=config_options(args),
        data=args.data,
        layout=args.layout,
        out=Path(args.out),
        init=args.init,
        resume=args.resume,
        device=args.device,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train the unpruned model; writes DIR/model.safetensors, metrics.jsonl and snapshots to go on from."""
    run(parse(argv))
    return 0


def run(options: TrainOptions) -> None:
    """Train, write the model of the last epoch and print its name; ConfigError for a folder that holds another run."""
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
        raise ConfigError("say where the data set is: --data ROOT")
    if checkpoint_files(out) and not options.resume:
        raise ConfigError(
            f"{out}: holds a training run; add --resume to go on with it, or choose another --out"
        )
    dataset = training_images(read_dataset(root, options.layout or config.data.layout))
    config = fitted(config, dataset.train)
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
    begun = initial_model(config, options.init)
    for remark in begun.notes if main_process else []:
        note(remark)
    # The last epoch is the result: nothing is ever selected on the test set.
    with keeping(lambda: kept(checkpoint_files(out), out)):
        fit(
            begun.model,
            batches,
            config=config.train,
            out=out,
            resume=options.resume,
            accelerator=accelerator,
        )
    if main_process:
        path = out / "model.safetensors"
        save_model(begun.model, path, spec, parent=begun.parent, notes=notes(config, dataset, options.init))
        print(printable(str(path)))


def fitted(config: Config, items: Sequence[Item]) -> Config:
    """The configuration with the training set's identities and cameras.

    `model.identities` 0 is counted; `model.cameras` 0 means no camera embedding and stays. ConfigError when a
    number that is set differs from what the images have.
    """
    if not items:
        raise ConfigError("the training set is empty; check --data and its bounding_box_train")
    identities = len({item.pid for item in items})
    cameras = max(item.camid for item in items) + 1
    model = config.model
    for key, said, found in (
        ("identities", model.identities, identities),
        ("cameras", model.cameras, cameras),
    ):
        if said and said != found:
            raise ConfigError(
                f"model.{key} is {said}, the training set has {found}; check --data, or add "
                f"--set model.{key}={found}"
            )
    return dataclasses.replace(config, model=dataclasses.replace(model, identities=identities))


def notes(config: Config, dataset: Dataset, init: str | None) -> dict[str, Any]:
    """What the manifest says about how the model came to be."""
    return {
        "source": "train",
        "init": init if init in (None, "imagenet") else Path(init).name,
        "config": dataclasses.asdict(config),
        "data": {"layout": dataset.layout, "images": len(dataset.train)},
    }


def kept(saved: Sequence[Path], out: Path) -> str:
    """What a stopped training leaves (its snapshots, the newest last), and how to go on with it."""
    if not saved:
        return f"no snapshot had been written yet in {out}; the same command begins anew"
    return f"{saved[-1]} is kept; go on with the same command and --resume"
