"""Load the body model, which only the extra `render` installs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from benchmarks.people.person.body import BodyModel


def load_bodies() -> BodyModel:
    """Return the body model. Raises ConfigError if a package of the extra `render` is not installed."""
    # This import loads torch and anny, which only `body` needs.
    try:
        from benchmarks.people.person import body
    except ImportError as error:
        raise ConfigError(
            f"rendering people needs the package {error.name}; install it with pip install '.[render]'"
        ) from error
    return body.load()
