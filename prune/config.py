"""Configuration: our YAML, checked key by key. The authors' files are translated by prune.authors."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from prune.authors import translate
from prune.settings import DataConfig, InputConfig, ModelConfig, PruneConfig, TrainConfig
from prune.shape import Shape, unpruned
from runtime.errors import ConfigError
from runtime.spec import InputSpec


@dataclass(frozen=True)
class Config:
    """A whole configuration file."""

    model: ModelConfig = field(default_factory=ModelConfig)
    input: InputConfig = field(default_factory=InputConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def shape(self) -> Shape:
        """The unpruned model's shape."""
        keys = ("stride", "jpm", "rearrange", "cameras", "sie_coefficient", "identities", "neck")
        values = {key: getattr(self.model, key) for key in keys}
        return unpruned(self.model.variant, height=self.model.size[0], width=self.model.size[1], **values)

    def spec(self) -> InputSpec:
        """The torch model's input: normalised float, the camera a second input where there is a table."""
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


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read ours or the authors' YAML and apply `section.key=value` overrides.

    ConfigError names the file, the key and, for an unknown one, the nearest that exists.
    """
    try:
        data = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the configuration ({error}); see configs/") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({error}); see configs/README.md") from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: not a configuration (need sections such as model:); see configs/README.md"
        )
    authors = any(str(key).isupper() for key in data)
    ours = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set {override}: write section.key=value, such as prune.tokens.fraction=0.25"
            )
        if authors and key.split(".")[0].isupper():
            _put(data, key.split("."), _value(text, override), override)
        else:
            ours.append((key, _value(text, override)))
    if authors:
        try:
            data = translate(data, str(path))
        except (TypeError, IndexError, KeyError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"{path}: a key holds what it should not ({error}); see configs/README.md"
            ) from None
    for key, value in ours:
        _put(data, key.split("."), value, f"{key}={value}")
    return build(Config, data, str(path))


def _value(text: str, override: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from None


def _put(data: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {override}: {key} is a value, not a section")
    data[keys[-1]] = value


def build(kind: Any, data: Any, where: str) -> Any:
    """A (nested) config dataclass from plain data; ConfigError for unknown keys and wrong types."""
    if not isinstance(data, dict):
        raise ConfigError(
            f"{where}: need a section with keys {[f.name for f in dataclasses.fields(kind)]}, got {data!r}"
        )
    fields = {item.name: item for item in dataclasses.fields(kind)}
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown key {key}{hint}")
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
            many = "" if length is None else f"{length} "
            raise ConfigError(f"{place} must be a list of {many}numbers, not {value!r}")
        return tuple(_cast(part, item, place) for part in value)
    if kind == "float" and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as a string.
        try:
            value = float(value)
        except ValueError:
            raise ConfigError(f"{place} must be a number, not {value!r}") from None
    right = {"bool": bool, "int": int, "float": (int, float), "str": str}[kind]
    if not isinstance(value, right) or (isinstance(value, bool) and kind != "bool"):
        raise ConfigError(f"{place} must be {kind}, not {value!r}")
    return float(value) if kind == "float" else value
