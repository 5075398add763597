"""Boxes and visibility are those counted pixel by pixel from whole silhouettes and depths."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.people.person import cloth
from benchmarks.people.person.surface import Noise
from benchmarks.people.place.camera import CAMERAS, SUPER, DevelopmentSettings, daylight
from benchmarks.people.portrait import Portrait
from benchmarks.people.render import rasterise
from benchmarks.people.sequence import frame
from benchmarks.people.sequence.place.stage import Stage
from benchmarks.people.sequence.place.view import camera_view, window

WIDTH, HEIGHT = 96, 64
# The oracle sees this many pixels more at each side of the frame, so that it sees whole silhouettes.
BEYOND = 160
CAMERA = CAMERAS[0]
VIEW = camera_view(CAMERA, WIDTH, HEIGHT)
WIDER = replace(
    VIEW,
    centre=(VIEW.centre[0] + BEYOND, VIEW.centre[1] + BEYOND),
    height=VIEW.height + 2 * BEYOND,
    width=VIEW.width + 2 * BEYOND,
)
LIGHT = daylight(CAMERA, sun=np.asarray(CAMERA.sun, np.float32))


def surface(meshes, view):
    """The mask and the depth of meshes in a view."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts)]).astype(np.int32)
    fragments = rasterise(*view.project(vertices), faces, (view.height, view.width))
    inside, depth = np.zeros(view.height * view.width, bool), np.zeros(view.height * view.width, np.float32)
    inside[fragments.pixel], depth[fragments.pixel] = True, fragments.depth
    return inside.reshape(view.height, view.width), depth.reshape(view.height, view.width)


def draw_plain(person, meshes, view, light, *, noise, steady):
    """A stand-in for `portrait.draw`: the person's colour instead of clothes."""
    inside, depth = surface(meshes, view)
    return Portrait(np.where(inside[..., None], np.float32(person), 0), inside, depth)


def figure(x, y):
    """A body and a head at a place on the ground, as meshes."""
    frame_of_axes = np.eye(3, dtype=np.float32)
    return [
        cloth.block(np.asarray([x, y, 0.75], np.float32), (0.5, 0.3, 1.5), frame_of_axes),
        cloth.block(np.asarray([x, y, 1.65], np.float32), (0.25, 0.25, 0.3), frame_of_axes, square=2.0),
    ]


def stage(post=None):
    """A grey stage, perhaps with a post in front as an object."""
    size = (VIEW.height, VIEW.width)
    depth = np.full(size, np.inf, np.float32)
    if post is not None:
        inside, near = surface(post, VIEW)
        depth[inside] = near[inside]
    colour = np.full((*size, 3), 0.2, np.float32)
    settings = DevelopmentSettings(np.ones(3, np.float32), 0.5, 100, np.zeros((1, 1, 1), np.float32))
    ground = np.zeros(size, bool)
    ground[size[0] // 2 :] = True
    plain = Stage(
        CAMERA, VIEW, LIGHT, Noise(0), colour, ground, depth, settings, np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    )
    return replace(plain, empty=plain.develop(colour))


def counted(people, depth):
    """(box, inside, visible) of each person, with loops over the pixels of a larger frame."""
    silhouettes = [surface(meshes, WIDER) for meshes in people]
    results = []
    for number, (mask, near) in enumerate(silhouettes):
        total = inside = visible = 0
        xs, ys = [], []
        for y, x in zip(*np.nonzero(mask)):
            total += 1
            row, column = y - BEYOND, x - BEYOND
            if not (0 <= row < VIEW.height and 0 <= column < VIEW.width):
                continue
            inside += 1
            xs.append(column / SUPER)
            ys.append(row / SUPER)
            others = [z[y, x] for k, (m, z) in enumerate(silhouettes) if k != number and m[y, x]]
            visible += all(near[y, x] < other for other in [*others, depth[row, column]])
        box = (min(xs), min(ys), max(xs) + 1 / SUPER, max(ys) + 1 / SUPER) if xs else None
        results.append((box, inside / total, visible / total))
    return results


@pytest.fixture
def drawn_plain(monkeypatch):
    monkeypatch.setattr(frame.portrait, "draw", draw_plain)


@pytest.mark.parametrize("seed", range(6))
def test_boxes_and_visibility_are_those_counted_pixel_by_pixel(drawn_plain, seed):
    rng = np.random.default_rng(seed)
    people = [figure(rng.uniform(-4.5, 4.5), rng.uniform(-3, 4)) for _ in range(7)]
    post = [cloth.block(np.asarray([rng.uniform(-2, 2), -1, 1.0], np.float32), (0.7, 0.2, 2), np.eye(3))]
    scene = stage(post)
    made = frame.draw(scene, [frame.Placed(1.0 + k, meshes) for k, meshes in enumerate(people)])
    expected = counted(people, scene.depth)
    assert any(0 < visible < inside for _, inside, visible in expected)
    for seen, (box, inside, visible) in zip(made.seen, expected, strict=True):
        assert seen.box == box
        assert (seen.inside, seen.visible) == pytest.approx((inside, visible), abs=1e-12)
        assert 0 <= seen.visible <= seen.inside <= 1


def test_the_nearer_person_hides_the_other_whatever_their_order(drawn_plain):
    near, far = figure(0.1, -2), figure(0, 1)
    for order in ((near, far), (far, near)):
        made = frame.draw(stage(), [frame.Placed(1.0, meshes) for meshes in order])
        front, behind = made.seen if order[0] is near else made.seen[::-1]
        assert front.visible == 1 and behind.visible < 0.6 and behind.inside == 1


def test_a_person_outside_the_image_has_no_box(drawn_plain):
    (seen,) = frame.draw(stage(), [frame.Placed(1.0, figure(8, 0))]).seen
    assert seen == frame.Seen(None, 0.0, 0.0)


def test_nobody_gives_the_empty_stage():
    scene = stage()
    np.testing.assert_array_equal(frame.draw(scene, []).pixels, scene.empty)


def test_a_frame_is_the_developed_light_of_its_owners(drawn_plain):
    scene = stage()
    made = frame.draw(scene, [frame.Placed(0.7, figure(-1, 0)), frame.Placed(0.05, figure(1.5, -1))])
    middle = [
        made.pixels[int((y1 + y2) / 2), int((x1 + x2) / 2)].mean()
        for x1, y1, x2, y2 in (s.box for s in made.seen)
    ]
    assert middle[0] > scene.empty.max() and scene.empty.min() > middle[1]
    # The ground beside the feet is darker: there is a shadow, and it lies on the ground only.
    darker = (made.pixels.astype(int) - scene.empty).mean(2) < -4
    person = (made.owner.reshape(HEIGHT, SUPER, WIDTH, SUPER) > 0).any((1, 3))
    shadow = darker & ~np.pad(person, 3)[3:-3, 3:-3]
    assert shadow[HEIGHT // 2 :].sum() > 20


def test_developing_only_what_changed_gives_the_whole_frame():
    scene = stage()
    rng = np.random.default_rng(1)
    linear, changed = scene.colour.copy(), np.zeros(scene.depth.shape, bool)
    for top, left in ((0, 0), (30, 60), (50, 62), (100, 170), (118, 100)):
        part = np.s_[top : top + 10, left : left + 22]
        linear[part] = rng.random(linear[part].shape)
        changed[part] = True
    np.testing.assert_array_equal(scene.develop_changes(linear, changed), scene.develop(linear))


def test_a_window_shows_the_same_pixels_as_the_whole_view():
    meshes = figure(-3.6, 0.5)
    points = np.concatenate([mesh.vertices for mesh in meshes])
    view, left, top = window(VIEW, points)
    part, depth = surface(meshes, view)
    whole, far = surface(meshes, WIDER)
    rows, columns = (
        slice(top + BEYOND, top + BEYOND + view.height),
        slice(left + BEYOND, left + BEYOND + view.width),
    )
    np.testing.assert_array_equal(part, whole[rows, columns])
    np.testing.assert_allclose(depth, far[rows, columns], atol=1e-5)
    assert part.sum() == whole.sum()


@pytest.mark.parametrize(
    ("direction", "front"),
    [((0, -1), (0, -1)), ((1, 0), (1, 0)), ((0, 1), (0, 1)), ((-0.6, 0.8), (-0.6, 0.8))],
)
def test_a_person_faces_the_direction_of_the_walk(direction, front):
    # A nose in front of a body at the origin, which faces -y.
    nose = cloth.block(np.asarray([0, -1, 1], np.float32), (0.1, 0.1, 0.1), np.eye(3, dtype=np.float32))
    position = np.asarray([2.0, 3.0], np.float32)
    (placed,) = frame.place([nose], position, np.asarray(direction, np.float32))
    middle = (placed.vertices.min(0) + placed.vertices.max(0)) / 2
    np.testing.assert_allclose(middle, [*(position + front), 1], atol=1e-5)
