"""axe-core finds no fault in any state of the page, in light and dark, narrow and wide."""

import pytest

from tests.runtime.service.page.test_search import choose, file, picture

# every state is judged in two of the four; the colours and the layout of the first ones, in all
SETTINGS = [(1600, "light", True), (1600, "dark", False), (390, "light", False), (390, "dark", True)]


@pytest.fixture
def faults():
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python: make page-check"
    ).Axe()

    def found(page):
        page.wait_for_timeout(250)  # the colours of a state that fades in are judged when it is there
        violations = axe.run(page).response["violations"]
        return [
            (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"][:3]])
            for one in violations
        ]

    return found


@pytest.mark.parametrize(("width", "scheme", "everything"), SETTINGS)
def test_no_fault_in_the_results_the_dialogs_and_the_states(tab, service, faults, width, scheme, everything):
    page = tab(
        service.url, viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    page.wait_for_selector(".card")
    choose(page, file(), file("b.jpg"))
    page.get_by_role("button", name="Show", exact=True).click()
    page.locator(".card-main").nth(1).focus()
    page.keyboard.press("r")
    assert faults(page) == []
    if not everything:
        return
    page.click('[data-view="lanes"]')
    assert faults(page) == []
    page.locator(".mark").first.click()
    page.wait_for_selector("dialog .facts-list")
    assert faults(page) == []
    for key in ("c", "Delete", "?"):
        page.keyboard.press("Escape")
        page.locator(".mark").first.focus()
        page.keyboard.press(key)
        page.wait_for_selector("dialog[open]")
        assert faults(page) == []
    page.keyboard.press("Escape")
    page.set_input_files("#files", [file("scene.png", "image/png", picture(400, 200, kind="PNG"))])
    page.wait_for_selector(".frame")
    assert faults(page) == []
    page.keyboard.press("Escape")
    service.problems = [("/v1/search", 422, {"title": "Unprocessable", "detail": "A box is empty."}, {})]
    page.get_by_label("Remove").first.click()
    page.wait_for_selector(".state")
    assert faults(page) == []
    service.rows = {}
    page.reload()
    page.wait_for_selector(".state")
    assert faults(page) == []
