"""`python -m prune.convert`: convert a published checkpoint (.pth) to a model.safetensors."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.cli.arguments import ConfigOptions, add_config_options, config_options
from runtime.errors import ConfigError


@dataclass(frozen=True)
class ConvertOptions:
    """The published checkpoint, the configuration that it was trained with (its path may be None), and the model file to write."""

    checkpoint: str
    config: ConfigOptions
    out: str


def parse(argv: Sequence[str] | None) -> ConvertOptions:
    """Return the parsed command line. Raises ConfigError when --out is the checkpoint; argparse exits with code 2 on other errors."""
    parser = ArgumentParser(prog="python -m prune.convert", description=main.__doc__)
    parser.add_argument(
        "checkpoint",
        help="the checkpoint (.pth) of TransReID, AMG, TransReID-SSL, PersonViT, PASS or CLIP-ReID",
    )
    add_config_options(
        parser,
        text="the configuration that it was trained with: a file of this project, or the authors' .yml; not needed where the tensors "
        "show the model, but pooling, neck, normalisation and data set are then assumed",
    )
    parser.add_argument("--out", required=True, help="the model.safetensors to write")
    args = parser.parse_args(argv)
    if Path(args.out).resolve() == Path(args.checkpoint).resolve():
        raise ConfigError(f"--out {args.out}: is the checkpoint itself; choose another name")
    return ConvertOptions(args.checkpoint, config_options(args), args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert a published checkpoint to a model.safetensors with its manifest; its tensors show the family and the variant."""
    run(parse(argv))
    return 0


def run(options: ConvertOptions) -> None:
    """Convert the checkpoint, write the model, and print its architecture."""
    from prune.config.load import load_config
    from prune.importing.checkpoint import import_checkpoint
    from prune.model.file import save_model
    from prune.origin import checkpoint_spec
    from runtime.files.manifest import sha256
    from runtime.wording import printable

    checkpoint, out = options.checkpoint, options.out
    given, overrides = options.config.path, options.config.overrides
    config = load_config(given, overrides) if given else None
    model, config = import_checkpoint(checkpoint, config, overrides=overrides)
    spec = checkpoint_spec(config, model.architecture, checkpoint)
    save_model(model, out, spec, parent=sha256(checkpoint), notes={"source": "convert"})
    architecture = model.architecture
    print(
        f"{printable(out)}: {architecture.kind.title}, {architecture.variant}, {architecture.identities} identities, "
        f"{architecture.cameras} cameras\n"
        f"heads per block {[len(block.heads) for block in architecture.blocks]}\n"
        f"tokens per block {[len(block.tokens) for block in architecture.blocks]}"
    )
