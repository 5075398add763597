"""Search on the page: pictures in, filters, the threshold, both views, and what goes out of it."""

import base64
import csv
import io
import json

from tests.fakes.page_service import picture

# What a user drops or pastes is a File in a DataTransfer.
TRANSFER = """(files) => {
    const transfer = new DataTransfer();
    for (const { name, type, data } of files) {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type }));
    }
    return transfer;
}"""


def file(name="someone.jpg", kind="image/jpeg", data=None):
    return {"name": name, "mimeType": kind, "buffer": picture() if data is None else data}


def transfer(page, *files):
    plain = [
        {"name": f["name"], "type": f["mimeType"], "data": base64.b64encode(f["buffer"]).decode()}
        for f in files
    ]
    return page.evaluate_handle(TRANSFER, plain)


def choose(page, *files):
    page.set_input_files("#files", list(files))
    page.wait_for_selector(".rank")


def shown(page):
    return [
        int(number)
        for number in page.locator(".card-main").evaluate_all("marks => marks.map((mark) => mark.dataset.id)")
    ]


def wait_shown(page, numbers):
    page.wait_for_function(
        """wanted => {
            const marks = [...document.querySelectorAll('.card-main')];
            return marks.map((mark) => mark.dataset.id).join() === wanted;
        }""",
        arg=",".join(map(str, numbers)),
    )


def asked(service):
    return service.asked("POST", "/v1/search")[-1]


def test_a_chosen_picture_is_searched_whole_and_its_results_are_ranked(page, service):
    choose(page, file())
    assert asked(service)["image"] == [("someone.jpg", picture())]
    assert asked(service)["box"] == [""]
    assert shown(page) == list(range(1, 11))
    text = page.inner_text("#results")
    assert (
        "10 results" in text
        and "searched 30 of 30" in text
        and "20 results below the threshold hidden" in text
    )
    assert page.locator(".card").nth(2).inner_text().split("\n")[:2] == ["3", "0.97"]


def test_a_dropped_picture_is_searched(page, service):
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer(page, file("dropped.jpg"))})
    assert page.is_visible("#dropping")
    page.dispatch_event("body", "drop", {"dataTransfer": transfer(page, file("dropped.jpg"))})
    page.wait_for_selector(".rank")
    assert page.is_hidden("#dropping")
    assert asked(service)["image"][0][0] == "dropped.jpg"


def test_a_pasted_picture_is_searched(page, service):
    page.evaluate(
        "(data) => window.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, cancelable: true }))",
        transfer(page, file("image.png", "image/png", picture(kind="PNG"))),
    )
    page.wait_for_selector(".rank")
    assert asked(service)["image"] == [("image.png", picture(kind="PNG"))]


def test_several_pictures_of_one_person_are_one_search_and_the_limit_is_said(page, service):
    choose(page, file("a.jpg"), file("b.jpg"))
    assert [name for name, _ in asked(service)["image"]] == ["a.jpg", "b.jpg"]
    page.set_input_files("#files", [file("c.jpg"), file("d.jpg")])
    page.wait_for_selector(".toast.bad")
    assert "1 picture was left out" in page.inner_text(".toast.bad")
    page.wait_for_function("() => document.querySelectorAll('.chip').length === 3")
    assert page.is_disabled("#choose")
    page.locator(".chip").nth(0).get_by_label("Remove").click()
    page.wait_for_function("() => document.querySelectorAll('.chip').length === 2")
    assert [name for name, _ in asked(service)["image"]] == ["b.jpg", "c.jpg"]


def test_what_is_no_picture_or_too_large_is_named_and_not_sent(page, service):
    page.set_input_files(
        "#files",
        [file("notes.txt", "text/plain", b"hello"), file("big.jpg", data=picture() + b"0" * 100_000)],
    )
    page.wait_for_function("() => document.querySelectorAll('.toast.bad').length === 2")
    toasts = page.inner_text("#toasts")
    assert "notes.txt" in toasts and "big.jpg" in toasts and "98 KiB" in toasts
    assert service.asked("POST", "/v1/search") == []


def scene(page):
    page.set_input_files("#files", [file("scene.png", "image/png", picture(400, 200, kind="PNG"))])
    page.wait_for_selector(".frame")
    return page.locator(".crop-picture").bounding_box()


def test_a_scene_asks_for_a_frame_which_the_mouse_draws(page, service):
    box = scene(page)
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.9, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Search this frame").click()
    page.wait_for_selector(".rank")
    found = [int(number) for number in asked(service)["box"][0].split(",")]
    assert all(abs(a - b) <= 1 for a, b in zip(found, [100, 20, 200, 180]))


def test_the_frame_moves_and_grows_by_keyboard_and_by_numbers(page, service):
    scene(page)
    before = [int(page.input_value(f"#crop-{index}")) for index in range(4)]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    moved = [int(page.input_value(f"#crop-{index}")) for index in range(4)]
    assert moved == [before[0] - 4, before[1], before[2] - 4, before[3] + 4]
    page.fill("#crop-0", "10")
    page.fill("#crop-2", "9999")
    page.keyboard.press("Tab")
    assert [page.input_value(f"#crop-{index}") for index in (0, 2)] == ["10", "400"]
    page.get_by_role("button", name="Search this frame").click()
    page.wait_for_selector(".rank")
    assert asked(service)["box"] == [f"10,{moved[1]},400,{moved[3]}"]


def test_a_corner_is_dragged_by_touch_events_of_a_pointer(page, service):
    box = scene(page)
    corner = page.locator(".handle.se").bounding_box()
    page.evaluate(
        """([x, y, toX, toY]) => {
            document.querySelector('.crop-stage').setPointerCapture = () => {};
            const finger = { pointerId: 1, pointerType: 'touch', bubbles: true, button: 0 };
            const send = (type, clientX, clientY) => {
                const event = new PointerEvent(type, { ...finger, clientX, clientY });
                document.querySelector('.handle.se').dispatchEvent(event);
            };
            send('pointerdown', x, y);
            send('pointermove', toX, toY);
            send('pointerup', toX, toY);
        }""",
        [corner["x"] + 13, corner["y"] + 13, box["x"] + box["width"] * 2, box["y"] + box["height"] * 0.5],
    )
    assert page.input_value("#crop-2") == "400"
    assert abs(int(page.input_value("#crop-3")) - 100) <= 3


def test_the_filters_of_camera_and_time_go_into_the_search(page, service):
    choose(page, file())
    page.check("#camera-1", force=True)
    wait_shown(page, [1, 5, 9])
    page.fill("#after", "2026-11-27T09:40")
    wait_shown(page, [5, 9])
    # Berlin is an hour ahead of UTC in November
    assert asked(service)["after"] == ["2026-11-27T08:40:00Z"] and asked(service)["camera"] == ["1"]
    page.fill("#before", "2026-11-27T09:00")
    assert "earlier" in page.inner_text("#range-problem")
    page.fill("#before", "2026-11-27T10:00")
    wait_shown(page, [5])
    page.click("#clear-filters")
    wait_shown(page, list(range(1, 11)))


def test_the_threshold_is_labelled_in_words_and_hides_what_is_below(page):
    choose(page, file())
    assert page.inner_text("#threshold-words") == "About 1 wrong person in 100 searches"
    page.focus("#slider")
    page.keyboard.press("ArrowLeft")
    wait_shown(page, list(range(1, 8)))
    assert page.get_attribute("#slider", "aria-valuetext") == "about 1 wrong person in 500 searches"
    page.keyboard.press("ArrowLeft")
    wait_shown(page, [1, 2, 3, 4])
    assert page.inner_text("#threshold-words") == "At most 1 wrong person in 250 searches"
    page.keyboard.press("End")
    wait_shown(page, list(range(1, 31)))
    page.click("#threshold-reset")
    wait_shown(page, list(range(1, 11)))
    page.get_by_role("button", name="Show", exact=True).click()
    wait_shown(page, list(range(1, 31)))
    assert page.locator(".card.no").count() == 20


def test_without_a_calibration_the_slider_shows_similarity_and_says_so(tab, service):
    service.threshold = None
    page = tab(service.url)
    page.wait_for_selector(".card")
    assert "no calibrated threshold" in page.inner_text("#threshold-warning")
    choose(page, file())
    assert len(shown(page)) == 30
    page.fill("#slider", "19")
    wait_shown(page, list(range(1, 21)))
    assert page.inner_text("#threshold-words") == "Similarity 0.80 or more"
    assert "wrong" not in page.locator(".card").first.inner_text()


def test_more_people_than_were_calibrated_are_warned_of(tab, service):
    service.threshold["enrolled"] = 2
    service.rows = {number: service.rows[number] | {"person": str(number)} for number in service.rows}
    page = tab(service.url)
    page.wait_for_selector("#threshold-warning:visible")
    assert "2 people" in page.inner_text("#threshold-warning") and "30 people" in page.inner_text(
        "#threshold-warning"
    )


def test_search_with_this_one_searches_by_the_stored_row_and_back_returns(page, service):
    choose(page, file())
    card = page.locator(".card").nth(2)
    card.hover()
    card.get_by_label("Search with this one").click()
    wait_shown(page, [1, 2, 4, 5, 6, 7, 8, 9, 10])
    assert (
        asked(service)["row"] == ["3"]
        and asked(service)["exclude"] == ["3"]
        and "image" not in asked(service)
    )
    page.go_back()
    wait_shown(page, list(range(1, 11)))
    assert "row" not in asked(service) and asked(service)["image"][0][0] == "someone.jpg"


def test_a_stored_picture_and_a_file_are_mixed_in_one_search(page, service):
    choose(page, file())
    page.locator(".card-main").nth(1).focus()
    page.keyboard.press("a")
    page.wait_for_function("() => document.querySelectorAll('.chip').length === 2")
    page.wait_for_function("() => !document.querySelector('[data-id=\"2\"]')")
    assert asked(service)["row"] == ["2"] and len(asked(service)["image"]) == 1


def test_the_lanes_place_every_result_at_its_time_in_the_lane_of_its_camera(page):
    choose(page, file())
    page.click('[data-view="lanes"]')
    page.wait_for_selector(".lane")
    lanes = page.locator(".lane").evaluate_all(
        """lanes => lanes.map((lane) => {
            const marks = [...lane.querySelectorAll('.mark')];
            return [lane.querySelector('h3').firstChild.textContent, marks.map((mark) => Number(mark.dataset.id))];
        })"""
    )
    assert lanes == [
        ["Camera 0", [4, 8]],
        ["Camera 1", [1, 5, 9]],
        ["Camera 2", [2, 6, 10]],
        ["Camera 3", [3, 7]],
    ]
    left = {
        int(number): x
        for number, x in page.locator(".mark").evaluate_all(
            "marks => marks.map((mark) => [mark.dataset.id, mark.getBoundingClientRect().left])"
        )
    }
    steps = [left[number + 1] - left[number] for number in range(1, 10)]
    assert max(steps) - min(steps) < 1 and min(steps) > 0
    assert page.locator(".tick").count() >= 3
    assert page.locator(".tick").first.inner_text() == "09:10"
    width = page.locator(".strip").first.bounding_box()["width"]
    page.get_by_label("Zoom in").click()
    page.wait_for_function(
        "was => document.querySelector('.strip').getBoundingClientRect().width > 1.9 * was", arg=width
    )


def saved(page, name):
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    return download.value.suggested_filename, open(download.value.path(), newline="").read()


def test_the_results_are_saved_as_csv_and_json_with_what_is_hidden(page, service):
    service.rows[2]["source"] = '=HYPERLINK("x"),"y"'
    choose(page, file())
    page.locator(".card-main").nth(4).focus()
    page.keyboard.press("r")
    wait_shown(page, [1, 2, 3, 4, 6, 7, 8, 9, 10])
    name, text = saved(page, "Save as CSV")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert name.startswith("search-") and name.endswith(".csv") and len(rows) == 30
    assert (
        rows[0] | {"rank": "1", "row": "1", "similarity": "0.99", "accepted": "true", "rejected": "false"}
        == rows[0]
    )
    assert rows[0]["camera"] == "1" and rows[0]["time"] == "2026-11-27T08:10:00Z" and rows[0]["track"] == ""
    assert rows[1]["source"] == '\'=HYPERLINK("x"),"y"'
    assert rows[4]["rejected"] == "true" and rows[29]["accepted"] == "false"
    name, text = saved(page, "Save as JSON")
    document = json.loads(text)
    assert document["query"] == [{"file": "someone.jpg", "box": None}] and document["threshold"] == 0.9
    assert [one["row"] for one in document["results"]] == list(range(1, 31))
    assert document["results"][1]["source"] == '=HYPERLINK("x"),"y"'
