"""The site's pages, opened in a browser from a folder; skipped where there is no browser.

They need the extra `site` (`pip install ".[site]"`) and Chromium or Chrome; see `site_browser`.
"""

import re
import time

import pytest

pytest_plugins = ("site_pages", "site_browser")
pytestmark = pytest.mark.slow

FOCUS = """
(e => e.closest("article") ? "content" : e.closest(".sidebar-drawer") ? "navigation"
  : e.matches(".skip-to-content") ? "skip" : e.closest(".toc-drawer") ? "on this page"
  : "other")(document.activeElement)"""


def every(found: dict, what: str) -> list[str]:
    return [f"{name}: {one}" for name, result in found.items() for one in result.get(what, ())]


def test_no_page_complains_or_asks_the_network(opened):
    assert not every(opened, "complaints")
    asked = every(opened, "requests")
    assert not [address for address in asked if not re.search(r": (file|data|blob):", address)]


def test_every_player_plays(opened):
    lengths = {name: result["durations"] for name, result in opened.items() if result["durations"]}
    assert len(lengths) >= 4
    for name, durations in lengths.items():
        assert all(length and length > 0 for length in durations), (name, durations)


def test_no_page_is_wider_than_a_phone(opened):
    assert not [name for name, result in opened.items() if result["wide"]]


def test_what_scrolls_in_its_box_says_so(opened):
    assert not every(opened, "uncued")


@pytest.mark.parametrize("how", ["axe", "axe, dark", "axe, phone"])
def test_accessible(opened, how):
    if how not in opened["index.html"]:
        pytest.skip('axe-core is not here: pip install ".[site]"')
    found = every(opened, how)
    assert not found, "\n".join(found[:40])


def test_the_search_finds_words_without_a_server(built, browser):
    browser.open((built / "search.html").as_uri() + "?q=advantage")
    count = "document.querySelectorAll('#search-results li').length"
    until = time.time() + 20
    while browser.run(count) < 3:
        assert time.time() < until, "the search found nothing"
        time.sleep(0.1)
    assert not browser.complaints()


def test_tab_goes_from_the_skip_link_through_the_navigation_to_the_content(built, browser):
    browser.open((built / "notebooks" / "03_rule_rewards.html").as_uri())
    focused = []
    while "content" not in focused and len(focused) < 120:
        browser.press_tab()
        focused.append(browser.run(FOCUS))
    order = [part for part in dict.fromkeys(focused) if part != "other"]
    assert order[:3] == ["skip", "navigation", "content"], focused


def test_the_skip_link_leads_to_the_content(built, browser):
    browser.open((built / "notebooks" / "03_rule_rewards.html").as_uri())
    browser.press_tab()
    browser.key("keyDown", "Enter", code=13, text="\r")
    browser.press_tab()
    assert browser.run(FOCUS) == "content"
