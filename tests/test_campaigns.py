"""Damaged inputs: a short form of `python -m tests.campaigns`, the watchdog that judges them, and the committed result."""

import json
from pathlib import Path
from random import Random

import pytest

from tests.campaigns import configs, images
from tests.campaigns.__main__ import COUNTS, main, summary
from tests.campaigns.faults import WORDS
from tests.campaigns.mutate import damaged, json_text, tree_damaged
from tests.campaigns.watchdog import outcomes
from tests.campaigns.worker import KINDS

RESULT = Path(__file__).parent / "data" / "campaigns.json"
# a few seconds each, most of which are imports
SHORT = {"images": 600}


@pytest.mark.parametrize("kind", KINDS)
def test_no_damaged_input_ends_in_a_traceback_a_crash_or_a_hang(kind):
    campaign = summary(outcomes(kind, range(SHORT.get(kind, 120)), processes=1, done=lambda seed: None))
    assert campaign["failures"] == {}
    # nothing would be shown by files that are all used, or all refused for the same reason at once
    assert (
        campaign["outcomes"]["used"] > 0 and sum(campaign["outcomes"].values()) > campaign["outcomes"]["used"]
    )


def test_the_watchdog_tells_every_outcome_and_goes_on_after_each():
    outcome_of = outcomes("faults", range(len(WORDS)), processes=1, done=lambda seed: None)
    outcome_of_word = {word: outcome_of[seed] for seed, word in enumerate(WORDS)}
    assert outcome_of_word["used"] == "used" and outcome_of_word["refused"] == "refused 4"
    for word, part in {
        "traceback": "KeyError at tests/campaigns/faults.py",
        "crash": "SIGSEGV",
        "hang": "hang",
        "two lines": "without one line",
        "quiet": "without one line",
        "other code": "exit 6",
        "changed": "changed file was used",
        "ends": "exit 3",
    }.items():
        assert outcome_of_word[word].startswith("FAIL") and part in outcome_of_word[word], word


def test_a_failure_is_counted_named_and_the_exit_code(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(COUNTS, "images", 3)
    outcome_of = {0: "used", 1: "FAIL hang", 2: "refused 3"}
    monkeypatch.setattr("tests.campaigns.__main__.outcomes", lambda kind, seeds, **how: outcome_of)
    out = tmp_path / "c.json"
    assert main(["images", "--out", str(out)]) == 1
    assert "seed 1: FAIL hang" in capsys.readouterr().out
    written = json.loads(out.read_text())["images"]
    assert written["outcomes"] == {"failed": 1, "refused 3": 1, "used": 1} and written["seeds"] == [0, 2]


def test_an_input_is_its_kind_and_its_seed(tmp_path):
    for module, name in ((images, "image.bin"), (configs, "config.yaml")):
        material, written = module.prepare(tmp_path), []
        for seed in (5, 6, 5):
            module.make(material, Random(f"x {seed}"), tmp_path)
            written.append((tmp_path / name).read_bytes())
        assert written[0] == written[2] != written[1]


def test_damage_changes_something_and_leaves_its_argument():
    data, tree = bytes(range(256)) * 4, {"a": [1, {"b": "x"}], "c": 0.5}
    before = json.dumps(tree)
    changed = [damaged(data, Random(seed)) != data for seed in range(200)]
    assert sum(changed) > 180
    assert len({repr(tree_damaged(tree, Random(seed))) for seed in range(200)}) > 50
    assert json.dumps(tree) == before
    assert len({json_text(tree, Random(seed)) for seed in range(50)}) > 5


def test_the_committed_campaigns_are_whole_and_met_no_failure():
    result = json.loads(RESULT.read_text())
    assert set(result) == set(KINDS)
    for kind, campaign in result.items():
        assert campaign["inputs"] >= COUNTS[kind] and sum(campaign["outcomes"].values()) == campaign["inputs"]
        assert campaign["failures"] == {} and "failed" not in campaign["outcomes"]
