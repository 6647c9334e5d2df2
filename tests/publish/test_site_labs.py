"""The labs on the pages that the site shows, opened from a folder: each starts as it comes into
view, and plays. Skipped where there is no browser."""

import re

import pytest
from lab_controls import click, text_of, until

pytest_plugins = ("site_pages", "site_browser")
pytestmark = pytest.mark.slow

LABS = {
    "index.html": ["hear"],
    "labs.html": [
        *("ask", "reward_lab", "advantages_lab"),
        *("rollout_player", "doctor_lab", "planner_lab"),
    ],
    "notebooks/03_rule_rewards.html": ["reward_lab"],
    "notebooks/04_grpo_by_hand.html": ["advantages_lab"],
    "notebooks/05_train_with_grpo.html": ["rollout_player", "doctor_lab"],
    "notebooks/10_scale_to_7b.html": ["planner_lab"],
}


def test_the_pages_that_have_labs(read):
    box = re.compile(r"<div[^<>]* data-live=")
    found = {name for name, page in read.items() if box.search(page.text)}
    assert found == set(LABS)


@pytest.mark.parametrize("name", LABS)
def test_each_lab_starts_as_it_comes_into_view(built, browser, name):
    browser.open((built / name).as_uri())
    for lab in LABS[name]:
        browser.run(f"document.querySelector('[data-live={lab}]').scrollIntoView()")
        until(browser, f"document.querySelector('[data-live={lab}].is-live .lab')")
    assert not browser.complaints()
    assert not [address for address in browser.requested() if address.startswith("http")]


def test_nothing_large_is_loaded_before_it_is_asked_for(built, browser):
    browser.open((built / "labs.html").as_uri())
    until(browser, "document.querySelector('[data-live=ask].is-live')")
    names = [address.rpartition("/")[2] for address in browser.requested()]
    assert "ask.js" in names
    assert "tiny_omni_adapter.js" not in names


def test_a_link_leads_to_its_section_although_labs_above_it_grow(built, browser):
    browser.open((built / "labs.html").as_uri())
    click(browser, "article a[href='#the-planner']")
    until(browser, "document.querySelector('[data-live=planner_lab].is-live')")
    browser.run("new Promise(requestAnimationFrame)")
    place = browser.run("document.getElementById('the-planner').getBoundingClientRect().top")
    assert 0 <= place < 200  # of 900 px; the labs above it have grown by more than that


def test_in_lesson_05_the_live_player_takes_the_place_of_the_saved_one(built, browser):
    browser.open((built / "notebooks" / "05_train_with_grpo.html").as_uri())
    shown = "document.querySelector('.as-saved').getClientRects().length"
    assert browser.run(shown)
    browser.run("document.querySelector('[data-live=rollout_player]').scrollIntoView()")
    until(browser, "document.querySelector('[data-live=rollout_player].is-live')")
    assert not browser.run(shown)
    click(browser, "[data-live=rollout_player] button:last-of-type")
    assert "advantage" in text_of(browser, "[data-live=rollout_player]")
