"""The page with the real service: its command, a small model, and galleries of rendered people."""

import hashlib
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.fakes.checked_model import write_checked_model
from tests.fakes.documents import ROOT
from tests.fakes.tiny_model import SPEC
from tests.runtime.service.page.test_search import choose, file, shown, wait_shown
from tests.runtime.service.page.test_states import MARKUP

CROPS = sorted((ROOT / "data" / "anny_reid" / "bounding_box_test").glob("*.jpg"))[:48]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("fastapi", reason="the real service needs the extra service")
    return write_checked_model(tmp_path_factory.mktemp("model") / "tiny.onnx", SPEC)


def fill(store, model, rows_of):
    """Fill a gallery with the rows, features and thumbnails that `rows_of` makes of an opened model."""
    from runtime import open_gallery, open_model

    opened = open_model(model)
    with open_gallery(store, model=opened) as gallery:
        gallery.add_rows(*rows_of(opened))
    return store


def crops_of(opened):
    from runtime.gallery.store.rows import Row
    from runtime.images.thumbnails import small_jpeg

    pixels = [np.asarray(Image.open(path)) for path in CROPS]
    rows = [
        Row(
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            source="",
            camera=number % 4,
            time_us=(1795766400 + 600 * number) * 1_000_000,
            track=None,
            person=None,
            path=f"/somewhere/{path.name}",
        )
        for number, path in enumerate(CROPS)
    ]
    return rows, opened.embed(pixels, color="rgb"), [small_jpeg(image) for image in pixels]


@contextmanager
def running(store, model, *options, port=0):
    """Run the command on `store`, and give its address."""
    words = [
        "-m",
        "runtime",
        "serve",
        "--store",
        str(store),
        "--model",
        str(model),
        "--port",
        str(port),
        *options,
    ]
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def upload(path):
    return file(path.name, data=path.read_bytes())


def test_a_picture_finds_itself_and_is_confirmed_rejected_and_deleted(tab, model, tmp_path):
    store = fill(tmp_path / "gallery", model, crops_of)
    with running(store, model) as url:
        page = tab(url)
        page.wait_for_selector(".card")
        choose(page, upload(CROPS[10]))
        first = page.locator(".card").first
        assert first.inner_text().split("\n")[:2] == ["1", "1.00"]
        page.wait_for_selector(".card:first-child .picture:not(.loading)")
        assert page.locator(".picture.missing").count() == 0
        found = shown(page)
        page.locator(".card-main").first.click()
        page.wait_for_selector(f".facts-list:has-text('{CROPS[10].name}')")
        assert "somewhere" not in page.content()
        page.keyboard.press("c")
        page.fill("#dialog-input", "Anna")
        page.keyboard.press("Enter")
        page.wait_for_selector(".card:first-child .person:has-text('Anna')")
        page.locator(".card-main").nth(1).focus()
        page.keyboard.press("Delete")
        page.click('[data-confirm="delete"]')
        wait_shown(page, [found[0], *found[2:]])
        page.locator(".card-main").first.focus()
        page.keyboard.press("s")
        page.wait_for_function("first => !document.querySelector(`[data-id='${first}']`)", arg=str(found[0]))
        page.check("#camera-1", force=True)
        page.wait_for_function(
            "() => [...document.querySelectorAll('.card')].every((card) => card.textContent.includes('Camera 1'))"
        )
        page.reload()
        page.wait_for_selector("#facts:has-text('47 pictures · 1 person · 4 cameras')")


def test_a_frame_around_a_person_in_a_scene_finds_that_person(tab, model, tmp_path):
    store = fill(tmp_path / "gallery", model, crops_of)
    scene = Image.new("RGB", (640, 360), (90, 110, 90))
    scene.paste(Image.open(CROPS[20]), (300, 100))
    scene.save(tmp_path / "scene.png")
    with running(store, model) as url:
        page = tab(url)
        page.wait_for_selector(".card")
        page.set_input_files("#files", tmp_path / "scene.png")
        page.wait_for_selector(".frame")
        for index, number in enumerate((300, 100, 364, 228)):
            page.fill(f"#crop-{index}", str(number))
            page.keyboard.press("Tab")
        page.get_by_role("button", name="Search this frame").click()
        page.wait_for_selector(".rank")
        page.locator(".card-main").first.click()
        assert CROPS[20].name in page.inner_text("dialog .facts-list")


def test_an_empty_gallery_and_a_token(tab, model, tmp_path):
    (tmp_path / "token").write_text("a-secret-of-this-test-0123456789\n")
    with running(tmp_path / "new", model, "--token-file", str(tmp_path / "token")) as url:
        page = tab(url)
        page.fill("#dialog-input", "a-secret-of-this-test-0123456789")
        page.keyboard.press("Enter")
        page.wait_for_selector(".state:has-text('The gallery is empty')")


def test_a_file_name_with_markup_is_text_and_a_broken_picture_is_explained(tab, model, tmp_path):
    store = fill(tmp_path / "gallery", model, crops_of)
    with running(store, model) as url:
        page = tab(url)
        page.wait_for_selector(".card")
        page.evaluate(
            """async ([name, data]) => {
                const form = new FormData();
                form.append('image', new File([Uint8Array.from(data)], name, { type: 'image/jpeg' }));
                form.append('person', name);
                const response = await fetch('/v1/rows', { method: 'POST', body: form });
                if (!response.ok) throw new Error(await response.text());
            }""",
            [MARKUP.replace("/", "_"), list(CROPS[0].read_bytes()[:-2] + b"\xff\xd9\n")],
        )
        choose(page, upload(CROPS[0]))
        page.wait_for_selector(".person:has-text('<img src=x')")
        assert page.title() == "Find this person" and page.locator("#results img").count() == 0
        page.set_input_files("#files", file("broken.jpg", data=b"\xff\xd8 no picture"))
        page.wait_for_selector(".state:has-text('broken.jpg')")


def test_another_models_gallery_is_refused_at_the_start_and_noticed_by_an_open_page(tab, model, tmp_path):
    other = write_checked_model(tmp_path / "other.onnx", replace(SPEC, height=48))
    store = fill(tmp_path / "gallery", model, crops_of)
    with running(store, model) as url:
        page = tab(url)
        page.wait_for_selector(".card")
        choose(page, upload(CROPS[0]))
    words = ["-m", "runtime", "serve", "--store", str(store), "--model", str(other)]
    refused = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert refused.returncode == 4 and "gallery" in refused.stderr and refused.stderr.count("\n") == 1
    port = int(url.rsplit(":", 1)[1].strip("/"))
    with running(tmp_path / "another", other, port=port) as again:
        assert again == url
        page.locator(".card-main").first.focus()
        page.keyboard.press("Delete")
        page.click('[data-confirm="delete"]')
        page.wait_for_selector(".state:has-text('The gallery is empty')")


def test_a_hundred_thousand_real_rows(tab, model, tmp_path):
    from runtime.gallery.store.rows import Row

    def rows_of(opened):
        random = np.random.default_rng(0).normal(size=(100_000, opened.dim)).astype(np.float32)
        rows = [
            Row(f"{n:064x}", "", n % 50, (1795766400 + n) * 1_000_000, None, None, f"{n}.jpg")
            for n in range(100_000)
        ]
        return rows, random / np.linalg.norm(random, axis=1, keepdims=True)

    store = fill(tmp_path / "gallery", model, rows_of)
    with running(store, model) as url:
        page = tab(url)
        page.wait_for_selector(".card", timeout=20_000)
        assert "100,000 pictures" in page.inner_text("#facts") and page.locator(".pill").count() == 50
        page.set_input_files("#files", upload(CROPS[0]))
        page.wait_for_selector(".rank", timeout=20_000)
        assert "searched 100,000 of 100,000" in page.inner_text("#results")
        assert page.locator(".card").count() == 50
        page.wait_for_selector(".card:first-child .picture.missing")
        page.click('[data-view="lanes"]')
        page.wait_for_selector(".mark")
        assert page.locator(".mark").count() == 50
