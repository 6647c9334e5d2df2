"""The site: built by its one command and read link by link, and what its pages are made of.

The first part needs the extra `site` (`pip install ".[site]"`).
"""

import ast
import os
import pkgutil
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT
from keys import files_with_keys

import soundmind_lite
from soundmind_lite.publish import library, pages, site

pytest_plugins = ("site_pages",)

LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
MODULES = sorted((ROOT / "soundmind_lite").rglob("*.py"))
OURS = b"# Sphinx inventory version 2\n# Project: soundmind_lite\n"


def template(name):
    return (pages.TEMPLATES / name).read_text(encoding="utf-8")


# --- the pages, read as files


def test_all_pages_are_there(read):
    assert len(LESSONS) == 12
    expected = {f"notebooks/{path.stem}.html" for path in LESSONS}
    names = ("index", "ledger", "api/index", "changes", "search")
    names += tuple(path.stem for path in pages.TEMPLATES.glob("*.md"))
    expected |= {f"{name}.html" for name in names} - {"home.html", "library.html"}
    teaching = (ROOT / "notebooks" / "teaching").glob("*.md")
    expected |= {f"notebooks/teaching/{path.stem}.html" for path in teaching}
    assert expected <= set(read)
    assert not [name for name in read if "solutions" in name]


def test_home_lets_one_hear_a_question_start_and_find_the_lessons(read):
    home = read["index.html"]
    assert 'data-live="hear"' in home.text
    assert [load for load in home.loads if load.endswith("clips/test_0003.mp3")]
    assert home.text.index("<audio") < home.text.index('id="run-it-here"')
    starts = ("notebooks/00_start_here.html", "#run-it-here")
    assert set(starts) <= set(home.links)
    assert any("colab.research.google.com" in link for link in home.links)
    assert {f"notebooks/{path.stem}.html" for path in LESSONS} <= set(home.links)


def test_every_lab_says_in_words_what_it_shows(read):
    labs = re.findall(r'<div data-live="(\w+)"[^>]*>(.*?)</div>', read["labs.html"].text)
    scripts = {path.stem for path in (pages.TEMPLATES / "live").glob("*.js")}
    assert len(labs) == 6
    for name, words in labs:
        assert name in scripts, name
        assert "needs JavaScript" in words, name


@pytest.mark.tried("searches for eleven kinds of keys: web pages", "none found")
def test_no_page_holds_a_key(built):
    assert files_with_keys(built) == {}


def test_each_page_has_one_title_and_a_language(read):
    for name, page in read.items():
        assert page.language == "en", name
        assert page.tags.count("h1") == 1, f"{name} has {page.tags.count('h1')} h1"
    titles = [re.search(r"<title>(.*?)</title>", page.text)[1] for page in read.values()]
    assert len(set(titles)) == len(titles), sorted(titles)


def test_every_link_and_anchor_leads_somewhere(built, read):
    broken = []
    for name, page in read.items():
        for link in page.links:
            if not leads_somewhere(link, name, built, read):
                broken.append(f"{name}: {link}")
    assert not broken, broken


def leads_somewhere(link, name, built, read):
    """Whether a link of the page `name` leads to a file of the site, and to an id in it."""
    parts = urlsplit(link)
    if parts.scheme or link == "#":
        return True
    target = built / name
    if parts.path:
        target = Path(os.path.normpath(target.parent / unquote(parts.path)))
    if not target.is_file():
        return False
    page = target.relative_to(built).as_posix()
    return not parts.fragment or unquote(parts.fragment) in read[page].ids


def test_pages_load_nothing_from_elsewhere(read):
    scripts = re.compile(r"mathjax|require\.js|@import url\(.?http", re.IGNORECASE)
    for name, page in read.items():
        for address in page.loads:
            assert urlsplit(address).scheme in ("", "data"), f"{name}: {address:.100}"
        assert not scripts.search(page.text), name


def test_pictures_have_descriptions(read):
    for name, page in read.items():
        for picture in page.pictures:
            icon = "icon" in picture.get("class", "")
            assert icon or len(picture.get("alt", "")) > 40, f"{name}: {picture}"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_players_and_descriptions_of_a_lesson_are_all_there(read, path):
    page, source = read[f"notebooks/{path.stem}.html"].text, path.read_text(encoding="utf-8")
    for part in ("<audio", "In words:"):
        assert page.count(part) == source.count(part), part


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_shows_its_exercises_and_times_at_the_top(read, path):
    page = read[f"notebooks/{path.stem}.html"]
    end = "lesson.start" if "lesson.start" in page.text else "<h2>"
    top = page.text[page.text.index("<h1>") : page.text.index(end)]
    facts = ("Goal.", "Time:", "Memory:", "Cost:", "Exercises:", "Open in Colab", "solutions")
    for fact in facts:
        assert fact in top, fact
    exercises = [name for name in page.ids if re.fullmatch(r"exercise-\d\d-\d", name)]
    assert len(exercises) == top.count(" min</")


def test_the_library_is_documented_and_formulas_are_drawn(read):
    text = "".join(page.text for name, page in read.items() if name.startswith("api/"))
    for info in pkgutil.walk_packages(soundmind_lite.__path__, "soundmind_lite."):
        if info.name != "soundmind_lite.__main__":
            assert f'id="module-{info.name}"' in text, f"{info.name} isn't on the library's pages"
    assert "soundmind_lite.rewards.answer_reward" in text
    assert read["notebooks/04_grpo_by_hand.html"].text.count("<math") >= 4


def test_no_trace_of_the_machine(built, read):
    texts = {name: page.text for name, page in read.items()}
    texts["searchindex.js"] = (built / "searchindex.js").read_text(encoding="utf-8")
    paths = rf"{re.escape(str(ROOT))}|{re.escape(str(built.parent))}|/home/|/root/"
    for name, text in texts.items():
        assert not re.search(paths, text), name
    assert sum(file.stat().st_size for file in built.rglob("*")) < 30e6


# --- how the pages are made; no Sphinx needed


COLAB = "[![Open in Colab](https://a/b.svg)](https://c/d)"
CURVES = "figures/tiny_seed0_curves.png"
UNCHANGED = f"![words](assets/{CURVES}) [w](https://a) [x](#y)"
TREE, BLOB = f"{pages.address()}/tree/main", f"{pages.address()}/blob/main"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("README.md", "[00](notebooks/00_start_here.ipynb)", "[00](notebooks/00_start_here.ipynb)"),
        ("README.md", "[s](notebooks/solutions)", f"[s]({TREE}/notebooks/solutions)"),
        ("README.md", "[l](LICENSE)", f"[l]({BLOB}/LICENSE)"),
        ("README.md", "[t](assets/ledger.json)", "[t](ledger.md)"),
        ("README.md", "[l](assets/site/library.md#core)", "[l](api/index.md#core)"),
        ("notebooks/00_x.ipynb", "[r](../README.md#the-course)", "[r](../index.md#the-course)"),
        ("notebooks/00_x.ipynb", "[c](../assets/site/commands.md)", "[c](../commands.md)"),
        ("notebooks/00_x.ipynb", "[n](01_load_alr.ipynb)", "[n](01_load_alr.ipynb)"),
        ("notebooks/00_x.ipynb", COLAB, "[Open in Colab](https://c/d)"),
        (
            "assets/site/about.md",
            "[r](results.md) [l](library.md)",
            "[r](results.md) [l](api/index.md)",
        ),
        ("assets/site/about.md", "[r](../../README.md)", "[r](index.md)"),
        ("assets/site/results.md", "![w](../figures/x.png)", "![w](../figures/x.png)"),
        ("assets/site/results.md", f"![w](../{CURVES})", f"![w](assets/{CURVES})"),
        ("assets/site/library.md", "[d](own_data.md)", "[d](../own_data.md)"),
        ("README.md", UNCHANGED, UNCHANGED),
    ],
)
def test_a_link_leads_to_a_page_or_to_the_repository(name, text, expected):
    assert pages.linked(text, name) == expected


def test_each_module_has_one_page_that_is_its_package_s():
    found = library.packages()
    assert next(iter(found)) == library.CORE
    assert "soundmind_lite.rewards" in [module.name for module in found[library.CORE]]
    assert "soundmind_lite.alr.text" in [module.name for module in found["alr"]]
    names = [module.name for modules in found.values() for module in modules]
    assert len(names) == len(set(names)) == len(MODULES) - 1  # all but __main__
    assert all(module.summary for modules in found.values() for module in modules)


def test_a_folder_with_something_else_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "TOOLS", {})
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(pages.SiteError, match="holds something else"):
            site.build(out)
    (tmp_path / "objects.inv").write_bytes(OURS.replace(b"soundmind_lite", b"another"))
    with pytest.raises(pages.SiteError, match="holds something else"):
        site.ready(tmp_path)
    (tmp_path / "objects.inv").write_bytes(OURS)
    site.ready(tmp_path)
    site.ready(tmp_path / "new")


def test_a_missing_tool_is_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "TOOLS", {"no_such_module": "no-such-package"})
    words = r'the site needs no-such-package: pip install "\.\[site\]"'
    with pytest.raises(pages.SiteError, match=words):
        site.build(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_warning_stops_the_build_and_leaves_the_earlier_site(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "objects.inv").write_bytes(OURS)

    def complain(source, html):
        raise pages.SiteError("Sphinx complains")

    def make(source, html):
        html.mkdir()
        (html / "new").touch()

    monkeypatch.setattr(site, "TOOLS", {})
    monkeypatch.setattr(site, "assemble", lambda source: None)
    monkeypatch.setattr(site.slides, "write", lambda html: None)
    monkeypatch.setattr(site, "sphinx", complain)
    with pytest.raises(pages.SiteError, match="complains"):
        site.build(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    monkeypatch.setattr(site, "sphinx", make)
    assert site.build(out) == out
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- what the pages say


def texts_of(path):
    """The strings of a module, each on a line; "…" stands for what an f-string fills in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [getattr(part, "value", "…") for part in node.values]
            yield "".join(part if isinstance(part, str) else "…" for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_what_the_troubleshooting_page_quotes_is_what_the_library_says():
    said = "\n".join(text for path in MODULES for text in texts_of(path))
    rows = [line for line in template("troubleshooting.md").splitlines() if line.startswith("| `")]
    quotes = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    assert len(quotes) > 50
    for quote in quotes:
        if "No module named" not in quote:  # Python's own
            for part in quote.split("…"):
                assert part.strip(" .,:;") in said, f"{quote!r} is no message of the library"


def test_the_troubleshooting_page_knows_every_kind_of_error():
    page = template("troubleshooting.md")
    error = re.compile(r"^class (\w+)\((?:\w*Error|Exception)\)", re.MULTILINE)
    for path in MODULES:
        for name in error.findall(path.read_text(encoding="utf-8")):
            assert f"`{name}`" in page, f"{path.name}: {name} isn't on the page"


def test_every_word_of_the_glossary_names_its_notebook():
    glossary = template("glossary.md").partition("```{glossary}\n")[2]
    entries = re.findall(r"^(\S.*)\n  (.+)$", glossary, re.MULTILINE)
    assert len(entries) >= 40
    words = [word for word, _ in entries]
    assert words == sorted(words, key=str.lower)
    for word, text in entries:
        assert re.search(r"\]\(../../notebooks/\d\d_\w+\.ipynb\)", text), word
        assert len(text.split()) < 70, f"{word}: short, please"


def test_about_has_the_twenty_two_rows():
    rows = re.findall(r"^\| (\d+)\. .+? \| (.+) \|$", template("about.md"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 23))
    for number, text in rows:
        assert "](" in text or number in ("2", "5", "21", "22"), number
