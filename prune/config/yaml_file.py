"""A YAML file as plain data. Knows no keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from runtime.errors import ConfigError
from runtime.wording import reason_of

# A configuration has a hundred values in a few kilobytes. The parser, which is slow, takes seconds over megabytes.
MOST, MOST_LETTERS = 10_000, 100_000
# Its time grows with the square of the brackets that are open at once.
DEEPEST = 50


class _Loader(yaml.SafeLoader):
    """The safe loader, which of a key that stands twice would keep the last without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and names.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands there twice", key.start_mark
                )
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path | str) -> dict[Any, Any]:
    """The sections of the file at `path`, empty for an empty file; ConfigError when it is no YAML or holds no sections."""
    try:
        data = load_value(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read the configuration ({error.strerror or error}); see configs/"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8 ({reason_of(error)}); see configs/") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid YAML ({error}); see configs/README.md") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: not a configuration (need sections such as model:); see configs/README.md"
        )
    return data


def load_value(text: str) -> Any:
    """The YAML text as Python's own types; ValueError, with the reason on one line, where it is none."""
    if len(text) > MOST_LETTERS:
        raise ValueError(f"{len(text):,} letters; a configuration has at most {MOST_LETTERS:,}")
    if _depth(text) > DEEPEST:
        raise ValueError(f"more than {DEEPEST} brackets are open at once")
    try:
        value = yaml.load(text, Loader=_Loader)
    # a date that does not exist, a number of thousands of digits, a thousand open brackets
    except (
        yaml.YAMLError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(reason_of(error)) from None
    _refuse_excess(value)
    return value


def _depth(text: str) -> int:
    """How many brackets are open at once at most; those in quotes and comments count as well."""
    depth = deepest = 0
    for letter in text:
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth = max(0, depth - 1)
    return deepest


def _refuse_excess(value: Any) -> None:
    """ValueError for more than MOST values, each counted as often as an alias repeats it, and for numbers beyond 64 bits.

    A few lines of aliases can stand for billions of values, and Python neither prints long numbers nor turns them into floats.
    """
    count, rest = 0, [value]
    while rest:
        inner = rest.pop()
        count += 1
        if count > MOST:
            raise ValueError(f"more than {MOST:,} values; its aliases (*name) repeat each other")
        if isinstance(inner, int) and abs(inner) >= 2**63:
            raise ValueError("a whole number of more than 64 bits")
        if isinstance(inner, dict):
            rest += [*inner, *inner.values()]
        elif isinstance(inner, list | tuple | set):
            rest += inner
