"""The shipped rendered pedestrians are what anny.json says, and the generator's pure parts are exact and seeded."""

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.people import dataset, stripes
from benchmarks.people.person import garments
from benchmarks.people.person.surface import Noise
from benchmarks.people.place import camera, occlusion
from benchmarks.people.place.scene import Scenery
from benchmarks.people.plan import FIRST_TEST_PID, Plan
from benchmarks.people.render import View, rasterise
from runtime.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2] / "data" / "anny_reid"
META = json.loads((ROOT / "anny.json").read_text())
IMAGES = META["images"]


def folder(name):
    return {path: entry for path, entry in IMAGES.items() if path.startswith(f"{name}/")}


def test_every_shipped_image_has_the_hash_of_anny_json_and_none_is_missing_or_extra():
    image_paths = {str(path.relative_to(ROOT)): path for path in ROOT.glob("*/*.jpg")}
    assert image_paths.keys() == IMAGES.keys()
    for name, path in image_paths.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == IMAGES[name]["sha256"], name


def test_the_shipped_set_is_small_and_every_image_is_a_64_by_128_jpeg():
    assert sum(path.stat().st_size for path in ROOT.glob("*/*.jpg")) <= 5_000_000
    for name in IMAGES:
        with Image.open(ROOT / name) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 128)), name


def test_the_layout_holds_what_the_plan_says():
    plan = META["plan"]
    train, test, cameras = plan["train_identities"], plan["test_identities"], len(camera.CAMERAS)
    assert (train, test) == (60, 60)
    assert len(folder("bounding_box_train")) == train * cameras * plan["images_per_camera"]
    assert len(folder("bounding_box_test")) == test * cameras * plan["gallery_per_camera"]
    assert len(folder("query")) == len(folder("twins")) == test * plan["query_cameras"]


def test_names_carry_the_pid_and_the_camera_of_anny_json():
    for path, entry in IMAGES.items():
        name = Path(path).name
        assert name.startswith(f"{entry['pid']:04d}_c{entry['camid'] + 1}s"), path


def test_no_training_identity_is_a_test_identity_and_every_query_has_a_match_in_another_camera():
    train = {entry["pid"] for entry in folder("bounding_box_train").values()}
    gallery = {(entry["pid"], entry["camid"]) for entry in folder("bounding_box_test").values()}
    assert train.isdisjoint(pid for pid, _ in gallery)
    for path, entry in folder("query").items():
        assert any(pid == entry["pid"] and camid != entry["camid"] for pid, camid in gallery), path


def test_every_query_is_occluded_within_bounds_and_has_an_unoccluded_pair_of_the_same_person_and_camera():
    for path, entry in folder("query").items():
        assert 0.4 <= entry["visible"] <= 0.8, path
        twin = IMAGES[entry["twin"]]
        assert (twin["pid"], twin["camid"], twin["visible"]) == (entry["pid"], entry["camid"], 1.0), path


@pytest.mark.parametrize("split", ["bounding_box_train", "bounding_box_test"])
def test_about_a_tenth_of_the_other_images_are_occluded(split):
    visible = np.asarray([entry["visible"] for entry in folder(split).values()])
    assert 0.05 <= (visible < 1).mean() <= 0.15
    assert visible.min() >= 0.4


def test_a_query_differs_from_its_unoccluded_pair_only_at_the_occluder():
    masks = dict(zip(IMAGES, np.load(ROOT / "masks.npz")["visible"], strict=True))
    for path, entry in folder("query").items():
        seen, whole = (np.unpackbits(masks[name]).reshape(128, 64) > 0 for name in (path, entry["twin"]))
        assert not (seen & ~whole).any(), path
        # `visible` is counted at twice the masks' size. A half-hidden pixel counts as visible in the masks, and a railing has many.
        assert abs(seen.sum() / whole.sum() - entry["visible"]) < 0.1, path
        with Image.open(ROOT / path) as hidden, Image.open(ROOT / entry["twin"]) as twin:
            gap = np.abs(np.asarray(hidden, int) - np.asarray(twin, int)).mean(2)
        assert gap[whole & ~seen].mean() > 2 * gap[seen].mean(), path


def test_colour_alone_finds_some_people_but_far_from_all():
    assert 0.10 <= stripes.scores(str(ROOT), layout="anny").cmc[0] <= 0.35


def test_a_histogram_is_a_normalised_feature_and_ignores_order_within_a_stripe_row():
    pixels = np.random.default_rng(0).integers(0, 256, (120, 64, 3), np.uint8)
    feature = stripes.histogram(pixels)
    assert feature.shape == (6 * 128,)
    assert np.linalg.norm(feature) == pytest.approx(1, abs=1e-6)
    # rows 0..19 are one stripe: turning it upside down changes nothing, moving it does
    turned = np.concatenate([pixels[:20][::-1], pixels[20:]])
    np.testing.assert_allclose(stripes.histogram(turned), feature, atol=1e-6)
    assert np.abs(stripes.histogram(np.roll(pixels, 60, 0)) - feature).max() > 1e-3


def test_a_seed_gives_the_same_outfit_and_another_seed_another():
    def dressed(seed):
        return garments.outfit(np.random.default_rng(seed), feminine=True, age=0.7)

    assert dressed(5) == dressed(5)
    assert dressed(5) != dressed(6)


def test_garments_are_shared_by_many_people_but_whole_outfits_are_not():
    people = [
        garments.outfit(np.random.default_rng([1, n]), feminine=n % 2 == 0, age=0.7) for n in range(300)
    ]
    tops = [(person.top.kind, person.top.colour) for person in people]
    assert len(set(tops)) < len(people) / 2
    assert len({replace(person, skin=(0, 0, 0)) for person in people}) == len(people)


def shot_and_settings(seed):
    rng = np.random.default_rng(seed)
    shot = camera.take_shot(camera.CAMERAS[0], rng, person_height=1.7)
    return shot, camera.develop_settings(camera.CAMERAS[0], rng)


def test_a_seed_gives_the_same_camera_shot_and_background():
    (first, one), (again, two) = shot_and_settings(3), shot_and_settings(3)
    np.testing.assert_array_equal(first.view.axes, again.view.axes)
    np.testing.assert_array_equal(one.grain, two.grain)
    pictures = [Scenery("street", 4).paint(first.view, np.random.default_rng(8))[0] for _ in range(2)]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    other = Scenery("street", 4).paint(first.view, np.random.default_rng(9))[0]
    assert np.abs(other - pictures[0]).mean() > 0.01


def test_the_cameras_write_the_same_light_in_different_colours():
    grey = np.full((1, 3), 0.2, np.float32) * np.asarray(
        [member.white for member in camera.CAMERAS], np.float32
    )
    written = [camera.tone(one, light) for one, light in zip(camera.CAMERAS, grey)]
    for index, colour in enumerate(written):
        for other in written[index + 1 :]:
            assert np.abs(colour - other).max() * 255 > 2


def test_a_person_is_framed_head_to_foot():
    for index, member in enumerate(camera.CAMERAS):
        for seed in range(20):
            shot = camera.take_shot(member, np.random.default_rng([index, seed]), person_height=1.75)
            ends, _ = shot.view.project(np.asarray([[0, 0, 0.02], [0, 0, 1.75]], np.float32))
            assert -16 < ends[1, 1] < ends[0, 1] < camera.HEIGHT * camera.SUPER + 16
            assert ends[0, 1] - ends[1, 1] > 0.85 * camera.HEIGHT * camera.SUPER


def counted(person, occluder):
    """The visible fraction pixel by pixel."""
    seen = total = 0
    for y in range(person.shape[0]):
        for x in range(person.shape[1]):
            total += bool(person[y, x])
            seen += bool(person[y, x] and not occluder[y, x])
    return seen / total


def test_the_visible_fraction_is_the_share_counted_pixel_by_pixel():
    rng = np.random.default_rng(0)
    for _ in range(5):
        person, occluder = rng.random((24, 12)) < 0.4, rng.random((24, 12)) < 0.5
        assert occlusion.visible_fraction(person, occluder) == counted(person, occluder)


def test_an_occluder_hides_between_a_fifth_and_three_fifths_of_a_person():
    y, x = np.mgrid[0:256, 0:128]
    person = ((x - 64) / 30) ** 2 + ((y - 128) / 118) ** 2 < 1
    other = occlusion.Layer(np.zeros((256, 128, 3), np.float32), person)
    shares = []
    for seed in range(60):
        blocker = other if seed % 3 == 0 else None
        layer = occlusion.occlude(person, np.random.default_rng(seed), noise=Noise(0), passer_by=blocker)
        shares.append(1 - occlusion.visible_fraction(person, layer.mask))
    assert min(shares) >= occlusion.MIN_HIDDEN and max(shares) <= occlusion.MAX_HIDDEN
    assert np.ptp(shares) > 0.2


def test_the_rasteriser_covers_the_pixel_centres_inside_a_triangle_and_keeps_the_nearest():
    rng = np.random.default_rng(1)
    xy, depth = rng.uniform(-3, 23, (12, 2)).astype(np.float32), rng.uniform(1, 3, 12).astype(np.float32)
    faces = np.arange(12, dtype=np.int32).reshape(4, 3)
    fragments = rasterise(xy, depth, faces, (20, 20))
    expected = {}
    for number, corners in enumerate(faces):
        system = np.vstack([xy[corners].T.astype(float), np.ones(3)])
        for pixel in range(400):
            weight = np.linalg.solve(system, [pixel % 20 + 0.5, pixel // 20 + 0.5, 1])
            near = float(weight @ depth[corners])
            if (weight > 0).all() and near < expected.get(pixel, (9.0, 0))[0]:
                expected[pixel] = (near, number)
    assert len(expected) > 50
    assert dict(zip(fragments.pixel.tolist(), fragments.face.tolist())) == {
        p: n for p, (_, n) in expected.items()
    }


def test_rays_and_projection_are_inverse():
    view = shot_and_settings(2)[0].view
    rays = view.rays()
    for row, column in ((0, 0), (100, 60), (255, 127)):
        pixel, _ = View.project(view, (view.eye + 4 * rays[row, column])[None])
        np.testing.assert_allclose(pixel[0], [column + 0.5, row + 0.5], atol=1e-2)


@pytest.mark.parametrize(
    "change",
    [
        {"train_identities": 9000},
        {"test_identities": 5000},
        {"query_cameras": 5},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_a_plan_that_does_not_fit_the_file_names_is_refused(change):
    with pytest.raises(ConfigError):
        replace(Plan(1, 1, 1, 1), **change).check()


def test_rendering_into_a_folder_with_content_is_refused_and_leaves_it_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="--out"):
        dataset.write(Plan(1, 1, 0, 1), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_rendering_an_identity_again_gives_the_shipped_pixels():
    pytest.importorskip("anny", reason="the renderer is not installed: pip install '.[render]'")
    plan = Plan(**META["plan"])
    renderer = dataset.Renderer(plan.seed)
    for pid in (1, FIRST_TEST_PID):
        for rendered in renderer.identity(plan, pid):
            assert abs(rendered.visible - IMAGES[rendered.path]["visible"]) < 0.01, rendered.path
            with Image.open(ROOT / rendered.path) as image:
                expected = np.asarray(image, float)
            again = np.asarray(Image.open(io.BytesIO(rendered.jpeg)), float)
            # The floating point of another machine may move an edge by one pixel.
            assert np.abs(again - expected).mean() < 1.0, rendered.path
