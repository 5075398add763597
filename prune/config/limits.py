"""Limits on the values of a configuration. Knows no key."""

from __future__ import annotations

from runtime.errors import ConfigError


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """ConfigError unless the value is one of the choices."""
    if value not in choices:
        raise ConfigError(f"{name} {value!r} is not one of {', '.join(choices)}")


def within(name: str, value: float, low: float, high: float | None) -> None:
    """ConfigError unless low <= value <= high; a high of None means no upper limit."""
    # Written so that nan fails too.
    if not (value >= low and (high is None or value <= high)):
        limits = f"at least {low}" if high is None else f"within {low}..{high}"
        raise ConfigError(f"{name} must be {limits}, not {value}")
