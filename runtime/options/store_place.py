"""Where a gallery is: a folder, or the address of a PostgreSQL server, whose password no message shows."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import ConfigError

SCHEMES = ("postgresql://", "postgres://")


@dataclass(frozen=True)
class ServerAddress:
    """The address of a gallery on a PostgreSQL server. As text it has no password; `url` is the whole of it."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        return without_password(self.url)


# A folder, or a server.
StorePlace = Path | ServerAddress


def store_place(place: str | os.PathLike[str] | ServerAddress) -> StorePlace:
    """Return the folder or the server that `place` names: an address begins with postgresql://, anything else is a folder.

    Raises ConfigError for an address that went through a Path, which drops a slash.
    """
    if isinstance(place, ServerAddress):
        return place
    text = os.fspath(place)
    if isinstance(place, str) and text.lower().startswith(SCHEMES):
        return ServerAddress(text)
    if text.lower().startswith(("postgresql:/", "postgres:/")):
        raise ConfigError(
            "the address of a server was given as a Path; give it as text that begins with postgresql://"
        )
    return Path(place)


def without_password(url: str) -> str:
    """Return the address of a server without its password, also if the password breaks the rules of addresses."""
    scheme, _, rest = url.partition("://")
    user, at, where = rest.rpartition("@")
    shown = f"{scheme}://{user.partition(':')[0]}{at}{where}"
    return re.sub(r"[?&]$|(?<=[?&])&", "", re.sub(r"(?i)(?<=[?&;])\w*password=[^&;]*[&;]?", "", shown))
