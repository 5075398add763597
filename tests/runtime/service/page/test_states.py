"""Whatever the service answers, the page says what it is and what to do next."""

import pytest

from tests.fakes.page_service import Service, row, served
from tests.runtime.service.page.test_search import choose, file, shown, wait_shown

MARKUP = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>.jpg"


def problem(path, status, title, detail, **headers):
    return (
        path,
        status,
        {"type": "about:blank", "title": title, "status": status, "detail": detail},
        headers,
    )


def test_an_empty_gallery_says_how_to_fill_it(tab, service):
    full, service.rows = service.rows, {}
    page = tab(service.url)
    page.wait_for_selector(".state")
    assert "The gallery is empty" in page.inner_text(".state") and "gallery add" in page.inner_text(
        ".state code"
    )
    assert page.is_disabled("#choose") and page.is_hidden("#filters") and page.is_hidden("#threshold")
    service.rows = full
    page.get_by_role("button", name="Look again").click()
    page.wait_for_selector(".card")
    assert page.is_enabled("#choose")


def test_a_service_with_another_gallery_is_noticed_and_rejections_stay_with_their_gallery(page, service):
    choose(page, file())
    page.locator('[data-id="2"]').focus()
    page.keyboard.press("r")
    wait_shown(page, [1, 3, 4, 5, 6, 7, 8, 9, 10])
    service.gallery = "another"
    page.locator('[data-id="3"]').focus()
    page.keyboard.press("Delete")
    page.click('[data-confirm="delete"]')
    page.wait_for_selector(".toast:has-text('another gallery')")
    page.wait_for_selector("h2:has-text('In the gallery')")
    assert page.locator(".chip").count() == 0
    choose(page, file())
    wait_shown(page, [1, 2, 4, 5, 6, 7, 8, 9, 10])


def test_a_search_by_a_row_that_is_gone_starts_anew(page, service):
    choose(page, file())
    del service.rows[3]
    service.problems = [problem("/v1/search", 404, "Not Found", "There is no such row.")]
    page.locator('[data-id="3"]').focus()
    page.keyboard.press("s")
    page.wait_for_selector(".state")
    assert "was deleted" in page.inner_text(".state")
    page.locator(".state").get_by_role("button", name="New person").click()
    page.wait_for_selector("h2:has-text('In the gallery')")


def test_a_token_is_asked_for_once_and_kept_for_the_tab(tab, service):
    service.token = "secret"
    page = tab(service.url)
    page.fill("#dialog-input", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#dialog-hint:has-text('does not accept')")
    page.fill("#dialog-input", "secret")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    choose(page, file())
    page.reload()
    page.wait_for_selector(".card")
    assert page.locator("dialog").count() == 0
    page.wait_for_function("() => document.querySelectorAll('.picture.loading').length < 20")


def test_without_a_token_the_page_says_what_it_needs(tab, service):
    service.token = "secret"
    page = tab(service.url)
    page.wait_for_selector("#dialog-input")
    page.keyboard.press("Escape")
    page.wait_for_selector(".state")
    assert "needs a token" in page.inner_text(".state")
    page.get_by_role("button", name="Enter token").click()
    page.fill("#dialog-input", "secret")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    assert page.locator("dialog").count() == 0


def test_a_busy_service_is_asked_again_after_the_time_that_it_says(page, service):
    busy = problem("/v1/search", 503, "Busy", "The queue is full.", **{"Retry-After": "0"})
    service.problems = [busy]
    choose(page, file())
    assert len(service.asked("POST", "/v1/search")) == 2
    service.problems = [problem("/v1/search", 503, "Busy", "The queue is full.", **{"Retry-After": "30"})]
    page.check("#camera-1", force=True)
    page.wait_for_selector(".state")
    assert "busy" in page.inner_text(".state") and "30 seconds" in page.inner_text(".state")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".rank")


def test_a_picture_that_the_service_refuses_is_explained_in_its_words(page, service):
    service.problems = [problem("/v1/search", 422, "Unprocessable picture", "image 1 cannot be decoded")]
    page.set_input_files("#files", [file(data=b"\xff\xd8 no picture")])
    page.wait_for_selector(".state")
    assert "Unprocessable picture" in page.inner_text(
        ".state"
    ) and "image 1 cannot be decoded" in page.inner_text(".state")


def test_a_service_that_is_gone_is_said_to_be_gone(chromium):
    with served(Service()) as service:
        page = chromium.new_page()
        page.goto(service.url)
        page.wait_for_selector(".card")
        page.route("**/v1/search", lambda route: route.abort())
        page.set_input_files("#files", [file()])
        page.wait_for_selector(".state")
        assert "cannot be reached" in page.inner_text(".state")
        page.unroute("**/v1/search")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".rank")
        page.close()


def test_a_failed_change_tells_why_and_changes_nothing(page, service):
    choose(page, file())
    service.problems = [problem("/v1/rows/1", 507, "Insufficient Storage", "The disk is full.")]
    page.locator('[data-id="1"]').focus()
    page.keyboard.press("Delete")
    page.click('[data-confirm="delete"]')
    page.wait_for_selector(".toast.bad")
    assert "The disk is full" in page.inner_text(".toast.bad") and shown(page)[0] == 1


@pytest.mark.parametrize("view", ["grid", "lanes"])
def test_markup_in_names_is_shown_as_text(tab, service, view):
    service.rows = {number: row(number, source=MARKUP, person=MARKUP) for number in (1, 2)}
    page = tab(service.url)
    page.wait_for_selector(".card")
    choose(page, file(MARKUP.replace("/", "_")))
    page.click(f'[data-view="{view}"]')
    page.locator(".card-main").first.click()
    page.wait_for_selector("dialog .facts-list")
    assert MARKUP in page.inner_text("dialog")
    page.keyboard.press("c")
    page.wait_for_selector("#dialog-input")
    page.keyboard.press("Escape")
    assert page.title() == "Find this person"
    assert page.locator("#results img, #query img, dialog img, body script:not([src])").count() == 0


def test_a_hundred_thousand_rows_stay_quick_to_look_at(tab, service):
    service.rows = {
        number: row(number, camera=number % 60, time=f"2026-11-{1 + number % 28:02d}T08:00:00Z")
        for number in range(1, 100_001)
    }
    service.threshold = None
    page = tab(service.url)
    page.wait_for_selector(".card")
    assert "100,000 pictures" in page.inner_text("#facts") and page.locator(".card").count() == 48
    assert page.locator(".pill").count() == 60
    page.get_by_role("button", name="Show more").click()
    page.wait_for_function("() => document.querySelectorAll('.card').length === 96")
    choose(page, file())
    assert "searched 100,000 of 100,000" in page.inner_text("#results")
    for count in (100, 200):
        page.get_by_role("button", name="Search for more results").click()
        page.wait_for_function("count => document.querySelectorAll('.card').length === count", arg=count)
    assert "the most that the service returns" in page.inner_text(".more")


def test_no_result_above_the_threshold_and_no_row_in_the_filters_are_told_apart(page, service):
    service.threshold["curve"][0][0] = 1.5
    page.reload()
    page.wait_for_selector(".card")
    page.focus("#slider")
    page.keyboard.press("Home")
    page.set_input_files("#files", [file()])
    page.wait_for_selector(".state")
    assert "No picture is similar enough" in page.inner_text(".state")
    page.get_by_role("button", name="Show results below the threshold").click()
    page.wait_for_selector(".rank")
    page.fill("#after", "2027-01-01T00:00")
    page.wait_for_selector(".state:has-text('filters')")
    page.locator(".state").get_by_role("button", name="Clear the filters").click()
    page.wait_for_selector(".rank")
