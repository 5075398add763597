"""Identities live in a gallery: they survive a restart and kill -9, and can be merged, split and erased."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gallery.rows import contents
from runtime.errors import DataError, StorageError
from runtime.gallery.api import Gallery, open_gallery
from runtime.gallery.calibrating import calibrate_gallery_site
from runtime.gallery.space import Space
from runtime.identities import keeping
from runtime.identities.api import Identities
from runtime.identities.collecting import tracks_of_gallery
from runtime.identities.events import Event
from runtime.identities.false_matches import FalseMatches
from runtime.identities.options import IdentityOptions
from runtime.identities.track import Track
from runtime.options.store_place import ServerAddress, StorePlace
from tests.runtime.gallery.conftest import At
from tests.runtime.identities.people import DIM, direction, track, walk

ROOT = Path(__file__).resolve().parents[3]
SPACE = Space("0" * 64, DIM, "none")
OPTIONS = IdentityOptions(separate_cameras=True)


def opened(place: StorePlace | str) -> Gallery:
    return open_gallery(place, space=SPACE)


def decide(gallery: Gallery, tracks: list[Track]) -> list[Event]:
    identities = Identities(gallery, 0.5, options=OPTIONS)
    return [event for one in tracks for event in identities.observe(one)] + identities.close()


def answers(events: list[Event]) -> list[tuple[str | None, str]]:
    return [(event.track, event.identity) for event in events]


def test_a_restart_in_the_middle_changes_no_decision(at: At) -> None:
    tracks = walk()
    with opened(at("whole")) as gallery:
        expected = answers(decide(gallery, tracks))
    for stop in (1, 20, 47):
        with opened(at(f"g{stop}")) as gallery:
            identities = Identities(gallery, 0.5, options=OPTIONS)
            before = [event for one in tracks[:stop] for event in identities.observe(one)]
        with opened(at(f"g{stop}")) as gallery:
            events = decide(gallery, tracks)
            assert answers(events) == expected
            assert sum(event.stored for event in events) == len(before)
            assert gallery.count() == len(tracks) and gallery.verify().problems == ()
            assert answers(decide(gallery, tracks)) == expected and gallery.count() == len(tracks)


def test_kill_9_loses_and_doubles_no_identity(at: At) -> None:
    tracks = walk(people=30)
    with opened(at("whole")) as gallery:
        expected = answers(decide(gallery, tracks))
    folder = at("g")
    program = (
        "import sys; from tests.runtime.identities.test_keeping import *\n"
        "gallery = opened(sys.argv[1]); identities = Identities(gallery, 0.5, options=OPTIONS)\n"
        "for one in walk(people=30):\n"
        "    for event in identities.observe(one): print(json.dumps([event.track, event.identity]), flush=True)\n"
    )
    acknowledged: dict[str, str] = {}
    random = np.random.default_rng(3)
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", program, folder.url if isinstance(folder, ServerAddress) else str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        for line in child.stdout:
            name, identity = json.loads(line)
            assert acknowledged.setdefault(name, identity) == identity
            if len(acknowledged) % 20 == 19:
                time.sleep(float(random.uniform(0, 0.02)))
                child.send_signal(signal.SIGKILL)
                acknowledged[name + "+"] = ""
                break
        child.wait()
    acknowledged = {name: identity for name, identity in acknowledged.items() if identity}
    assert len(acknowledged) > 40
    with opened(folder) as gallery:
        assert gallery.verify().problems == ()
        assert answers(decide(gallery, tracks)) == expected
        assert acknowledged.items() <= dict(expected).items()
        assert gallery.count() == len(tracks)


def test_merge_split_and_forget_stay_after_a_restart(at: At) -> None:
    folder = at("g")
    with opened(folder) as gallery:
        identities = Identities(gallery, 0.5, options=OPTIONS)
        for one in (
            track(1, 0, 0, 5, name="a"),
            track(2, 1, 10, 15, name="b"),
            track(3, 2, 20, 25, name="c"),
        ):
            identities.observe(one)
        identities.close()
        identities.merge("identity-1", "identity-2")
        assert len(gallery.ids(person="identity-1")) == 2 and len(identities) == 2
        assert identities.split("identity-1", [(1, "b")]) == "identity-4"
        assert len(gallery.ids(person="identity-4")) == 1
        with pytest.raises(DataError, match="none of the tracks"):
            identities.split("identity-1", [(1, "b")])
        assert identities.forget("identity-4") == 1
        with pytest.raises(DataError, match="identity-4"):
            identities.forget("identity-4")
        if isinstance(folder, Path):
            assert b"identity-4" not in contents(folder)
    with opened(folder) as gallery:
        events = decide(gallery, [track(1, 3, 30, 35), track(2, 3, 40, 45)])
        # the name of the forgotten identity is not given again
        assert [(event.identity, event.new) for event in events] == [
            ("identity-1", False),
            ("identity-5", True),
        ]


def test_people_with_names_are_identities(at: At) -> None:
    with opened(at("g")) as gallery:
        gallery.add(direction(1)[None], persons=["Ada"])
        events = decide(gallery, [track(1, 0, 0, 5), track(2, 0, 10, 15), track(1, 1, 4000, 4005)])
        assert [event.identity for event in events] == ["Ada", "identity-1", "Ada"]


def test_the_tracks_of_a_gallery_label_their_crops(at: At) -> None:
    folder, start = at("g"), 1.7e9
    with opened(folder) as gallery:
        for one in walk(people=5):
            count = len(one.times)
            gallery.add(
                one.features,
                cameras=[one.camera] * count,
                times=(start + one.times).tolist(),
                tracks=[one.name] * count,
            )
        gallery.add(direction(50)[None], cameras=[0])
        crops = gallery.count()
        tracks, left_out = tracks_of_gallery(gallery)
        assert (len(tracks), left_out) == (20, 1)
        decide(gallery, tracks)
        rows, _ = gallery.rows(gallery.ids())
        people = defaultdict(set)
        for row in rows:
            people[row.person].add(str(row.track).partition("-")[0])
        assert (
            people.pop(None) == {"None"}
            and len(people) == 5
            and all(len(names) == 1 for names in people.values())
        )
        assert gallery.count() == crops + 20
        # again: the same tracks, and nothing new
        assert all(event.stored for event in decide(gallery, tracks_of_gallery(gallery)[0]))
        number = len(gallery.ids(person="identity-1"))
        assert Identities(gallery, 0.5).forget("identity-1") == number > 4


def test_distances_hold_for_one_site_calibration(at: At) -> None:
    distances = FalseMatches.fit(np.random.default_rng(1).normal(0.8, 0.1, 500))
    with opened(at("g")) as gallery:
        assert keeping.read_distances(gallery) is None
        keeping.write_distances(gallery, distances)
        assert keeping.read_distances(gallery) == distances
        random = np.random.default_rng(2)
        for camera in (0, 1):
            crops = random.standard_normal((60, DIM)) + (3 if camera else -3) * direction(1)
            crops /= np.linalg.norm(crops, axis=1, keepdims=True)
            gallery.add(
                crops.astype(np.float32), cameras=[camera] * 60, tracks=[f"t{n % 20}" for n in range(60)]
            )
        calibrate_gallery_site(gallery)
        assert keeping.read_distances(gallery) is None


def test_a_change_by_hand_counts_alike_before_and_after_a_restart(at: At) -> None:
    # person 1 was seen long ago, and so was somebody else, who then came back; by hand, they become one
    early = [
        track(1, 0, 0, 5, name="a"),
        track(2, 1, 3000, 3005, name="b"),
        track(3, 1, 5000, 5005, name="c"),
    ]
    later = track(1, 2, 5100, 5105, name="d")
    answered = []
    for name, restart in (("g", False), ("h", True)):
        with opened(at(name)) as gallery:
            identities = Identities(gallery, 0.6, options=OPTIONS)
            for one in early:
                identities.observe(one)
            identities.close()
            identities.merge("identity-2", "identity-1")
            if restart:
                identities = Identities(gallery, 0.6, options=OPTIONS)
            (event,) = [*identities.observe(later), *identities.close()]
            answered.append(event.identity)
    assert answered == ["identity-2", "identity-2"]


def test_an_empty_name_is_no_identity(at: At) -> None:
    with opened(at("g")) as gallery:
        decide(gallery, [track(1, 0, 0, 5), track(2, 1, 10, 15)])
        identities = Identities(gallery, 0.5)
        for kept, other in (("identity-1", ""), ("", "identity-1")):
            with pytest.raises(DataError, match="no such identity"):
                identities.merge(kept, other)
        with pytest.raises(DataError, match="no such identity"):
            identities.forget("")
        assert len(gallery.ids(person="identity-2")) == 1


def test_a_track_whose_row_lost_its_person_is_decided_again(at: At) -> None:
    tracks = [track(1, 0, 0, 5, name="a"), track(1, 1, 10, 15, name="b")]
    with opened(at("g")) as gallery:
        first, second = decide(gallery, tracks)
        assert second.row is not None
        gallery.set_person(second.row, None)
        events = decide(gallery, tracks)
        assert [(event.identity, event.stored, event.row) for event in events] == [
            (first.identity, True, first.row),
            (first.identity, False, second.row),
        ]
        assert gallery.rows([second.row])[0][0].person == first.identity


def test_a_track_that_has_more_crops_keeps_its_identity(at: At) -> None:
    whole = track(1, 0, 1.7e9, 1.7e9 + 9, name="a")

    def add(gallery: Gallery, crops: slice) -> None:
        features, times = whole.features[crops], whole.times[crops].tolist()
        gallery.add(features, cameras=[0] * len(times), times=times, tracks=["a"] * len(times))

    with opened(at("g")) as gallery:
        add(gallery, slice(0, 5))
        (first,) = decide(gallery, tracks_of_gallery(gallery)[0])
        add(gallery, slice(5, None))
        (second,) = decide(gallery, tracks_of_gallery(gallery)[0])
        assert first.new and not second.new and second.identity == first.identity
        assert gallery.count() == len(gallery.ids(person=first.identity)) == 12


def test_a_tracker_that_starts_again_begins_other_tracks(at: At) -> None:
    with opened(at("g")) as gallery:
        for person, first in ((1, 1.7e9), (2, 1.7e9 + 3600)):
            one = track(person, 0, first, first + 4)
            gallery.add(one.features, cameras=[0] * 5, times=one.times.tolist(), tracks=["1"] * 5)
        tracks, _ = tracks_of_gallery(gallery)
        assert [(one.name, one.first_s, len(one.times)) for one in tracks] == [
            ("1", 1.7e9, 5),
            ("1", 1.7e9 + 3600, 5),
        ]


def test_crops_that_were_deleted_meanwhile_stop_nothing(at: At) -> None:
    one = track(1, 0, 1.7e9, 1.7e9 + 4, name="a")
    with opened(at("g")) as gallery:
        gallery.add(one.features, cameras=[0] * 5, times=one.times.tolist(), tracks=["a"] * 5)
        tracks, _ = tracks_of_gallery(gallery)
        gallery.delete(id=tracks[0].rows[0])
        (event,) = decide(gallery, tracks)
        assert event.identity == "identity-1" and len(gallery.ids(person="identity-1")) == 5


def test_an_error_of_the_disk_loses_no_identity(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = [track(1, 0, 0, 5, name="a"), track(1, 1, 10, 15, name="b")]
    with opened(at("g")) as gallery:
        identities = Identities(gallery, 0.5, options=OPTIONS)
        identities.observe(tracks[0])
        with monkeypatch.context() as patch:

            def full(*_: object) -> None:
                raise StorageError("the disk is full")

            # the row is stored already
            patch.setattr(keeping, "label_crops", full)
            with pytest.raises(StorageError):
                identities.close()
        events = [*identities.close(), *identities.observe(tracks[1])]
        assert answers(events) == [("a", "identity-1"), ("b", "identity-1")]


def test_two_processes_give_no_name_twice(at: At) -> None:
    with opened(at("g")) as gallery, opened(at("g")) as other:
        both = [Identities(gallery, 0.5, options=OPTIONS), Identities(other, 0.5, options=OPTIONS)]
        names = []
        for person, identities in enumerate(both):
            identities.observe(track(person, person, 0, 5))
            names += [event.identity for event in identities.close()]
        assert names == ["identity-1", "identity-2"]


def test_a_program_killed_between_the_row_and_the_crops_labels_them_next_time(at: At) -> None:
    one = track(1, 0, 1.7e9, 1.7e9 + 4, name="a")
    with opened(at("g")) as gallery:
        gallery.add(one.features, cameras=[0] * 5, times=one.times.tolist(), tracks=["a"] * 5)
        tracks, _ = tracks_of_gallery(gallery)
        gallery.add_rows([keeping.row_of(tracks[0], "identity-1")], one.features[:1])
        assert len(gallery.ids(person="identity-1")) == 1
        (event,) = decide(gallery, tracks)
        assert event.stored and len(gallery.ids(person="identity-1")) == 6
