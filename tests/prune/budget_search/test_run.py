"""prune.py --search end to end on eight people, and everything that it refuses."""

import json

import numpy as np
import pytest
from PIL import Image

from prune.budget_search.goal import Goal, SearchOptions
from prune.budget_search.run import held_out
from prune.cli import prune
from prune.config.settings import HeadConfig, PruneConfig
from prune.model.file import load_model, save_model
from runtime.datasets import Item
from runtime.entry import guarded
from runtime.errors import ConfigError, DataError
from tests.fakes import lite
from tests.fakes.undrawn import surgery_undrawn

CONFIG = """
model: {variant: vit_lite, size: [64, 32], stride: 8, cameras: 3, identities: 8, drop_path: 0}
data: {layout: market1501}
prune: {batches: 1, identities: 2, images: 2}
train: {optimizer: adamw, lr: 1e-4, identities: 4, images: 2, fine_epochs: 0, final_epochs: 0, warmup_epochs: 0}
"""


@pytest.fixture(scope="module", autouse=True)
def fast_surgery():
    """A search makes several hundred models."""
    with surgery_undrawn():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    for folder, people in (
        ("bounding_box_train", range(1, 9)),
        ("query", [21, 22]),
        ("bounding_box_test", [21, 22]),
    ):
        (root / folder).mkdir()
        for person in people:
            random = np.random.default_rng(person)
            colours = random.integers(30, 200, (2, 1, 3))
            for camera in (1, 2):
                pixels = np.repeat(colours, 32, axis=0).repeat(32, axis=1) + 10 * camera
                name = f"{person:04d}_c{camera}s1_000001_00.png"
                Image.fromarray(pixels.astype(np.uint8)).save(root / folder / name)
    return root


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    root = tmp_path_factory.mktemp("teacher")
    (root / "config.yaml").write_text(CONFIG)
    save_model(lite.model(identities=8), root / "model.safetensors", lite.SPEC)
    return root


def table(path, **changes):
    """A table in which a token costs much, a head and a neuron little."""
    architecture = lite.architecture(identities=8)
    grid = [
        {"heads": h, "tokens": t, "hidden": m, "ms": 0.01 * h + 0.1 * t + 1e-6 * m * t}
        for h, m in ((1, 768), (6, 768), (6, 192))
        for t in (2, 22)
    ]
    document = {"schema": 2, "complete": True, "grid": grid, "fixed_ms": 1.0}
    path.write_text(
        json.dumps(document | {"model": {"sha256": "a", "shape": architecture.to_json()}} | changes)
    )
    return path


POINT_KEYS = {"heads", "tokens", "hidden", "cost", "damage"}


def run(teacher, data, out, *more):
    weights = ["--config", str(teacher / "config.yaml"), "--weights", str(teacher / "model.safetensors")]
    argv = [*weights, "--data", str(data), "--out", str(out), "--device", "cpu", "--evaluate", "none"]
    return guarded(prune.main, [*argv, *map(str, more)])


def test_a_latency_goal_is_met_by_the_model_and_its_frontier_is_written(teacher, data, tmp_path, capsys):
    out, goal = tmp_path / "out", 12.0
    words = ["--search", "--goal", f"latency_ms={goal}", "--latency-table", table(tmp_path / "t.json")]
    assert run(teacher, data, out, *words) == 0
    pareto = json.loads((out / "pareto.json").read_text())
    blocks = load_model(out / "model.safetensors")[0].architecture.blocks[:7]
    counts = [(len(block.heads), len(block.tokens), block.hidden or 768) for block in blocks]
    assert counts == list(zip(*(pareto["chosen"][axis] for axis in ("heads", "tokens", "hidden"))))
    cost = 1 + sum(0.01 * heads + 0.1 * tokens + 1e-6 * hidden * tokens for heads, tokens, hidden in counts)
    assert cost == pytest.approx(pareto["chosen"]["cost"]) and goal - 1 < cost <= goal
    # heads cost next to nothing here
    assert sum(heads for heads, *_ in counts) > 6 * 5
    # the keys of the file are older than the names in the code
    assert pareto["points"] and all(
        set(point) == POINT_KEYS for point in [pareto["chosen"], *pareto["points"]]
    )
    assert [set(block) for block in pareto["damages"]] == [{"heads", "tokens", "neurons"}] * 7
    assert pareto["held_out"] == {"images": 4, "people": 2} and pareto["unit"] == "ms"
    assert "search: heads" in capsys.readouterr().err


def test_multiply_adds_need_no_table(teacher, data, tmp_path):
    assert run(teacher, data, tmp_path / "out", "--search", "--goal", "macs=2.5e7") == 0
    assert (
        json.loads((tmp_path / "out" / "result.json").read_text())["after"]["flops"]["macs_folded"] <= 2.5e7
    )


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["--search"], "--goal"),
        (["--goal", "macs=1"], "--search"),
        (["--over", "heads"], "--search"),
        (
            ["--search", "--goal", "macs=2e7", "--over", "heads,widths"],
            "--over widths",
        ),
        (["--search", "--goal", "macs=2e7", "--set", "prune.mlp.pruned=0.5"], "prune.mlp"),
        (["--search", "--goal", "latency_ms=1"], "--latency-table"),
        (["--search", "--goal", "macs=1"], "cheapest"),
        (["--search", "--goal", "map=0.9", "--set", "prune.mode=kv"], "bypass"),
    ],
)
def test_what_cannot_be_searched_is_one_line_and_leaves_no_model(
    teacher, data, tmp_path, capsys, words, word
):
    assert run(teacher, data, tmp_path / "out", *words) == 2
    assert word in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_table_without_narrower_mlps_chooses_of_heads_and_tokens_alone(teacher, data, tmp_path, capsys):
    grid = [{"heads": h, "tokens": t, "ms": 0.01 * h + 0.1 * t} for h in (1, 6) for t in (2, 22)]
    words = [
        "--search",
        "--goal",
        "latency_ms=12",
        "--latency-table",
        table(tmp_path / "t.json", grid=grid, schema=1),
    ]
    assert run(teacher, data, tmp_path / "no", *words) == 2
    assert "--over heads,tokens" in capsys.readouterr().err
    assert run(teacher, data, tmp_path / "out", *words, "--over", "heads,tokens") == 0
    architecture = load_model(tmp_path / "out" / "model.safetensors")[0].architecture
    assert (
        architecture.hidden == (768,) * 7 and sum(len(block.tokens) for block in architecture.blocks) < 7 * 22
    )


def test_over_neurons_removes_only_neurons(teacher, data, tmp_path):
    words = ["--search", "--goal", "macs=5e7", "--over", "neurons"]
    assert run(teacher, data, tmp_path / "out", *words) == 0
    architecture = load_model(tmp_path / "out" / "model.safetensors")[0].architecture
    pareto = json.loads((tmp_path / "out" / "pareto.json").read_text())
    assert list(architecture.hidden) == pareto["chosen"]["hidden"] and min(architecture.hidden) < 768
    assert all((len(block.heads), len(block.tokens)) == (6, 22) for block in architecture.blocks)


def test_held_out_people_are_not_scored_on():
    items = tuple(Item(f"{pid}_{camera}.png", pid, camera) for pid in range(12) for camera in (0, 1))
    rest, chosen, cameras = held_out(items, [item.camid for item in items])
    assert not {item.pid for item in rest} & {item.pid for item in chosen}
    assert {item.pid for item in chosen} == {0, 4, 8} and len(rest) == 18
    assert cameras.tolist() == [item.camid for item in chosen]


@pytest.mark.parametrize("people, cameras", [(4, 2), (12, 1)])
def test_too_few_people_to_hold_out_are_refused(people, cameras):
    items = tuple(Item("x", pid, camera) for pid in range(people) for camera in range(cameras))
    with pytest.raises(DataError, match="two cameras"):
        held_out(items, [item.camid for item in items])


def test_two_searches_are_the_same_with_the_same_goal_and_table(tmp_path):
    first, second = table(tmp_path / "a.json"), table(tmp_path / "b.json", fixed_ms=2.0)
    described = [SearchOptions(Goal("latency_ms", 3), path).to_json() for path in (first, first, second)]
    assert described[0] == described[1] != described[2]


def test_kept_counts_win_over_fractions_and_go_with_one_round(teacher, data, tmp_path, capsys):
    words = ["--set", "prune.heads.kept=[6,5,4,3,2,1,6]", "--set", "prune.tokens.kept=[22,9,9,9,9,9,2]"]
    words += ["--set", "prune.mlp.kept=[768,700,9,9,9,9,1]", "--set", "prune.mlp.pruned=0.1"]
    assert run(teacher, data, tmp_path / "out", *words, "--set", "prune.heads.fraction=0.5") == 0
    architecture = load_model(tmp_path / "out" / "model.safetensors")[0].architecture
    blocks = architecture.blocks[:7]
    assert architecture.hidden == (768, 700, 9, 9, 9, 9, 1)
    assert [len(block.heads) for block in blocks] == [6, 5, 4, 3, 2, 1, 6]
    assert [len(block.tokens) for block in blocks] == [22, 9, 9, 9, 9, 9, 2]
    capsys.readouterr()
    for wrong in ("[6]", "[7,6,6,6,6,6,6]", "[0,6,6,6,6,6,6]"):
        assert run(teacher, data, tmp_path / "no", "--set", f"prune.heads.kept={wrong}") == 2
        assert "[6, 6, 6, 6, 6, 6, 6]" in capsys.readouterr().err
    assert run(teacher, data, tmp_path / "no", "--set", "prune.mlp.kept=[769,9,9,9,9,9,9]") == 2
    assert "prune.mlp.kept [769, 9, 9, 9, 9, 9, 9]" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="rounds=1"):
        PruneConfig(heads=HeadConfig(kept=(1, 1), rounds=2))
