"""Measure a gallery on a PostgreSQL server, which is started here: kills, deleted bytes, speed and size. Rows are synthetic."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gallery.options import command_line, named, numbers
from benchmarks.gallery.postgres.database import Database, database
from runtime.console import print_json, print_table
from runtime.errors import GateError
from runtime.options.argument_types import positive_integer

# The measurements with a place for pages as a server for galleries has it; the default of PostgreSQL is 128 MB.
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "2GB"}
COMMAND = "python -m benchmarks.gallery.postgres"


@dataclass(frozen=True)
class Options:
    """What to measure (`name`), with the values of its options; `at` is a folder for the server (None: a temporary one)."""

    name: str
    count: int
    rows: int
    rounds: int
    dims: tuple[int, ...]
    batches: tuple[int, ...]
    clients: tuple[int, ...]
    people: tuple[tuple[str, Path], ...]
    searches: int
    queries: int
    index: bool
    at: Path | None
    as_json: bool
    command: str


def parse(argv: Sequence[str]) -> Options:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    texts = {
        "kills": "kill the client and the server again and again, and check what is left",
        "erased": "look for the bytes of deleted rows in the files of the server",
        "ingest": "measure how fast rows are stored, by one client and by several",
        "search": "measure exact and indexed search in a folder and on the server, in turn",
    }
    made = {name: commands.add_parser(name, help=text) for name, text in texts.items()}
    for subcommand in made.values():
        subcommand.add_argument("--at", type=Path, metavar="DIR", help="run the server below DIR")
        subcommand.add_argument(
            "--json", action="store_true", help="one JSON document on stdout instead of a table"
        )
    made["kills"].add_argument("--count", type=positive_integer, default=50, help="kills of each kind")
    ingest, search = made["ingest"], made["search"]
    ingest.add_argument("--rows", type=positive_integer, default=8192, help="rows of a round")
    ingest.add_argument("--rounds", type=positive_integer, default=3, help="rounds")
    ingest.add_argument("--dims", type=numbers, default=(768, 64), metavar="D,...", help="widths")
    ingest.add_argument("--batches", type=numbers, default=(32, 1024), metavar="N,...", help="batch sizes")
    ingest.add_argument("--clients", type=numbers, default=(1, 2), metavar="N,...", help="clients at once")
    search.add_argument("--rows", type=positive_integer, default=100_000, help="rows of the gallery")
    search.add_argument("--dims", type=numbers, default=(768, 64), metavar="D,...", help="widths")
    search.add_argument(
        "--searches", type=positive_integer, default=40, help="queries that are timed one by one"
    )
    search.add_argument("--queries", type=positive_integer, default=500, help="queries for the recall")
    search.add_argument("--no-index", action="store_true", help="measure no index")
    search.add_argument(
        "--people",
        type=named,
        action="append",
        required=True,
        metavar="NAME=F.npz",
        help="features of labelled people",
    )
    args = vars(parser.parse_args(argv))
    empty: tuple[Any, ...] = ()
    return Options(
        args["name"],
        args.get("count", 0),
        args.get("rows", 0),
        args.get("rounds", 0),
        args.get("dims", empty),
        args.get("batches", empty),
        args.get("clients", empty),
        tuple(args.get("people", empty)),
        args.get("searches", 0),
        args.get("queries", 0),
        not args.get("no_index", False),
        args["at"],
        args["json"],
        command_line(COMMAND, argv),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement. Raises GateError if a row was lost, came back, was doubled or damaged, or left bytes behind."""
    options = parse(sys.argv[1:] if argv is None else argv)
    with database(options.at, SETTINGS) as server, tempfile.TemporaryDirectory(dir=options.at) as folder:
        with server.connected() as db:
            (version,) = db.execute("SHOW server_version").fetchone()
            (vector,) = db.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        results, failure = _measured(options, server, Path(folder))
    software = {"postgresql": version, "pgvector": vector}
    if options.as_json:
        from benchmarks.host import describe_host

        host = describe_host(device="cpu", threads=None)
        print_json({"command": options.command, "host": host, "software": software, "results": results})
    else:
        rows = [
            {key: value for key, value in result.items() if not isinstance(value, list | tuple)}
            for result in results
        ]
        print_table(options.name, list(rows[0]), [[str(value) for value in row.values()] for row in rows])
    if failure:
        raise GateError(failure)
    return 0


def _measured(options: Options, server: Database, folder: Path) -> tuple[list[dict[str, Any]], str | None]:
    """Return the results, and the text of the failure that they show, or None."""
    if options.name == "kills":
        from benchmarks.gallery.postgres.kills import CLIENT, SERVER, kill_clients_or_server

        results, faults = [], 0
        for struck in (CLIENT, SERVER):
            (folder / struck).mkdir()
            result, orphans = kill_clients_or_server(server, folder / struck, options.count, struck=struck)
            results.append({"struck": struck, "orphan_bytes": orphans} | asdict(result))
            faults += result.findings.faults + result.erased_found
        return results, "the gallery did not survive a kill; see the table" if faults else None
    if options.name == "erased":
        from benchmarks.gallery.postgres.erased import measure_server_erased

        erased = measure_server_erased(server)
        left = any(one.in_tables or one.in_log for one in erased)
        return [
            asdict(one) for one in erased
        ], "bytes of deleted rows are left; see the table" if left else None
    if options.name == "ingest":
        from benchmarks.gallery.postgres.ingest import measure_server_ingest

        return [
            asdict(
                measure_server_ingest(
                    server, clients=clients, rows=options.rows, dim=dim, batch=batch, rounds=options.rounds
                )
            )
            for dim in options.dims
            for batch in options.batches
            for clients in options.clients
        ], None
    from benchmarks.gallery.labelled import read_people
    from benchmarks.gallery.speed.search import measure_search

    people = read_people(options.people)
    return [
        {"store": store}
        | asdict(
            measure_search(
                server.create(f"s{dim}") if store == "server" else folder / str(dim),
                people,
                rows=options.rows,
                dim=dim,
                searches=options.searches,
                queries=options.queries,
                index=options.index,
            )
        )
        for dim in options.dims
        for store in ("folder", "server")
    ], None
