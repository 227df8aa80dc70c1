"""A browser in the house: people who walk through the pages, and everything that their pages ask for."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import geteuid
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from engine.kit.messages import t
from tests.house.conftest import House

PATIENT = 180_000.0
"""Milliseconds within which a job of the walk is done on two slow cores."""

FORGIVEN = (
    # Browsers ask for this old address by themselves; the pages name their own icon.
    re.compile(r"favicon\.ico"),
    # Gradio says this when a page is left while its stream of events is open.
    re.compile(r"AbortError: signal is aborted"),
    # And this when a page is loaded again or left while its next refresh is on the way.
    re.compile(r"Unexpected error Connection errored out"),
)


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Run the Chromium of this machine, or the one that Playwright brought, asking nobody for anything."""
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium"),
        args=[
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            # Chromium cannot build its sandbox as root, which is who runs in many containers.
            *(["--no-sandbox"] if geteuid() == 0 else []),
        ],
    )
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class Walk:
    """One browser on one house: what its pages asked for, what they complained about, what was made."""

    house: House
    browser: Browser
    mark: str
    """Sets what this walk makes apart from what others made in the same house."""
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    run: str = ""
    """The name of a finished training, which is also its expert's title."""
    contexts: list[BrowserContext] = field(default_factory=list)

    def visitor(self, language: str = "en", width: int = 1280) -> Page:
        """Return a page of somebody who has not signed in."""
        locale = "zh-CN" if language == "zh" else "en-GB"
        context = self.browser.new_context(locale=locale, viewport={"width": width, "height": 844})
        context.set_default_timeout(60_000)
        context.on("request", lambda request: self.asked.append(request.url))
        context.on("console", self._said)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        page = context.new_page()
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.contexts.append(context)
        return page

    def _said(self, message: ConsoleMessage) -> None:
        told = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not any(words.search(told) for words in FORGIVEN):
            self.complaints.append(told)

    def enter(self, role: str, language: str = "en", width: int = 1280) -> Page:
        """Return a page of somebody who came in through the front page as a starter account."""
        page = self.visitor(language, width)
        page.goto(f"{self.house.web}/{language}/")
        page.get_by_role("button", name=t(f"front.role_{role}", language), exact=True).click()
        page.wait_for_url(re.compile(rf"/{language}/(studio|market|arena|dashboard)/"))
        return page

    def open(self, page: Page, path: str, language: str = "en") -> None:
        """Go to an address below the language, and wait until the page knows who looks at it."""
        page.goto(f"{self.house.web}/{language}/{path}")
        expect(balance(page)).to_be_visible()

    def elsewhere(self) -> set[str]:
        """Return the hosts other than this machine that were asked for anything."""
        hosts = {urlsplit(url).hostname for url in self.asked if not url.startswith(("data:", "blob:"))}
        return {host or "?" for host in hosts} - {"127.0.0.1"}

    def leave(self) -> None:
        """Close every page."""
        while self.contexts:
            self.contexts.pop().close()


@contextmanager
def walking(house: House) -> Iterator[Walk]:
    """Run a browser on a house, whose pages are given the time that two slow cores need."""
    expect.set_options(timeout=PATIENT)
    with sync_playwright() as playwright, chromium(playwright) as browser:
        yield Walk(house, browser, mark=f"{time.time():.0f}")


def balance(page: Page) -> Locator:
    """Return the balance in the header; it is there once the page knows the person."""
    return page.get_by_title(t("frame.balance", language_of(page)))


def language_of(page: Page) -> str:
    """Return the language that the address of a page names."""
    return urlsplit(page.url).path.split("/")[1]


def tile(page: Page, label: str) -> Locator:
    """Return the figure above a label."""
    return page.locator(".mbe-tile").filter(has=page.get_by_text(label, exact=True)).locator("b")


def heading(page: Page, words: str) -> Locator:
    """Return a heading with exactly these words."""
    return page.get_by_role("heading", name=words, exact=True)


def button(page: Page, words: str) -> Locator:
    """Return a button with exactly these words."""
    return page.get_by_role("button", name=words, exact=True)


def pick(page: Page, label: str, choice: str) -> None:
    """Choose from a list."""
    page.get_by_role("listbox", name=label).or_(page.get_by_label(label, exact=True)).first.click()
    page.get_by_role("option", name=choice).click()


def text_field(page: Page, label: str) -> Locator:
    """Return a text field by its label; a sentence on what belongs in it may follow the label."""
    return page.get_by_role("textbox", name=label)


def job_card(page: Page, state: str) -> Locator:
    """Return the card of a job that is in one of the states, separated by "|"."""
    return page.locator(", ".join(f'.mbe-job[data-state="{one}"]' for one in state.split("|")))


def figure(words: str) -> float:
    """Return the first number in a text such as "1,234.5 credits"."""
    found = re.search(r"[\d,]*\d(?:\.\d+)?", words)
    assert found is not None, f"no figure in {words!r}"
    return float(found[0].replace(",", ""))
