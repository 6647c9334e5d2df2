"""The slides as one file: what is in it, and how a browser shows it from a folder.

They need the extra `site` (`pip install ".[site]"`); the slow ones need Chromium or Chrome, too.
"""

import re
import time

import nbformat
import pytest
from conftest import ROOT
from site_browser import AXE, axe_core
from site_pages import Page

from soundmind_lite.publish import slides

NEEDED = 'the slides need it: pip install ".[site]"'
pytest_plugins = ("site_browser",)

CELLS = nbformat.read(ROOT / slides.NAME, as_version=4).cells
TYPES = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in CELLS]
COUNT = TYPES.count("slide") + TYPES.count("subslide")
WIDTH, HEIGHT = 1280, 720
ALL_SHOWN = "Reveal.configure({fragments: false}); 0"  # also what a slide hides at first
# the title of the slide that is shown, how high its content is, and its elements that are too wide
SHOWN = """(slide => ({
  title: slide.querySelector("h1, h2").textContent,
  height: slide.scrollHeight,
  wide: [...slide.querySelectorAll(":not(.notes, .notes *)")]
    .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML),
}))(Reveal.getCurrentSlide())"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The file that the site's command writes."""
    for module in ("nbconvert", "sphinx_revealjs"):
        pytest.importorskip(module, reason=NEEDED)
    return slides.write(tmp_path_factory.mktemp("site"))


@pytest.fixture
def deck(file, browser):
    """The browser with the first slide at 1280 × 720."""
    browser.open(file.as_uri())
    browser.resize(width=WIDTH, height=HEIGHT)
    return browser


def press(browser, key, code, **more):
    browser.key("keyDown", key, code=code, **more)
    browser.key("keyUp", key, code=code)


def test_the_file_holds_all_that_it_needs(file):
    page = Page(file)
    assert page.loads
    assert all(address.startswith("data:") for address in page.loads)
    assert len(page.pictures) == 5
    assert "Permission is hereby granted" in page.text, "reveal.js's licence"
    assert file.stat().st_size < 1e6


def test_notes_and_formulas_are_there_and_code_and_badges_are_not(file):
    text = Page(file).text
    assert text.count('<aside class="notes">') == TYPES.count("notes")
    assert text.count("<math") == sum(cell.source.count("$$") for cell in CELLS) / 2 > 0
    for absent in ("$$", "lesson.start()", "colab-badge", ".ipynb", 'href="https://'):
        assert absent not in text, absent


def test_a_formula_within_a_line():
    pytest.importorskip("docutils", reason=NEEDED)
    text = slides.adapted("the mean $\\bar{r}$ of [04](../04_grpo_by_hand.ipynb#the-group)")
    assert text.startswith('the mean <math xmlns="http://www.w3.org/1998/Math/MathML">')
    assert text.endswith("</math> of [04](../04_grpo_by_hand.html#the-group)")
    assert "\n" not in text


def test_the_plan_for_monday_has_the_minutes_of_the_notes_and_all_slides():
    plan = (ROOT / slides.NAME).with_name("monday.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+)–(\d+) \| (?:\d+–)?(\d+) \|", plan, re.MULTILINE)
    notes = re.findall(r"^Minutes (\d+) to (\d+)", "\n".join(c.source for c in CELLS), re.MULTILINE)
    assert [row[:2] for row in rows] == notes
    assert [start for start, *_ in rows] == ["0", *(end for _, end, _ in rows[:-1])]
    assert rows[-1][1:] == ("90", str(TYPES.count("slide")))


@pytest.mark.slow
def test_space_goes_through_all_slides_and_none_is_cut_off(deck):
    deck.run(ALL_SHOWN)
    found = []
    for _ in range(100):
        found.append(deck.run(SHOWN))
        if deck.run("Reveal.isLastSlide() && Reveal.getIndices().h + 1") == TYPES.count("slide"):
            break
        press(deck, " ", 32)
    assert len({slide["title"] for slide in found}) == len(found) == COUNT
    assert not [slide for slide in found if slide["height"] > HEIGHT or slide["wide"]]
    unseen = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
    assert deck.run(unseen) == 0
    assert not deck.complaints()
    assert {address.partition(":")[0] for address in deck.requested()} == {"file", "data"}


@pytest.mark.slow
def test_an_arrow_goes_on(deck):
    title = CELLS[0].source.partition("\n")[0].removeprefix("# ")
    assert deck.run(SHOWN)["title"] == title
    press(deck, "ArrowRight", 39)
    assert deck.run("Reveal.getIndices().h") == 1
    press(deck, "ArrowLeft", 37)
    assert deck.run(SHOWN)["title"] == title


@pytest.mark.slow
def test_s_opens_the_speaker_notes(deck):
    press(deck, "s", 83)
    session, deck.session, until = deck.session, None, time.time() + 20
    notes = []
    while not notes:
        assert time.time() < until, "no window with notes was opened"
        time.sleep(0.1)
        targets = deck.send("Target.getTargets")["targetInfos"]
        notes = [t["targetId"] for t in targets if "Speaker View" in t["title"]]
    deck.session = deck.send("Target.attachToTarget", targetId=notes[0], flatten=True)["sessionId"]
    while "Minutes 0 to 3" not in deck.run("document.body.textContent"):
        assert time.time() < until, "the notes stay empty"
        time.sleep(0.1)
    deck.session = None
    deck.send("Target.closeTarget", targetId=notes[0])
    deck.session = session


@pytest.mark.slow
def test_each_slide_is_printed_on_a_page_of_its_own(file, browser):
    browser.open(f"{file.as_uri()}?print-pdf")
    until = time.time() + 20
    while not browser.run("document.querySelectorAll('.pdf-page').length"):
        assert time.time() < until, "no pages were laid out"
        time.sleep(0.1)
    assert browser.run("document.querySelectorAll('.pdf-page').length") == COUNT


@pytest.mark.slow
def test_accessible(deck):
    axe = axe_core()
    if axe is None:
        pytest.skip('axe-core is not here: pip install ".[site]"')
    deck.run(axe + ";" + ALL_SHOWN)
    for _ in range(COUNT):
        assert deck.run(AXE % "") == []
        deck.run("Reveal.next(); 0")
