"""Checks of single configuration values: a fixed set of choices, or a range."""

from __future__ import annotations

from runtime.errors import ConfigError


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `choices`; `name` is the key that the message names."""
    if value not in choices:
        raise ConfigError(f"{name} {value!r} is not one of {', '.join(choices)}")


def within(name: str, value: float, low: float, high: float | None) -> None:
    """Raise ConfigError unless low <= value <= high; a `high` of None means that there is no upper limit."""
    # The comparisons are written so that nan fails too.
    if not (value >= low and (high is None or value <= high)):
        limits = f"at least {low}" if high is None else f"within {low}..{high}"
        raise ConfigError(f"{name} must be {limits}, not {value}")
