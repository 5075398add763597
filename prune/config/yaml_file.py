"""Read a YAML file safely as plain data, with limits on its size. Imports no configuration keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from runtime.errors import ConfigError
from runtime.wording import reason_of

# A configuration has about a hundred values in a few kilobytes. The parser is slow and needs seconds for megabytes.
MAX_VALUES, MAX_CHARACTERS = 10_000, 100_000
# The parser's time grows with the square of the number of brackets that are open at once.
MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """The safe loader with one more check: a duplicate key is an error. SafeLoader would silently keep the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and names.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} appears twice", key.start_mark
                )
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path | str) -> dict[Any, Any]:
    """Return the content of the YAML file at `path` as a dict of its sections, or {} for an empty file.

    Raises ConfigError when the file cannot be read, is not YAML, is larger than a configuration can be, or holds a list or a single
    value instead of sections.
    """
    try:
        data = load_value(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: the configuration cannot be read ({error.strerror or error}); configs/ has examples"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: the file is not UTF-8 text ({reason_of(error)}); configs/ has examples"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path}: the file is not valid YAML ({error}); see configs/README.md") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: the file is not a configuration: it has no sections such as `model:`; see configs/README.md"
        )
    return data


def load_value(text: str) -> Any:
    """Return the value of a YAML text as Python's own types (dict, list, str, int and so on).

    Raises ValueError with a one-line reason when the text is not valid YAML or exceeds a limit of this module.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text):,} characters; a configuration has at most {MAX_CHARACTERS:,}")
    if _depth(text) > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} brackets are open at once")
    try:
        value = yaml.load(text, Loader=_Loader)
    # Causes are, for example, a date that does not exist, a number with thousands of digits or deep nesting.
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
    """Return the largest number of brackets open at once; brackets in quotes and comments count as well."""
    depth = largest = 0
    for character in text:
        if character in "[{":
            depth += 1
            largest = max(largest, depth)
        elif character in "]}":
            depth = max(0, depth - 1)
    return largest


def _refuse_excess(value: Any) -> None:
    """Raise ValueError for more than MAX_VALUES values, where every use of an alias counts, or for integers beyond 64 bits.

    A few lines of aliases can stand for billions of values, and Python neither prints very long integers nor converts them to
    floats.
    """
    count, pending = 0, [value]
    while pending:
        current = pending.pop()
        count += 1
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values, where every use of an alias (*name) counts")
        if isinstance(current, int) and abs(current) >= 2**63:
            raise ValueError("an integer of more than 64 bits")
        if isinstance(current, dict):
            pending += [*current, *current.values()]
        elif isinstance(current, list | tuple | set):
            pending += current
