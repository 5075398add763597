"""`python -m prune.train`: train a TransReID model on a data set."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.cli.arguments import DEVICES, ConfigOptions, add_config_options, config_options
from prune.cli.training_set import notes, training_set
from runtime.datasets import READERS
from runtime.errors import ConfigError


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
    from runtime.stopping import keeping
    from runtime.wording import printable

    config, out = load_config(options.config.path, options.config.overrides), options.out
    if checkpoint_files(out) and not options.resume:
        raise ConfigError(f"{out}: holds a training run; add --resume to resume it, or choose another --out")
    training = training_set(config, options.data, options.layout, config_path=options.config.path)
    config, dataset, spec = training.config, training.dataset, training.spec
    accelerator = make_accelerator(config.train.precision, options.device)
    main_process = accelerator.is_main_process
    for warning in training.warnings if main_process else ():
        note(warning)
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
            initial.model,
            path,
            spec,
            parent=initial.parent,
            notes={"source": "train"} | notes(config, dataset, options.init),
        )
        print(printable(str(path)))


def resume_advice(checkpoints: Sequence[Path], out: Path) -> str:
    """Return the message of a stopped training: its newest checkpoint (the last of `checkpoints`) and how to resume."""
    if not checkpoints:
        return f"no checkpoint was written in {out} yet; the same command starts again from the beginning"
    return f"{checkpoints[-1]} is kept; add --resume to the same command to resume"
