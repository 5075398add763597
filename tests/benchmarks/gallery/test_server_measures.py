"""The measurements of a gallery on a server count what they say, on small galleries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gallery.checks import Findings
from benchmarks.gallery.kills import Kills
from benchmarks.gallery.postgres import cli, kills, report
from benchmarks.gallery.postgres.database import Database, database
from benchmarks.gallery.postgres.erased import measure_server_erased
from benchmarks.gallery.postgres.ingest import measure_server_ingest
from benchmarks.gallery.postgres.kills import CLIENT, SERVER
from runtime import save_features
from runtime.errors import GateError
from tests.benchmarks.gallery.test_measures import people
from tests.runtime.gallery.conftest import needs_server

FAST = {"fsync": "off"}


@needs_server
def test_clients_that_add_together_are_measured_and_their_rows_counted() -> None:
    with database(settings=FAST) as server:
        result = measure_server_ingest(server, clients=2, rows=64, dim=16, batch=8, rounds=2)
        assert (result.rows, result.clients) == (64, 2) and 0 < result.rows_per_s <= result.best_rows_per_s
        assert result.bytes_per_row > 64 and result.against_raw == pytest.approx(result.bytes_per_row / 64)
        ways = measure_server_erased(server, ("image",))
    # every string is in some file before, or the search for it would prove nothing
    assert [(way.before, way.sought, way.rows) for way in ways] == [(5, 5, 1)]
    assert not any(way.in_tables or way.in_log for way in ways)
    assert "| image | 1 | 5 | 5 | 0 | 0 |" in report.erased({"results": [vars(way) for way in ways]})


@needs_server
def test_a_search_is_measured_in_a_folder_and_on_a_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_features(tmp_path / "p.npz", people(60))
    words = [
        "search",
        "--rows",
        "400",
        "--dims",
        "16",
        "--searches",
        "3",
        "--queries",
        "20",
    ]
    cli.main([*words, "--people", f"made={tmp_path / 'p.npz'}", "--json"])
    document = json.loads(capsys.readouterr().out)
    folder, server = document["results"]
    assert (folder["store"], server["store"]) == ("folder", "server") and str(tmp_path) not in document[
        "command"
    ].split("--people")[0]
    assert folder["recalls"][0]["exact_hits"] == server["recalls"][0]["exact_hits"] > 0
    assert server["recalls"][0]["recall"] > 0.9 and server["index_bytes"] > 0
    assert "| 400 x 16 | exact |" in report.search(document) and "calculated" in report.growth(document)
    assert report.size(document).count("\n") == 3


@needs_server
def test_a_lost_row_ends_the_measurement_of_kills_with_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def struck(server: Database, folder: Path, count: int, *, struck: str) -> tuple[Kills, int]:
        return Kills(count, 9, {"add": count}, Findings(lost=int(struck == CLIENT)), 5, 0), 0

    monkeypatch.setattr(kills, "kill_clients_or_server", struck)
    with pytest.raises(GateError):
        cli.main(["kills", "--count", "3", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [(result["struck"], result["findings"]["lost"]) for result in document["results"]] == [
        (CLIENT, 1),
        (SERVER, 0),
    ]
    assert document["results"][0].keys() == document["results"][1].keys()
    assert "| client | 3 | 3 add | 1 | 0 | 0 | 0 | 0 | 0 of 5 | 0 |" in report.survival(document)
