"""Confirm, reject and delete, by keyboard, mouse and touch."""

import pytest

from tests.runtime.service.page.test_search import choose, file, shown, wait_shown


def current(page):
    return page.evaluate("Number(document.activeElement.dataset.id)")


def test_a_confirmed_person_is_stored_and_offered_again_and_can_be_undone(page, service):
    choose(page, file())
    page.locator(".card-main").nth(0).focus()
    page.keyboard.press("c")
    page.wait_for_selector("#dialog-input")
    page.fill("#dialog-input", "Anna")
    page.keyboard.press("Enter")
    page.wait_for_selector('.card[data-card="1"] .person')
    assert service.rows[1]["person"] == "Anna"
    page.wait_for_function("() => Number(document.activeElement.dataset.id) === 1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.wait_for_selector("#dialog-input")
    assert page.input_value("#dialog-input") == "Anna"
    page.keyboard.press("Enter")
    page.wait_for_selector('.card[data-card="2"] .person')
    page.locator(".toast").last.get_by_text("Undo").click()
    page.wait_for_selector('.card[data-card="2"] .person', state="detached")
    assert service.rows[2]["person"] is None


def test_a_name_is_removed_by_an_empty_one(page, service):
    choose(page, file())
    page.locator('[data-id="4"]').focus()
    page.keyboard.press("c")
    page.fill("#dialog-input", "  ")
    page.keyboard.press("Enter")
    page.wait_for_selector('.card[data-card="4"] .person', state="detached")
    assert service.rows[4]["person"] is None


def test_a_rejected_row_stays_hidden_over_searches_and_a_reload_but_not_for_another_person(page, service):
    choose(page, file())
    page.locator('[data-id="2"]').focus()
    page.keyboard.press("r")
    wait_shown(page, [1, 3, 4, 5, 6, 7, 8, 9, 10])
    assert current(page) == 3
    assert "1 rejected hidden" in page.inner_text(".hidden-line")
    page.reload()
    page.wait_for_selector(".card")
    choose(page, file())
    wait_shown(page, [1, 3, 4, 5, 6, 7, 8, 9, 10])
    page.locator(".hidden-line").get_by_role("button", name="Show").nth(1).click()
    wait_shown(page, list(range(1, 11)))
    page.locator('[data-id="2"]').focus()
    page.keyboard.press("r")
    page.wait_for_function("() => !document.querySelector('.hidden-line').textContent.includes('rejected')")
    page.locator('[data-id="7"]').focus()
    page.keyboard.press("r")
    page.click("#new-person")
    choose(page, file("another.jpg"))
    wait_shown(page, list(range(1, 11)))
    assert (
        not [fields for _, path, fields in service.requests if path == "/v1/delete"]
        and len(service.rows) == 30
    )


def test_a_deletion_asks_first_and_its_default_is_to_cancel(page, service):
    choose(page, file())
    page.locator('[data-id="3"]').focus()
    page.keyboard.press("Delete")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="detached")
    assert len(service.rows) == 30 and current(page) == 3
    page.keyboard.press("Delete")
    page.click('[data-confirm="delete"]')
    wait_shown(page, [1, 2, 4, 5, 6, 7, 8, 9, 10])
    assert 3 not in service.rows
    page.wait_for_function("() => document.getElementById('facts').textContent.startsWith('29 pictures')")
    assert current(page) == 4


def test_all_pictures_of_a_person_are_deleted_after_a_second_question(page, service):
    choose(page, file())
    page.locator('[data-id="4"]').focus()
    page.keyboard.press("Delete")
    page.get_by_role("button", name="Delete all of 0042").click()
    page.wait_for_selector("dialog h2:has-text('every picture of 0042')")
    page.click('[data-confirm="delete"]')
    wait_shown(page, [1, 2, 3, 5, 6, 7, 9, 10])
    assert {one["person"] for one in service.rows.values()} == {None}


def test_a_row_that_somebody_else_deleted_disappears(page, service):
    choose(page, file())
    del service.rows[5]
    page.locator('[data-id="5"]').focus()
    page.keyboard.press("Delete")
    page.click('[data-confirm="delete"]')
    wait_shown(page, [1, 2, 3, 4, 6, 7, 8, 9, 10])
    page.wait_for_selector(".toast:has-text('deleted already')")
    assert page.locator('.toast:has-text("Nothing was deleted")').count() == 0


def test_a_read_only_service_offers_no_changes(tab, service):
    service.writable = False
    page = tab(service.url)
    page.wait_for_selector(".card")
    choose(page, file())
    page.locator(".card").first.hover()
    offered = (
        page.locator(".card")
        .first.locator("[data-action]")
        .evaluate_all("all => all.map((one) => one.dataset.action)")
    )
    assert offered == ["search", "add", "reject"]
    assert "read only" in page.inner_text("#facts")


def test_the_keyboard_alone_reaches_everything(page):
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "choose"
    choose(page, file())
    page.locator(".card-main").nth(0).focus()
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('.grid')).gridTemplateColumns.split(' ').length"
    )
    page.keyboard.press("ArrowDown")
    assert current(page) == 1 + columns
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    assert current(page) == 10
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.action") == "search"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog h2:has-text('Result 2 of 10')")
    assert "at most 1 wrong person in 250 searches" in page.inner_text("dialog")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("dialog h2:has-text('Result 3 of 10')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("v")
    page.wait_for_selector(".lane")
    page.keyboard.press("?")
    page.wait_for_selector("dialog kbd")
    assert {"Enter", "Del", "/"} <= set(page.locator("dialog kbd").all_inner_texts())


def test_a_finger_reaches_every_action(tab, service):
    page = tab(service.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.wait_for_selector(".card")
    choose(page, file())
    page.locator(".card-main").nth(1).tap()
    page.wait_for_selector("dialog [data-action]")
    offered = page.locator("dialog [data-action]").evaluate_all("all => all.map((one) => one.dataset.action)")
    assert offered == ["search", "add", "confirm", "reject", "delete"]
    page.locator('dialog [data-action="reject"]').tap()
    wait_shown(page, [1, 3, 4, 5, 6, 7, 8, 9, 10])


@pytest.mark.parametrize("width", [390, 1600])
def test_nothing_is_wider_than_the_window(tab, service, width):
    service.rows[1]["source"] = "a" * 200 + ".jpg"
    service.rows[1]["person"] = "b" * 200
    page = tab(service.url, viewport={"width": width, "height": 900})
    page.wait_for_selector(".card")
    choose(page, file("c" * 150 + ".jpg"))
    for view in ("grid", "lanes"):
        page.click(f'[data-view="{view}"]')
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click('[data-view="grid"]')
    page.locator(".card-main").first.click()
    page.wait_for_selector("dialog .facts-list")
    assert page.evaluate(
        "document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth"
    )
    assert shown(page)
