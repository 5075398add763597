"""A real browser for the tests of the page. They are skipped with a reason where Playwright or Chromium is missing."""

import shutil

import pytest

from tests.fakes.page_service import Service, served

# the browser never asks anything of a foreign host, not even for its own updates
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests of a session."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="the tests of the page need Playwright: make page-check"
    )
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("the tests of the page need Chromium (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def service():
    """A stand-in service with 30 rows, a calibrated threshold, and no token."""
    with served(Service()) as running:
        yield running


@pytest.fixture
def tab(chromium):
    """Opens windows; a script error, a refused script or style, or a request to a foreign host fails the test."""
    contexts, faults = [], []

    def window(url, **options):
        context = chromium.new_context(
            timezone_id="Europe/Berlin", **({"viewport": {"width": 1600, "height": 1000}} | options)
        )
        context.set_default_timeout(5000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None,
        )
        page.on(
            "request",
            lambda request: (
                faults.append(request.url) if not request.url.startswith((url, "blob:")) else None
            ),
        )
        page.goto(url)
        return page

    yield window
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture
def page(tab, service):
    """The page of `service` with its first pictures, 1,600 pixels wide."""
    opened = tab(service.url)
    opened.wait_for_selector(".card")
    return opened
