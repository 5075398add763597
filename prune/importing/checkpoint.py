"""Import a published checkpoint: its tensors say what kind of model it is, and the configuration says the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from prune.config.load import Config, load_config
from prune.importing.convert import convert_state, read_checkpoint, split_checkpoint
from prune.importing.recognise import Recognised, described, recognise, refuse_foreign
from prune.model.families.table import FAMILIES
from prune.model.transreid import TransReID
from prune.model.variants import VARIANTS
from prune.origin import input_options
from runtime.console import note
from runtime.errors import ArtifactError


def import_checkpoint(
    path: Path | str, config: Config | None, *, overrides: Sequence[str] = ()
) -> tuple[TransReID, Config]:
    """Return (the model in the checkpoint at `path`, in eval mode on the CPU; `config`, changed to what the tensors show).

    The tensors decide the family, the variant, the number of blocks and whether there is a JPM. If `config` is None, the input size,
    the stride, the cameras and the number of identities come from the tensors too, and `overrides`, which are those of `load_config`,
    change what must be assumed; with a `config`, they are in it already. One line on stderr says what was recognised, what differs
    from the configuration, and what had to be assumed. Raises ArtifactError when the file cannot be read, is of another kind, or
    does not fit the configuration, and ConfigError for a wrong override.
    """
    if config is None:
        # a wrong override is an error before a large file is read
        load_config(None, overrides)
    state, lists = split_checkpoint(read_checkpoint(path), path)
    refuse_foreign(state, path)
    recognised = recognise(state)
    configured = config is not None
    if config is None:
        # AMG trained and evaluated with bicubic resizing; all others evaluated with bilinear resizing
        pruned_by_amg = any(key.endswith("attn.token_index") for key in state)
        resizing = f"input.interpolation={'bicubic' if pruned_by_amg else 'bilinear'}"
        config = load_config(None, (resizing, *overrides))
    if recognised is None:
        if not configured:
            raise ArtifactError(
                f"{path}: its tensors do not show which variant it is; add --config with the configuration that it was trained with"
            )
        return convert_state(state, lists, config.architecture(), path, config.model.drop_path), config
    settled, remarks = with_recognised(config, recognised, path, overrides=None if configured else overrides)
    model = convert_state(state, lists, settled.architecture(), path, settled.model.drop_path)
    # after the conversion, so that a checkpoint that does not fit gives one line alone
    note(f"{path}: recognised {described(recognised, settled.model.variant)}{remarks}")
    return model, settled


def with_recognised(
    config: Config, recognised: Recognised, path: Path | str, *, overrides: Sequence[str] | None
) -> tuple[Config, str]:
    """Return (`config` with what the tensors show, a remark for stderr that begins with a comma or semicolon, or is empty).

    `overrides` are those in `config` if there was no configuration file, and more then comes from the tensors: see
    `import_checkpoint`. They are None if there was one.
    """
    model = config.model
    variant = model.variant if model.variant in recognised.variants else recognised.variants[0]
    # an output of its own, or the JPM, leaves nothing to pool
    pools = FAMILIES[recognised.family].output == "class" and not recognised.jpm
    shown = {
        "family": recognised.family,
        "variant": variant,
        "jpm": recognised.jpm,
        "depth": recognised.depth,
        "pooling": model.pooling if pools else "class",
    }
    written = {name: getattr(model, name) for name in shown}
    if model.depth is None and model.variant in VARIANTS:
        written["depth"] = VARIANTS[model.variant].depth
    settled = dataclasses.replace(model, **shown)
    if overrides is None:
        differing = [f"model.{name} {written[name]}" for name in shown if written[name] != shown[name]]
        remark = (
            f"; the configuration says {', '.join(differing)}, but the tensors decide" if differing else ""
        )
        return dataclasses.replace(config, model=settled), remark
    settled = dataclasses.replace(settled, cameras=recognised.cameras, identities=recognised.identities)
    size, stride = _input(settled.size, settled.stride, recognised, path)
    settled = dataclasses.replace(settled, size=size, stride=stride)
    cameras = f", {recognised.cameras} cameras" if recognised.cameras else ""
    remark = f", {size[0]}x{size[1]} at stride {stride}{cameras}, {recognised.identities} identities"
    result = dataclasses.replace(config, model=settled)
    return result, remark + _assumed(result, overrides) + _ignored(config, result, overrides)


def _assumed(config: Config, overrides: Sequence[str]) -> str:
    """Return the part of the remark on what neither the tensors nor the overrides say."""
    model, image = config.model, config.input
    values = {
        "model.pooling": f"pooling {model.pooling}",
        "model.neck": f"neck {model.neck}",
        "input.mean": f"mean {image.mean[0]:g}",
        "input.std": f"std {image.std[0]:g}",
        "input.interpolation": f"{image.interpolation} resizing",
    }
    if model.cameras:
        values["model.sie_coefficient"] = f"camera coefficient {model.sie_coefficient:g}"
    given = {_key(override) for override in overrides}
    assumed = [text for key, text in values.items() if key not in given]
    if not assumed:
        return ""
    return f"; not in the tensors, and so assumed: {', '.join(assumed)} (--config or --set changes them)"


def _ignored(config: Config, result: Config, overrides: Sequence[str]) -> str:
    """Return the part of the remark on overrides of the model that say something else than the tensors."""
    names = {
        _key(override).removeprefix("model.") for override in overrides if _key(override).startswith("model.")
    }
    given, shown = (dataclasses.asdict(which.model) for which in (config, result))
    if shown["depth"] is None:
        shown["depth"] = VARIANTS[result.model.variant].depth
    differing = [f"model.{name} {given[name]}" for name in sorted(names) if given[name] != shown[name]]
    return f"; --set says {', '.join(differing)}, but the tensors decide" if differing else ""


def _key(override: str) -> str:
    return override.partition("=")[0]


def _input(
    size: tuple[int, int], stride: int, recognised: Recognised, path: Path | str
) -> tuple[tuple[int, int], int]:
    """Return (the input size, the stride) that give the recognised number of tokens; those given are kept if they fit."""
    options = input_options(recognised.tokens, FAMILIES[recognised.family].leading)
    if (size, stride) in options or not options:
        return size, stride
    at_size = [option for option in options if option[0] == size] or options
    if len(at_size) > 1:
        settings = " or ".join(
            f"--set 'model.size=[{h}, {w}]' --set model.stride={s}" for (h, w), s in at_size
        )
        raise ArtifactError(
            f"{path}: its {recognised.tokens} position embeddings fit several input sizes and strides; add {settings}, whichever it "
            "was trained with"
        )
    return at_size[0]
