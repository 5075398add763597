"""Predicted latency: interpolation against a plane, and tables that are damaged or another model's."""

import json

import pytest

from prune.budget_search.latency import read_table
from prune.model.architecture import REMOVED
from runtime.errors import ConfigError
from tests.fakes import lite


def table(architecture, *, narrow=False, **changes):
    """A table whose times are a plane over heads and tokens; with `narrow`, neurons add a time per token."""
    grid = [{"heads": h, "tokens": t, "ms": 0.1 + 0.2 * h + 0.01 * t} for h in (1, 3, 6) for t in (4, 11, 22)]
    if narrow:
        grid = [row | {"hidden": 768, "ms": row["ms"] + 768e-6 * row["tokens"]} for row in grid]
        grid += [
            {"heads": 6, "tokens": t, "hidden": m, "ms": 0.1 + 1.2 + 0.01 * t + 1e-6 * m * t}
            for m in (192, 500)
            for t in (4, 11, 22)
        ]
    document = {"schema": 1, "complete": True, "grid": grid, "fixed_ms": 2.0}
    return document | {"model": {"sha256": "a", "shape": architecture.to_json()}} | changes


def written(tmp_path, content):
    path = tmp_path / "table.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(("heads", "tokens"), [(1, 4), (6, 22), (2, 7), (5, 21), (4, 11), (8, 30), (1, 2)])
def test_a_plane_is_predicted_exactly_on_between_and_beyond_the_points(tmp_path, heads, tokens):
    architecture = lite.architecture()
    latency = read_table(written(tmp_path, table(architecture)), architecture)
    assert latency.block_ms(heads, tokens) == pytest.approx(0.1 + 0.2 * heads + 0.01 * tokens)


def test_the_latency_of_a_model_is_its_fixed_part_plus_its_blocks(tmp_path):
    architecture = lite.architecture()
    latency = read_table(written(tmp_path, table(architecture)), architecture)
    assert latency.model_ms([6, 1], [22, 4]) == pytest.approx(2 + (0.1 + 1.2 + 0.22) + (0.1 + 0.2 + 0.04))
    with pytest.raises(ValueError):
        latency.model_ms([6], [22, 4])


def test_a_removed_block_costs_nothing_and_a_narrower_mlp_is_not_known(tmp_path):
    architecture = lite.architecture()
    latency = read_table(written(tmp_path, table(architecture)), architecture)
    whole = 2 + 7 * (0.1 + 0.2 * 6 + 0.01 * 22)
    assert latency.architecture_ms(architecture) == pytest.approx(whole)
    short = architecture.with_blocks((REMOVED, *architecture.blocks[1:]))
    assert latency.architecture_ms(short) == pytest.approx(whole - (0.1 + 0.2 * 6 + 0.01 * 22))
    assert latency.architecture_ms(lite.thinned().architecture) is None


@pytest.mark.parametrize(
    ("heads", "tokens", "hidden"), [(6, 22, 768), (1, 4, 192), (2, 7, 300), (6, 22, 64), (3, 11, 500)]
)
def test_narrower_mlps_are_predicted_where_they_were_measured(tmp_path, heads, tokens, hidden):
    architecture = lite.architecture()
    latency = read_table(written(tmp_path, table(architecture, narrow=True, schema=2)), architecture)
    assert latency.widths == (192, 500, 768)
    wanted = 0.1 + 0.2 * heads + 0.01 * tokens + 1e-6 * hidden * tokens
    assert latency.block_ms(heads, tokens, hidden) == pytest.approx(wanted)
    thin = lite.thinned().architecture
    there = [block for block in thin.blocks if not block.removed]
    blocks = [latency.block_ms(len(block.heads), len(block.tokens), block.hidden or 768) for block in there]
    assert latency.architecture_ms(thin) == pytest.approx(2 + sum(blocks))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"grid": [{"heads": "x"}]}', '{"grid": [], "schema": 1}']
)
def test_a_file_that_is_not_a_table_is_refused(tmp_path, content):
    with pytest.raises(ConfigError, match=r"table\.json.*python -m benchmarks\.latency_table"):
        read_table(written(tmp_path, content), lite.architecture())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"schema": 3}, "schema 3"),
        ({"grid": []}, "lacks"),
        ({"grid": table(lite.architecture(), narrow=True)["grid"][:-1], "schema": 2}, "lacks"),
        ({"complete": False}, "complete False"),
        ({"grid": table(lite.architecture())["grid"][:-1]}, "lacks"),
        ({"grid": [{"heads": 1, "tokens": 4, "ms": -1}]}, "lacks"),
    ],
)
def test_an_unfinished_or_damaged_table_is_refused(tmp_path, changes, word):
    with pytest.raises(ConfigError, match=word):
        read_table(written(tmp_path, table(lite.architecture(), **changes)), lite.architecture())


def test_another_models_table_is_refused(tmp_path):
    path = written(tmp_path, table(lite.architecture(stride=16)))
    with pytest.raises(ConfigError, match="stride 16.* 8"):
        read_table(path, lite.architecture())
