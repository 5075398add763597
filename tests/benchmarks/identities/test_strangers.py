"""False matches are counted for the first track of each person, and for nobody else."""

from benchmarks.identities.strangers import false_matches, first_tracks
from runtime.identities.events import Event


def event(track, identity, *, new):
    return Event("track", identity, 1, str(track), 0.0, 1.0, new=new)


PEOPLE = {(1, 1): 5, (1, 2): 6, (1, 3): 6, (1, 4): 0, (1, 5): 7}
SAID = [
    event(1, "identity-1", new=True),
    event(2, "identity-1", new=False),
    Event("merge", "identity-1", merged="identity-9"),
    event(3, "identity-1", new=False),
    event(4, "identity-1", new=False),
    event(5, "identity-2", new=True),
]


def test_the_very_first_track_and_those_of_known_people_and_of_nobody_do_not_count():
    assert [one.track for one in first_tracks(SAID, PEOPLE)] == ["2", "5"]


def test_the_rate_is_that_of_all_sequences():
    result = false_matches([SAID, SAID], [PEOPLE, PEOPLE])
    assert (result["events"], result["trials"], result["rate"]) == (2, 4, 0.5)
