"""Tracks get the identities of people: the same whatever the order of arrival, never one person twice at one time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

import numpy as np
import pytest

from runtime.errors import ArtifactError, ConfigError, DataError
from runtime.identities.api import Identities
from runtime.identities.events import Event
from runtime.identities.options import IdentityOptions
from runtime.identities.track import Track
from runtime.ranking.site import SiteMeans
from tests.runtime.identities.people import DIM, direction, track, walk

SEPARATE = IdentityOptions(separate_cameras=True)


def decided(
    tracks: Iterable[Track], options: IdentityOptions = SEPARATE, threshold: float = 0.5
) -> list[Event]:
    identities = Identities(None, threshold, options=options)
    events = [event for one in tracks for event in identities.observe(one)]
    return events + identities.close()


def person_of(name: str | None) -> str:
    return str(name).partition("-")[0]


def test_each_person_has_one_identity_and_each_identity_one_person() -> None:
    events = decided(walk())
    pairs = {(event.identity, person_of(event.track)) for event in events}
    assert len(events) == 48 and len(pairs) == 12
    assert len({identity for identity, _ in pairs}) == 12
    first = {event.identity: event for event in reversed(events)}
    assert all(event.new == (first[event.identity] is event) for event in events)
    assert all((event.similarity is None) == event.new for event in events)


def test_the_order_of_arrival_within_the_delay_changes_nothing() -> None:
    tracks = walk(people=20)
    expected = decided(tracks)
    options = SEPARATE
    slack = options.delay_s - options.look_ahead_s
    for seed in range(8):
        random = np.random.default_rng(seed)
        arrival = {id(one): one.last_s + float(random.uniform(0, slack * 0.999)) for one in tracks}
        assert decided(sorted(tracks, key=lambda one: arrival[id(one)])) == expected


def test_every_track_is_decided_once_within_the_delay() -> None:
    tracks = walk(people=20)
    identities = Identities(None, 0.5, options=SEPARATE)
    decided_at = {}
    for now in np.arange(0, 80, 0.5):
        events = [e for one in tracks if now - 0.5 < one.last_s <= now for e in identities.observe(one)]
        for event in [*events, *identities.advance(float(now))]:
            assert event.track not in decided_at and event.last_s is not None
            decided_at[event.track] = now - event.last_s
    assert len(decided_at) == len(tracks)
    assert max(decided_at.values()) <= SEPARATE.delay_s + 0.5


def test_a_late_track_is_flagged_and_changes_no_emitted_decision() -> None:
    tracks = walk()
    late = tracks[5]
    in_time = [one for one in tracks if one is not late]
    identities = Identities(None, 0.5, options=SEPARATE)
    before = [event for one in in_time for event in identities.observe(one)]
    events = identities.observe(late)
    assert [(event.late, person_of(event.track)) for event in events if event.track == late.name] == [
        (True, person_of(late.name))
    ]
    assert before == [event for event in decided(in_time) if event in before]
    assert events[0].identity in {
        event.identity for event in before if person_of(event.track) == person_of(late.name)
    }


def test_one_person_is_not_twice_in_one_camera_at_one_time() -> None:
    # twins: the same feature, at the same time
    same = [track(1, 0, 0, 5, name="a"), track(1, 0, 3, 8, name="b"), track(1, 1, 4, 9, name="c")]
    together = IdentityOptions()
    names = [event.identity for event in decided(same, together)]
    assert names[0] != names[1] and names[2] in names[:2]
    assert len({event.identity for event in decided(same, SEPARATE)}) == 3
    assert len({event.identity for event in decided(same, IdentityOptions(exclusion=False))}) == 1
    assert len({event.identity for event in decided(same, IdentityOptions(overlap_s=2.5))}) == 1


def test_a_track_leaves_an_identity_to_the_one_that_fits_better() -> None:
    # somebody who looks like person 1 ends first; person 1 comes back at the same time and fits better
    alike = 0.75 * direction(1) + 0.66 * direction(2)
    other = Track(
        1,
        "alike",
        np.array([20.0, 22.0]),
        np.stack([alike / np.linalg.norm(alike)] * 2),
        np.ones(2, np.float32),
    )
    tracks = [track(1, 0, 0, 5, name="first"), other, track(1, 2, 21, 24, name="back")]

    def identity_of_each(look_ahead_s: float) -> list[str]:
        events = decided(tracks, IdentityOptions(separate_cameras=True, look_ahead_s=look_ahead_s))
        return [event.identity for event in events]

    first, taken, back = identity_of_each(0)
    assert taken == first and back != first
    first, taken, back = identity_of_each(5)
    assert back == first and taken != first


def test_identities_and_their_number_are_bounded() -> None:
    options = IdentityOptions(window_s=100, most=30)
    identities = Identities(None, 0.5, options=options)
    for number in range(300):
        identities.observe(track(number, 0, number * 2, number * 2 + 1))
        assert len(identities) <= 30
    identities.observe(track(1000, 0, 10_000, 10_001))
    identities.close()
    assert len(identities) == 1


def test_a_merge_by_hand_joins_two_identities() -> None:
    identities = Identities(None, 0.6, options=SEPARATE)
    for one in (track(1, 0, 0, 5), track(2, 1, 10, 15)):
        identities.observe(one)
    identities.close()
    (event,) = identities.merge("identity-1", "identity-2")
    assert json.loads(json.dumps(event.to_json())) == {
        "kind": "merge",
        "identity": "identity-1",
        "merged": "identity-2",
    }
    (event,) = [*identities.observe(track(2, 2, 20, 25)), *identities.close()]
    assert event.identity == "identity-1"
    with pytest.raises(DataError, match="identity-2"):
        identities.merge("identity-1", "identity-2")
    with pytest.raises(ConfigError, match="gallery"):
        identities.split("identity-1", [(2, "x")])


def test_a_site_calibration_is_subtracted() -> None:
    # two cameras that add a large offset of their own to every feature
    offset = np.stack([4 * direction(100), -4 * direction(100)])

    def seen(person: int, camera: int, first: float) -> Track:
        feature = direction(person) + offset[camera]
        feature = (feature / np.linalg.norm(feature)).astype(np.float32)
        return Track(camera, f"p{person}", np.array([first]), feature[None], np.ones(1, np.float32))

    tracks = [seen(person, camera, 10 * person + 5 * camera) for person in range(8) for camera in (0, 1)]
    means = np.stack(
        [np.mean([one.features[0] for one in tracks if one.camera == camera], 0) for camera in (0, 1)]
    )
    identities = Identities(
        None, 0.5, options=SEPARATE, site=SiteMeans((0, 1), means.astype(np.float32), (8, 8))
    )
    events = [event for one in tracks for event in identities.observe(one)] + identities.close()
    assert len({event.identity for event in events}) == 8
    assert len({event.identity for event in decided(tracks)}) != 8


def test_wrong_values_are_refused() -> None:
    good = track(1, 0, 0, 5)
    with pytest.raises(DataError, match="times"):
        Track(0, "x", good.times[::-1], good.features, good.quality)
    with pytest.raises(DataError, match="NaN"):
        Track(0, "x", good.times, good.features * np.float32("nan"), good.quality)
    with pytest.raises(DataError, match="qualities"):
        Track(0, "x", good.times, good.features, good.quality[1:])
    for threshold in (-0.1, 3, float("nan")):
        with pytest.raises(ConfigError, match="threshold"):
            Identities(None, threshold)
    for options in (
        IdentityOptions(false_match_rate=0),
        IdentityOptions(delay_s=-1),
        IdentityOptions(most=0),
        IdentityOptions(look_ahead_s=11),
        IdentityOptions(window_s=float("nan")),
    ):
        with pytest.raises(ConfigError):
            Identities(None, 0.5, options=options)
    identities = Identities(None, 0.5)
    identities.observe(track(1, 0, 0, 5))
    identities.advance(100)
    with pytest.raises(ArtifactError, match=str(DIM)):
        identities.observe(Track(0, "x", np.zeros(1), np.eye(1, 8, dtype=np.float32), np.ones(1, np.float32)))


def test_features_of_two_widths_are_refused_before_the_first_decision() -> None:
    identities = Identities(None, 0.5)
    identities.observe(track(1, 0, 0, 5))
    with pytest.raises(ArtifactError, match=str(DIM)):
        identities.observe(Track(0, "x", np.zeros(1), np.eye(1, 8, dtype=np.float32), np.ones(1, np.float32)))
    assert len(identities.close()) == 1


def test_numbers_of_numpy_are_numbers() -> None:
    one = track(1, 0, 0, 5)
    (event,) = decided([Track(np.int64(3), np.int64(7), one.times, one.features, one.quality)])
    assert json.loads(json.dumps(event.to_json()))["camera"] == 3 and event.track == "7"
    with pytest.raises(DataError, match="camera"):
        Track(-1, "7", one.times, one.features, one.quality)
    for span in ((1.0, 5.0), (0.0, 4.0), (float("nan"), 5.0), (0.0, float("inf"))):
        with pytest.raises(DataError, match="span"):
            Track(0, "7", one.times, one.features, one.quality, span_s=span)


def test_an_event_names_the_best_crops() -> None:
    (event,) = decided([track(3, 0, 0, 9, name="t")])
    assert event.evidence == ("t-9", "t-8", "t-7")
    assert [*itertools.islice(event.to_json(), 4)] == ["kind", "identity", "camera", "track"]
