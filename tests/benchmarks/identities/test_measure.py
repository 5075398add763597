"""The whole measurement on small made-up sequences: every part is there, tuning sees training only, and tables can be written."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.identities import measuring, ours, report
from benchmarks.identities.comparing import Measurement, Models, measure
from benchmarks.identities.long_run import PeopleModel, Traffic, run_day, traffic
from benchmarks.identities.measuring import SWITCHES, Folders, Group, shipped_switches, with_ingredients
from benchmarks.identities.scores import Scorer, Scores
from runtime.identities.options import IdentityOptions
from runtime.identities.track import Track
from tests.benchmarks.identities.made import crowd

PEOPLE = 40


@pytest.fixture
def loaded(monkeypatch):
    """The (folder, model) of every load. The number of a folder is the seed; features of the model "poor" say little."""
    loads = []

    def load(folder, kind, model):
        loads.append((folder.name, model))
        return crowd(PEOPLE, seed=int(folder.name), noise=0.4 if model == "poor" else 0.02, together=8)

    monkeypatch.setattr(measuring, "load_sequence", load)
    return loads


def folders(*names):
    return tuple(map(Path, names))


def test_a_good_model_makes_hardly_a_mistake_and_a_poor_one_does(loaded):
    good, poor = (Group(folders("1", "2"), "exact", model) for model in ("good", "poor"))
    for group, low, high in ((good, 0.95, 1), (poor, 0.3, 0.9)):
        variant, calibration = measuring.tuned(with_ingredients(IdentityOptions(), shipped_switches()), group)
        said = measuring.run(variant, calibration, group)
        assert low <= group.idf1([one.answer for one in said]) <= high


def test_merged_identities_are_one_in_the_final_answer(loaded):
    from runtime.identities.events import Event

    def track(number, identity):
        return Event("track", identity, 1, str(number), 0.0, 1.0)

    events = [track(1, "a"), track(2, "b"), Event("merge", "b", merged="c"), track(3, "c")]
    events += [Event("merge", "a", merged="b"), track(4, "a")]
    assert set(ours.final_answer(events).values()) == {"a"}


def test_the_document_has_every_part_and_makes_every_table(loaded, monkeypatch):
    # test_scores.py compares with TrackEval, which is slow and an extra of its own
    monkeypatch.setattr(Scorer, "scores", lambda self, answer: Scores(self.hits(answer).idf1, 0.5, 0.5, 1))
    monkeypatch.setattr(measuring, "RATES", (0.05, 0.2))
    monkeypatch.setattr(measuring.simple, "thresholds", lambda means: (0.1, 0.5))
    plan = Measurement(
        Folders(folders("1"), folders("2"), folders("3")),
        Models("good", "good", ("poor",), "poor"),
        shipped_switches(),
        IdentityOptions(),
        hours=0.1,
    )
    document = json.loads(json.dumps(measure(plan)))
    assert document["synthetic"] is True and set(document["kinds"]) == {"exact", "tracker"}
    result = document["kinds"]["exact"]
    assert result["methods"]["perfect"]["mean"]["idf1"] == 1
    assert result["methods"]["none"]["mean"]["idf1"] == pytest.approx(0.5)
    assert result["methods"]["ours"]["mean"]["idf1"] > result["methods"]["foreign"]["mean"]["idf1"]
    same, poor = (result["precision"]["models"][name]["against_unpruned"] for name in ("good", "poor"))
    assert same["difference"] == 0 and poor["high"] < 0
    names = [row["name"] for row in result["ablation"]]
    assert {f"without {name}" for name in shipped_switches()} < set(names) and len(names) == len(set(names))
    assert [row["trials"] for row in result["strangers"]] == [PEOPLE - 1] * len(measuring.STATED)
    assert 0 < result["cost"]["share"] and document["day"][0]["tracks"] > 5
    for write in report.TABLES.values():
        assert write(document).count("\n") > 2


def test_a_switch_changes_what_it_names(loaded):
    usual = IdentityOptions()
    everything, nothing = (with_ingredients(usual, names) for names in (SWITCHES, ()))
    assert everything.options.separate_cameras and everything.options.look_ahead_s == usual.look_ahead_s
    assert everything.extras == {measuring.SITE, measuring.QUALITY, measuring.CONSISTENCY}
    assert not nothing.options.exclusion and nothing.options.look_ahead_s == 0
    assert {measuring.EXCLUSION, measuring.LOOK_AHEAD} == set(shipped_switches())
    group = Group(folders("1"), "exact", "poor")
    assert nothing.tracks(group) is group.tracks and everything.tracks(group)[0][0] is not group.tracks[0][0]


def test_a_weighted_track_has_the_weighted_mean_in_every_crop():
    features = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    track = Track(1, "1", np.arange(3.0), features, np.array([1, 1, 0.01], np.float32))
    plain, by_quality, consistent = (
        ours.weighted(track, quality=quality, consistency=consistency).features
        for quality, consistency in ((False, False), (True, False), (False, True))
    )
    np.testing.assert_allclose(plain[2], [2 / 5**0.5, 1 / 5**0.5, 0], rtol=1e-5)
    np.testing.assert_allclose(by_quality[0, 1] / by_quality[0, 0], 0.005, rtol=1e-4)
    # weights are cosines to the fourth power: 16 to 1
    np.testing.assert_allclose(consistent[0, 1] / consistent[0, 0], 1 / 32, rtol=1e-4)


def test_a_day_has_its_hours_and_its_tracks_come_in_order(loaded):
    group = Group(folders("1"), "exact", "good")
    model = PeopleModel(group.tracks[0])
    day = Traffic(hours=0.5, every_s=30, crops=3)
    tracks = list(traffic(model, day))
    ends = [track.last_s for track in tracks]
    assert ends == sorted(ends) and len(tracks) > 60
    assert list(map(str, tracks)) == list(map(str, traffic(PeopleModel(group.tracks[0]), day)))
    np.testing.assert_allclose(np.linalg.norm(tracks[0].features, axis=1), 1, rtol=1e-5)
    calibration = ours.calibrate(group.tracks, IdentityOptions(), site=False)
    hours = run_day(iter(tracks), calibration, IdentityOptions(), hours=0.5)
    assert len(hours) == 1 and 0 < hours[0].open_identities <= hours[0].tracks <= len(tracks)


def test_an_unknown_switch_is_refused_in_one_line(capsys):
    from benchmarks.identities import cli
    from runtime.entry import guarded

    words = ["measure", "--train", "a", "--test", "b", "--model", "m", "--without", "luck"]
    assert guarded(cli.main, words) == 2
    message = capsys.readouterr().err
    assert "luck" in message and "exclusion" in message and "Traceback" not in message
