"""Objects of a place: closed meshes with outward normals, drawn where they stand, with a shadow on the ground."""

import numpy as np
import pytest

from benchmarks.people.person.surface import Noise
from benchmarks.people.place.camera import CAMERAS, daylight
from benchmarks.people.sequence.place import solids
from benchmarks.people.sequence.place.furniture import random_furniture
from benchmarks.people.sequence.place.view import camera_view
from benchmarks.people.sequence.plan import SequencePlan

GREY = np.full(3, 0.3, np.float32)
LIGHT = daylight(CAMERAS[0], sun=np.asarray([1.0, 0.0, 1.0], np.float32))
VIEW = camera_view(CAMERAS[0], 160, 90)


def volume(solid):
    """The volume inside a closed mesh with outward faces, by the divergence theorem."""
    a, b, c = (solid.vertices[solid.faces[:, k]].astype(float) for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize(
    ("solid", "expected"),
    [
        (solids.box((2.0, 3.0, 0.5), GREY, x=1.0, low=0.2), 3.0),
        (solids.cylinder(0.5, 0.0, 2.0, GREY), 14 * np.sin(2 * np.pi / 28) * 0.25 * 2),
        (solids.profile([(0, 0), (2, 0), (0, 1)], 3.0, GREY, y=0.4), 3.0),
    ],
)
def test_a_solid_is_closed_and_encloses_its_volume(solid, expected):
    assert abs(volume(solid)) == pytest.approx(expected, rel=1e-4)
    edges = np.sort(np.concatenate([solid.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), 1)
    places = np.unique(np.round(solid.vertices, 4), axis=0, return_inverse=True)[1].ravel()
    counts = np.unique(np.sort(places[edges], 1), axis=0, return_counts=True)[1]
    assert (counts == 2).all()


@pytest.mark.parametrize(
    "solid", [solids.box((1, 1, 1), GREY), solids.profile([(0, 0), (2, 0), (0, 1)], 1.0, GREY)]
)
def test_normals_point_outward(solid):
    centre = solid.vertices.mean(0)
    assert ((solid.vertices - centre) * solid.normals).sum(1).min() > 0


def test_a_moved_solid_turns_about_the_origin_first():
    solid = solids.moved(solids.box((2.0, 0.2, 1.0), GREY, x=1.0), (5.0, 7.0), 90)
    np.testing.assert_allclose(solid.vertices[:, :2].min(0), [4.9, 7.0], atol=1e-5)
    np.testing.assert_allclose(solid.vertices[:, :2].max(0), [5.1, 9.0], atol=1e-5)


def test_a_box_is_drawn_at_its_place_and_depth_and_hides_what_is_behind_it():
    near = solids.moved(solids.box((1.0, 0.2, 1.0), GREY), (0.0, -2.0), 0)
    far = solids.moved(solids.box((3.0, 0.2, 0.6), GREY * 2), (0.0, 2.0), 0)
    drawn = solids.draw([near, far], VIEW, LIGHT, Noise(0))
    (xy, depth) = VIEW.project(np.asarray([[0.0, -2.1, 0.5], [1.3, 1.9, 0.3]], np.float32))
    for (x, y), expected in zip(xy.astype(int), depth):
        assert drawn.inside[y, x] and drawn.depth[y, x] == pytest.approx(expected, abs=0.06)
    assert not drawn.inside[0].any() and not drawn.depth[~drawn.inside].any()


def test_the_shadow_falls_away_from_the_sun():
    post = solids.box((0.2, 0.2, 1.0), GREY)
    mask = solids.shadow([post], VIEW, LIGHT)
    # The sun stands at the right at 45 degrees, so the shadow reaches a metre to the left.
    points = np.asarray([[-0.7, 0, 0], [0.7, 0, 0], [-1.4, 0, 0]], np.float32)
    hits = [bool(mask[int(y), int(x)]) for x, y in VIEW.project(points)[0]]
    assert hits == [True, False, False]


def test_objects_depend_on_the_seed_and_stand_in_the_image():
    places = {}
    for seed in (1, 2):
        for camera in range(4):
            objects = random_furniture(SequencePlan(seed=seed), camera)
            places[seed, camera] = [one.place for one in objects]
            assert places[seed, camera] == [
                one.place for one in random_furniture(SequencePlan(seed=seed, people=9), camera)
            ]
            drawn = solids.draw(
                [solid for one in objects for solid in one.solids],
                camera_view(CAMERAS[camera], 160, 90),
                LIGHT,
                Noise(0),
            )
            assert 0.01 < drawn.inside.mean() < 0.4
    assert places[1, 0] != places[2, 0]
