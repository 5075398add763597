"""Load a configuration file of this project, or one of the authors of TransReID and AMG, which prune.config.authors translates."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune.config.authors import translate
from prune.config.authors_keys import DEFAULTS, refuse_unknown, typed
from prune.config.clip_reid import is_own_key
from prune.config.model import InputConfig, ModelConfig
from prune.config.settings import DataConfig, PruneConfig, TrainConfig
from prune.config.yaml_file import load_value, read_yaml
from prune.importing.external import refuse_external
from prune.model.architecture import Architecture, unpruned
from runtime.errors import ConfigError
from runtime.spec import InputSpec
from runtime.wording import printable


@dataclass(frozen=True)
class Config:
    """A whole configuration file, one field per section."""

    model: ModelConfig = field(default_factory=ModelConfig)
    input: InputConfig = field(default_factory=InputConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def architecture(self) -> Architecture:
        """Return the architecture of the unpruned model."""
        keys = ("stride", "jpm", "rearrange", "cameras", "sie_coefficient", "identities", "neck", "family")
        values = {key: getattr(self.model, key) for key in (*keys, "pooling", "depth")}
        return unpruned(self.model.variant, height=self.model.size[0], width=self.model.size[1], **values)

    def spec(self) -> InputSpec:
        """Return the input specification of the torch model: normalised float images and, if it has camera embeddings, camera ids."""
        height, width = self.model.size
        return InputSpec(
            height=height,
            width=width,
            layout="float-nchw",
            mean=self.input.mean,
            std=self.input.std,
            interpolation=self.input.interpolation,
            camera="input" if self.model.cameras else "none",
            cameras=self.model.cameras,
            dataset=self.data.layout,
        )


def build_config(data: dict[str, Any], where: str = "the configuration") -> Config:
    """Return the configuration with the values of the nested dict `data`, such as {"model": {"stride": 12}}.

    Raises ConfigError, whose message begins with `where`, for an unknown key or a value of the wrong type.
    """
    config: Config = build(Config, data, where)
    return config


def load_config(path: Path | str | None, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration in the file at `path`, changed by `overrides`, which are texts such as `prune.tokens.fraction=0.25`.

    The file is one of this project, or one of TransReID, AMG and the projects that build on them. None stands for a file without
    keys. Raises ConfigError that names the file or the override, the key as
    it is written there and, for an unknown key, the nearest known one.
    """
    data = {} if path is None else read_yaml(path)
    refuse_external(data, str(path))
    is_authors_file = any(str(key).isupper() for key in data)
    our_overrides = []
    for override in overrides:
        keys, value = _split(override)
        if not keys[0].isupper():
            # The override is first checked alone, so that an error in it is not reported as an error in the file.
            build(Config, _nested(keys, value), f"--set {override}")
            our_overrides.append((keys, value, override))
        elif is_authors_file:
            _check_authors(keys, value, f"--set {override}")
            _put(data, keys, value, override)
        else:
            raise ConfigError(
                f"--set {override}: {keys[0]} is a section of the authors' files (TransReID and AMG), but "
                f"{'there is no file' if path is None else f'{path} is a file of this project'}; configs/README.md lists this "
                "project's key for each of theirs"
            )
    where = "the defaults" if path is None else str(path)
    if is_authors_file:
        data = translate(data, where)
        where = f"{path}, translated into this project's keys"
    for keys, value, override in our_overrides:
        _put(data, keys, value, override)
    return build(Config, data, where)


def refuse_overrides(path: Path | str, overrides: Sequence[str]) -> None:
    """Raise ConfigError if there are overrides for the model file at `path`, which holds its own architecture."""
    if overrides:
        raise ConfigError(
            f"{path}: holds its own architecture, so --set {overrides[0]} has no effect; leave out --set"
        )


def _split(override: str) -> tuple[list[str], Any]:
    key, equals, text = override.partition("=")
    keys = key.split(".")
    if not equals or not all(keys):
        raise ConfigError(
            f"--set {override}: write an override as section.key=value, such as prune.tokens.fraction=0.25"
        )
    try:
        return keys, load_value(text)
    except ValueError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML ({error})") from None


def _check_authors(keys: list[str], value: Any, where: str) -> None:
    if is_own_key(keys):
        # prune.config.authors checks it together with the file
        return
    if len(keys) != 2:
        raise ConfigError(
            f"{where}: write this override as SECTION.KEY=value, such as MODEL.STRIDE_SIZE=[12,12]"
        )
    refuse_unknown(keys[0], None, where)
    if keys[0] in DEFAULTS:
        refuse_unknown(keys[0], keys[1], where)
        typed(keys[0], keys[1], value, where)


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    return {keys[0]: _nested(keys[1:], value) if len(keys) > 1 else value}


def _put(data: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
        if not isinstance(data, dict):
            raise ConfigError(
                f"--set {override}: {key} is a value and not a section; configs/README.md lists the keys"
            )
    data[keys[-1]] = value


def build(kind: Any, data: Any, where: str) -> Any:
    """Return an instance of the configuration dataclass `kind`, made from the nested dict `data`.

    Raises ConfigError for an unknown key or a value of the wrong type. Its message begins with `where`, the origin of `data`.
    """
    if not isinstance(data, dict):
        keys = ", ".join(item.name for item in dataclasses.fields(kind))
        raise ConfigError(f"{where}: must be a section with the keys {keys}, not {data!r}")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    for key in data:
        if key not in fields:
            nearest = difflib.get_close_matches(str(key).lower(), fields, 1)
            hint = f"; did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown key {printable(str(key))}{hint}")
    values = {}
    for key, value in data.items():
        default = _default(fields[key])
        place = f"{where}: {key}"
        values[key] = (
            build(type(default), value, place)
            if dataclasses.is_dataclass(default)
            else _cast(value, str(fields[key].type), place)
        )
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _default(item: Any) -> Any:
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default


def _cast(value: Any, kind: str, place: str) -> Any:
    if value is None and "None" in kind:
        return None
    kind = kind.removesuffix(" | None")
    if kind.startswith("int | tuple"):
        kind = kind.removeprefix("int | ") if isinstance(value, list | tuple) else "int"
    if kind.startswith("tuple"):
        length = None if "..." in kind else kind.count(",") + 1
        item = "float" if "float" in kind else "int"
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            count = "" if length is None else f"{length} "
            raise ConfigError(f"{place} must be a list of {count}numbers, not {value!r}")
        return tuple(_cast(part, item, place) for part in value)
    if kind == "float" and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as a string.
        try:
            value = float(value)
        except ValueError:
            raise ConfigError(f"{place} must be a number, not {value!r}") from None
    allowed = {"bool": bool, "int": int, "float": (int, float), "str": str}[kind]
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind != "bool"):
        names = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
        raise ConfigError(f"{place} must be {names[kind]}, not {value!r}")
    return float(value) if kind == "float" else value
