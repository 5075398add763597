"""The methods that ours is compared with do what their names say."""

import numpy as np
import pytest

from benchmarks.identities import simple
from benchmarks.identities.simple import MeanTracks
from tests.benchmarks.identities.made import camera, crowd, sequence, unit


def tracks_at(degrees):
    """Tracks whose features lie on a circle, so that cosine distances are known."""
    angles = np.radians(degrees)
    features = unit(np.column_stack([np.cos(angles), np.sin(angles)]))
    return MeanTracks(tuple((1, number) for number in range(len(degrees))), features)


def distance(degrees):
    return 1 - np.cos(np.radians(degrees))


def groups(answer):
    named = {}
    for key, identity in answer.items():
        named.setdefault(identity, []).append(key[1])
    return sorted(named.values())


def test_the_nearest_track_gives_its_identity_within_the_threshold():
    tracks = tracks_at([0, 10, 50, 19])
    assert groups(simple.nearest(tracks, distance(12))) == [[0, 1, 3], [2]]
    assert groups(simple.nearest(tracks, distance(5))) == [[0], [1], [2], [3]]
    # the third track is nearer to the second than to the fourth, which comes later
    assert groups(simple.nearest(tracks, distance(45))) == [[0, 1, 2, 3]]


def test_agglomerative_clusters_are_those_of_scikit_learn():
    cluster = pytest.importorskip(
        "sklearn.cluster", reason="scikit-learn is not installed: pip install '.[test]'"
    )
    random = np.random.default_rng(0)
    features = unit(random.standard_normal((30, 4)))
    tracks = MeanTracks(tuple((1, number) for number in range(30)), features)
    for threshold in (0.2, 0.5, 0.9):
        expected = cluster.AgglomerativeClustering(
            n_clusters=None, metric="cosine", linkage="average", distance_threshold=threshold
        ).fit_predict(features)
        assert groups(simple.agglomerated(tracks, threshold)) == groups(
            dict(zip(tracks.keys, expected.tolist()))
        )


def test_mean_tracks_come_in_the_order_of_their_ends():
    given = sequence(camera(1, [(1, 1, 0, 20, 0), (2, 2, 5, 8, 1)]), camera(2, [(5, 3, 3, 9, 0)]))
    tracks = simple.mean_tracks(given)
    assert tracks.keys == ((1, 2), (2, 5), (1, 1))
    np.testing.assert_allclose(np.linalg.norm(tracks.features, axis=1), 1, rtol=1e-5)


def test_a_track_without_features_gets_an_identity_of_its_own():
    given = crowd(2)
    answer = simple.completed(given, {(1, 1): "a", (2, 1): "a", (1, 2): "b"})
    assert answer[2, 2] not in ("a", "b") and answer[1, 1] == "a"
