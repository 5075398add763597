"""Kill the clients and the server of a gallery in the middle of their work, and check what is left."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.gallery.kills import Kills, kill_often, strike_process
from benchmarks.gallery.postgres.database import Database
from benchmarks.gallery.postgres.files import server_bytes

CLIENT, SERVER = "client", "server"
# A process is struck up to so many seconds after it began: a deletion takes longer than in a folder.
LONGEST_S = 0.4


def kill_clients_or_server(
    server: Database, folder: Path, count: int, *, struck: str, seed: int = 0
) -> tuple[Kills, int]:
    """Kill the client, or the server with all its processes, `count` times; `struck` says which.

    Returns what was found in tables and log, and the bytes of files that no table owns afterwards.
    """

    def strike(pid: int) -> None:
        if struck == SERVER:
            server.kill()
        else:
            strike_process(pid)

    def settle() -> None:
        if struck == SERVER:
            server.start()
        # what a killed client had asked for may still be done
        with server.connected() as db:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reid-gallery'"
            while db.execute(query).fetchone()[0]:
                time.sleep(0.01)

    place = server.create(f"kills_{struck}")
    result = kill_often(
        folder,
        count,
        seed=seed,
        target=place,
        strike=strike,
        settle=settle,
        longest_s=LONGEST_S,
    )
    orphans = len(server_bytes(place)["orphans"])
    server.drop(f"kills_{struck}")
    return result, orphans
