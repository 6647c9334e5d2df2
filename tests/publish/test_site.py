"""The site: built by its one command, read link by link, and opened in a browser where there is one.

It needs the extra `site` (`pip install ".[site]"`); the browser is Chromium or Chrome from the PATH, or what SOUNDMIND_BROWSER names.
"""
import asyncio
import importlib.util
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT
from keys import files_with_keys

import soundmind_lite
from soundmind_lite.publish import site

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TEMPLATES = {name: (site.TEMPLATES / name).read_text(encoding="utf-8") for name in ("glossary.md", "troubleshooting.md", "about.md")}
DURATIONS = """Promise.all([...document.querySelectorAll("audio")].map(a => new Promise(done => {
  if (a.duration > 0) return done(a.duration);
  a.addEventListener("loadedmetadata", () => done(a.duration)); a.addEventListener("error", () => done(0)); setTimeout(() => done(-1), 10000);
})))"""
# axe takes a second or two a page: some pages of a kind stand for the others
ALIKE = re.compile(r"api/(?!index|data)|assets/tiny|notebooks/teaching/(?!README|slides)")
ALSO_DARK = re.compile(r"index|ledger|api/data|notebooks/0[357]")
AXE = """axe.run(document, {resultTypes: ["violations"], %s}).then(r => r.violations.filter(v => /serious|critical/.test(v.impact)).flatMap(
  v => v.nodes.map(n => v.id + ": " + n.target.join(" ") + " " + n.html.slice(0, 160) + " " + n.failureSummary)))"""
FOCUS = """(e => e.closest("article") ? "content" : e.closest(".sidebar-drawer") ? "navigation" : e.matches(".skip-to-content") ? "skip" :
  e.closest(".toc-drawer") ? "on this page" : "other")(document.activeElement)"""


class Page(HTMLParser):
    """What the tests read in a page: ids, links, headings, pictures, the language."""

    LOADING = ("link", "script", "img", "audio", "source", "iframe", "video")

    def __init__(self, file: Path):
        super().__init__()
        self.text = re.sub(r"data:[\w/]+;base64,[\w+/=]+", "data:", file.read_text(encoding="utf-8"))
        self.ids, self.links, self.loads, self.pictures, self.tags, self.language = set(), [], [], [], [], None
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key) and (key == "id" or tag == "a")}
        self.links += [found["href"]] if tag == "a" and "href" in found else []
        self.loads += [found[key] for key in ("src", "href", "poster") if found.get(key) and tag in self.LOADING]
        self.pictures += [found] if tag == "img" else []
        self.language = found.get("lang") if tag == "html" else self.language


class Browser:
    """A headless Chromium, driven through its DevTools protocol. `events` has what it reported since the last page was opened."""

    def __init__(self, program: str, folder: Path):
        self.loop, self.number, self.events = asyncio.new_event_loop(), 0, []
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run", "--disable-background-networking"]
        command = [program, *flags, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        place, until = folder / "DevToolsActivePort", time.time() + 30
        while not place.is_file() or place.read_text().count("\n") < 1:
            assert time.time() < until, f"{program} did not start"
            time.sleep(0.05)
        self.session = None
        self.socket = self.loop.run_until_complete(self._connect("ws://127.0.0.1:{}{}".format(*place.read_text().split())))
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    async def _connect(self, address):
        from tornado.websocket import websocket_connect

        return await websocket_connect(address, max_message_size=2**28)

    async def _write(self, text: str):
        await self.socket.write_message(text)

    async def _next(self):
        return await asyncio.wait_for(self.socket.read_message(), 60)

    def _read(self):
        message = json.loads(self.loop.run_until_complete(self._next()))
        if "method" in message:
            self.events.append(message)
        return message

    def send(self, method: str, **parameters):
        self.number += 1
        session = {"sessionId": self.session} if self.session else {}
        message = {"id": self.number, "method": method, "params": parameters} | session
        self.loop.run_until_complete(self._write(json.dumps(message)))
        while (message := self._read()).get("id") != self.number:
            pass
        assert "error" not in message, f"{method}: {message}"
        return message["result"]

    def open(self, address: str, width: int = 1280, height: int = 900) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.send("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._read()

    def run(self, script: str):
        """The value of the script, which may be a promise."""
        found = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def requested(self) -> list[str]:
        return [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and requests that failed."""
        always, told = ("Runtime.exceptionThrown", "Network.loadingFailed"), ("Runtime.consoleAPICalled", "Log.entryAdded")
        bad = lambda found: {found.get("type"), found.get("entry", {}).get("level")} & {"error", "warning"}
        return [json.dumps(e["params"])[:400] for e in self.events if e["method"] in always or (e["method"] in told and bad(e["params"]))]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.socket.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder of the site, built by the command."""
    for module in site.TOOLS:
        pytest.importorskip(module, reason='the site needs Sphinx: pip install ".[site]"')
    out = tmp_path_factory.mktemp("site") / "html"
    done = subprocess.run([sys.executable, "-m", "soundmind_lite", "site", "--out", str(out)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in out.parent.iterdir()] == ["html"], "it leaves nothing beside the site"
    return out


@pytest.mark.tried("searches for eleven kinds of keys: web pages", "none found")
def test_no_page_holds_a_key(built):
    assert files_with_keys(built) == {}


@pytest.fixture(scope="session")
def read(built):
    """{path from the site's root: Page}."""
    return {file.relative_to(built).as_posix(): Page(file) for file in sorted(built.rglob("*.html"))}


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    pytest.importorskip("tornado", reason="tornado, which comes with jupyterlab, drives the browser")
    program = os.environ.get("SOUNDMIND_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium or Chrome on the PATH; SOUNDMIND_BROWSER can name one")
    browser = Browser(program, tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def opened(built, read, browser):
    """What a browser found on each page: {page: {"requests", "complaints", "durations", "wide", "axe", "axe, dark"}}."""
    script = None
    if package := importlib.util.find_spec("axe_core_python"):
        script = (Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    found = {}
    for name in read:
        browser.open((built / name).as_uri())
        result = found[name] = {"durations": browser.run(DURATIONS)}
        result |= {"requests": browser.requested(), "complaints": browser.complaints()}
        if script and not ALIKE.match(name):
            browser.run(script + ";0")
            result["axe"] = browser.run(AXE % "")
            if ALSO_DARK.match(name):
                browser.run('document.body.dataset.theme = "dark"; 0')
                result["axe, dark"] = browser.run(AXE % 'runOnly: ["color-contrast"]')
        browser.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
        result["wide"] = browser.run("document.documentElement.scrollWidth") > 390
    return found


def every(found: dict, what: str) -> list[str]:
    return [f"{name}: {one}" for name, result in found.items() for one in result.get(what, ())]


# --- the pages, read as files


def test_all_pages_are_there(read):
    lessons = [f"notebooks/{path.stem}.html" for path in sorted((ROOT / "notebooks").glob("0*.ipynb"))]
    assert len(lessons) == 9
    others = {"index.html", "glossary.html", "troubleshooting.html", "ledger.html", "about.html", "api/index.html", "search.html"}
    assert set(lessons) | others <= set(read)
    assert not [name for name in read if "solutions" in name]
    assert {f"notebooks/teaching/{path.stem}.html" for path in (ROOT / "notebooks" / "teaching").glob("*.md")} <= set(read)


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
            parts = urlsplit(link)
            if parts.scheme or link == "#":
                continue
            target = os.path.normpath((built / name).parent / unquote(parts.path)) if parts.path else str(built / name)
            inside = Path(target).relative_to(built).as_posix()
            if not Path(target).is_file() or (parts.fragment and unquote(parts.fragment) not in read[inside].ids):
                broken.append(f"{name}: {link}")
    assert not broken, broken


def test_pages_load_nothing_from_elsewhere(read):
    loads = [(name, address) for name, page in read.items() for address in page.loads]
    assert not [f"{name}: {address:.100}" for name, address in loads if urlsplit(address).scheme not in ("", "data")]
    assert not [name for name, page in read.items() if re.search(r"mathjax|require\.js|@import url\(.?http", page.text, re.IGNORECASE)]


def test_pictures_have_descriptions_and_players_are_all_there(read):
    for name, page in read.items():
        assert all(len(picture.get("alt", "")) > 40 for picture in page.pictures if "icon" not in picture.get("class", "")), name
    for path in (ROOT / "notebooks").glob("0*.ipynb"):
        assert read[f"notebooks/{path.stem}.html"].text.count("<audio") == path.read_text(encoding="utf-8").count("<audio"), path.name
        assert read[f"notebooks/{path.stem}.html"].text.count("In words:") == path.read_text(encoding="utf-8").count("In words:"), path.name


def test_lessons_show_their_exercises_and_times_at_the_top(read):
    for path in (ROOT / "notebooks").glob("0*.ipynb"):
        page = read[f"notebooks/{path.stem}.html"]
        top = page.text[page.text.index("<h1>") : page.text.index("lesson.start") if "lesson.start" in page.text else page.text.index("<h2>")]
        assert all(part in top for part in ("Goal.", "Time:", "Memory:", "Cost:", "Exercises:", "Open in Colab", "solutions")), path.name
        assert len([anchor for anchor in page.ids if re.fullmatch(r"exercise-\d\d-\d", anchor)]) == top.count(" min</"), path.name


def test_the_library_is_documented_and_formulas_are_drawn(read):
    text = "".join(page.text for name, page in read.items() if name.startswith("api/"))
    for info in pkgutil.walk_packages(soundmind_lite.__path__, "soundmind_lite."):
        if info.name != "__main__":
            assert f'id="module-{info.name}"' in text, f"{info.name} has no place in the library's pages"
    assert "soundmind_lite.rewards.answer_reward" in text
    assert read["notebooks/04_grpo_by_hand.html"].text.count("<math") >= 4


def test_no_trace_of_the_machine(built, read):
    texts = {name: page.text for name, page in read.items()} | {"index": (built / "searchindex.js").read_text(encoding="utf-8")}
    for name, text in texts.items():
        assert not re.search(rf"{re.escape(str(ROOT))}|{re.escape(str(built.parent))}|/home/|/root/", text), name
    assert sum(file.stat().st_size for file in built.rglob("*")) < 20e6


# --- the pages, opened in a browser from a folder


def test_no_page_complains_or_asks_the_network(opened):
    assert not every(opened, "complaints")
    assert not [address for address in every(opened, "requests") if not re.search(r": (file|data|blob):", address)]


def test_every_player_plays(opened):
    lengths = {name: result["durations"] for name, result in opened.items() if result["durations"]}
    assert len(lengths) >= 4
    assert all(length and length > 0 for durations in lengths.values() for length in durations), lengths


def test_no_page_is_wider_than_a_phone(opened):
    assert not [name for name, result in opened.items() if result["wide"]]


@pytest.mark.parametrize("theme", ["axe", "axe, dark"])
def test_accessible(opened, theme):
    if theme not in opened["index.html"]:
        pytest.skip('axe-core is not here: pip install ".[site]"')
    found = every(opened, theme)
    assert not found, "\n".join(found[:40])


def test_the_search_finds_words_without_a_server(built, browser):
    browser.open((built / "search.html").as_uri() + "?q=advantage")
    count = "document.querySelectorAll('#search-results li').length"
    until = time.time() + 20
    while browser.run(count) < 3:
        assert time.time() < until, "the search found nothing"
        time.sleep(0.1)
    assert not browser.complaints()


def test_the_keyboard_goes_from_skip_link_to_navigation_to_content(built, browser):
    browser.open((built / "notebooks" / "03_rule_rewards.html").as_uri())
    places = []
    for _ in range(120):
        browser.press("Tab", 9)
        places.append(browser.run(FOCUS))
        if places[-1] == "content":
            break
    order = [place for i, place in enumerate(places) if place != "other" and place not in places[:i]]
    assert order[:3] == ["skip", "navigation", "content"], places
    browser.open((built / "notebooks" / "03_rule_rewards.html").as_uri())
    browser.press("Tab", 9)
    browser.send("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    browser.press("Tab", 9)
    assert browser.run(FOCUS) == "content"


# --- what the pages are made of; no Sphinx needed


def test_links_lead_to_pages_or_to_the_repository():
    url = site.address()
    for name, text, expected in (
        ("README.md", "[00](notebooks/00_start_here.ipynb)", "[00](notebooks/00_start_here.ipynb)"),
        ("README.md", "[s](notebooks/solutions) [l](LICENSE)", f"[s]({url}/tree/main/notebooks/solutions) [l]({url}/blob/main/LICENSE)"),
        ("notebooks/00_start_here.ipynb", "[r](../README.md#commands) [n](01_load_alr.ipynb)", "[r](../index.md#commands) [n](01_load_alr.ipynb)"),
        ("notebooks/00_start_here.ipynb", "[![Open in Colab](https://a/b.svg)](https://c/d)", "[Open in Colab](https://c/d)"),
        ("README.md", *["![words](assets/figures/tiny_seed0_curves.png) [w](https://a) [x](#y)"] * 2),
    ):
        assert site.linked(text, name) == expected


def test_a_folder_with_something_else_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "TOOLS", {})
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(site.SiteError, match="holds something else"):
            site.build(out)
    (tmp_path / "objects.inv").write_bytes(b"# Sphinx inventory version 2\n# Project: another\n")
    with pytest.raises(site.SiteError, match="holds something else"):
        site.ready(tmp_path)
    (tmp_path / "objects.inv").write_bytes(b"# Sphinx inventory version 2\n# Project: soundmind_lite\n")
    site.ready(tmp_path)
    site.ready(tmp_path / "new")


def test_a_missing_tool_is_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "TOOLS", {"no_such_module": "no-such-package"})
    with pytest.raises(site.SiteError, match=r'the site needs no-such-package: pip install "\.\[site\]"'):
        site.build(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_warning_stops_the_build_and_leaves_the_earlier_site(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "objects.inv").write_bytes(b"# Sphinx inventory version 2\n# Project: soundmind_lite\n")
    monkeypatch.setattr(site, "TOOLS", {})

    def complain(source, html):
        raise site.SiteError("Sphinx complains")

    monkeypatch.setattr(site, "sphinx", complain)
    monkeypatch.setattr(site, "assemble", lambda source: None)
    with pytest.raises(site.SiteError, match="complains"):
        site.build(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    monkeypatch.setattr(site, "sphinx", lambda source, html: (html.mkdir(), (html / "new").touch()))
    assert site.build(out) == out
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_the_troubleshooting_page_quotes_is_what_the_library_says():
    library = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "soundmind_lite").glob("*.py"))
    for line in TEMPLATES["troubleshooting.md"].splitlines():
        for quote in re.findall(r"`([^`]+)`", line.split(" | ")[0]) if line.startswith("| `") else ():
            for part in quote.split("…") if "No module named" not in quote else ():
                assert part.strip(" .,:;") in library, f"{quote!r} is no message of the library"


def test_the_troubleshooting_page_knows_every_kind_of_error():
    for path in (ROOT / "soundmind_lite").glob("*.py"):
        for name in re.findall(r"^class (\w+)\((?:\w*Error|Exception)\)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert f"`{name}`" in TEMPLATES["troubleshooting.md"], f"{path.name}: {name} has no place on the page"


def test_every_word_of_the_glossary_names_its_notebook():
    entries = re.findall(r"^(\S.*)\n  (.+)$", TEMPLATES["glossary.md"].partition("```{glossary}\n")[2], re.MULTILINE)
    assert len(entries) >= 40
    assert [word for word, _ in entries] == sorted((word for word, _ in entries), key=str.lower)
    for word, text in entries:
        assert re.search(r"\]\(notebooks/\d\d_\w+\.ipynb\)", text), word
        assert len(text.split()) < 70, f"{word}: short, please"


def test_about_has_the_twenty_two_rows():
    rows = re.findall(r"^\| (\d+)\. .+? \| (.+) \|$", TEMPLATES["about.md"], re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 23))
    assert all("](" in place or number in ("2", "5", "21", "22") for number, place in rows)
