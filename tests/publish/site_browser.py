"""A headless Chromium, and the site's pages as it opens them from a folder: fixtures.

The browser is Chromium or Chrome from the PATH, or what SOUNDMIND_BROWSER names.
"""

import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from soundmind_lite.publish import live

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--mute-audio",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
)
DURATIONS = """
Promise.all([...document.querySelectorAll("audio")].map(a => new Promise(done => {
  if (a.duration > 0) return done(a.duration);
  a.addEventListener("loadedmetadata", () => done(a.duration));
  a.addEventListener("error", () => done(0));
  setTimeout(() => done(-1), 10000);
})))"""
# axe takes a second or two a page: some pages of a kind stand for the others
ALIKE = re.compile(r"api/(?!index|core)|assets/tiny|notebooks/teaching/(?!README|slides)")
ALSO_DARK = re.compile(r"index|ledger|api/core|notebooks/0[358]")
ALSO_ON_A_PHONE = re.compile(r"index|notebooks/0[358]")
# Opens all folds; the cues of what is in them follow a frame later
UNFOLD = """
for (const fold of document.querySelectorAll("article details")) fold.open = true;
new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"""
# Boxes whose content is wider than they are, without a cue or out of the keyboard's reach
UNCUED = """
[...document.querySelectorAll("article *:not(textarea)")].filter(e =>
  e.scrollWidth > e.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(e).overflowX)
  && !(e.dataset.more && e.tabIndex === 0)).map(e => e.tagName + " " + e.className)"""
AXE = """
axe.run(document, {resultTypes: ["violations"], %s}).then(
  r => r.violations.filter(v => /serious|critical/.test(v.impact)).flatMap(
    v => v.nodes.map(n => v.id + ": " + n.target.join(" ") + " "
      + n.html.slice(0, 160) + " " + n.failureSummary)))"""


class Browser:
    """A headless Chromium, driven through its DevTools protocol.

    `events` has what it reported since the last page was opened.
    """

    def __init__(self, program: str, folder: Path):
        self.loop = asyncio.new_event_loop()
        self.number = 0  # of the last message sent
        self.events: list[dict] = []
        self.session = None
        command = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.socket = self._wait(self._connect(self._address(folder / "DevToolsActivePort")))
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def _address(self, file: Path) -> str:
        """Where the browser listens, as soon as it has written that to its file."""
        until = time.time() + 30
        while not file.is_file() or file.read_text().count("\n") < 1:
            assert time.time() < until, "the browser did not start"
            time.sleep(0.05)
        port, path = file.read_text().split()
        return f"ws://127.0.0.1:{port}{path}"

    def _wait(self, task):
        return self.loop.run_until_complete(task)

    async def _connect(self, address: str):
        from tornado.websocket import websocket_connect

        return await websocket_connect(address, max_message_size=2**28)

    async def _write(self, text: str):
        await self.socket.write_message(text)

    async def _next(self):
        return await asyncio.wait_for(self.socket.read_message(), 60)

    def _read(self) -> dict:
        message = json.loads(self._wait(self._next()))
        if "method" in message:
            self.events.append(message)
        return message

    def send(self, method: str, **parameters) -> dict:
        """The result of a command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self._wait(self._write(json.dumps(message)))
        answer = self._read()
        while answer.get("id") != self.number:
            answer = self._read()
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def resize(self, *, width: int, height: int) -> None:
        size = {"width": width, "height": height}
        self.send("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)

    def open(self, address: str) -> None:
        self.resize(width=1280, height=900)
        self.events.clear()
        self.send("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._read()

    def run(self, script: str):
        """The value of the script, which may be a promise."""
        options = {"awaitPromise": True, "returnByValue": True}
        found = self.send("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def key(self, kind: str, key: str, *, code: int, **more) -> None:
        """One event of a key: "rawKeyDown", "keyDown" (which types) or "keyUp"."""
        names = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type=kind, **names, **more)

    def press_tab(self) -> None:
        self.key("rawKeyDown", "Tab", code=9)
        self.key("keyUp", "Tab", code=9)

    def requested(self) -> list[str]:
        """The addresses that the page asked for."""
        sent = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and requests that failed."""
        found = [event["params"] for event in self.events if is_complaint(event)]
        return [json.dumps(params)[:400] for params in found]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.socket.close()
        self._wait(asyncio.sleep(0))
        self.loop.close()


def is_complaint(event: dict) -> bool:
    if event["method"] in ("Runtime.exceptionThrown", "Network.loadingFailed"):
        return True
    params = event["params"]
    if event["method"] == "Runtime.consoleAPICalled":
        return params["type"] in ("error", "warning")
    if event["method"] == "Log.entryAdded":
        return params["entry"]["level"] in ("error", "warning")
    return False


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    pytest.importorskip("tornado", reason="tornado, which comes with jupyterlab, is needed")
    installed = filter(None, map(shutil.which, BROWSERS))
    program = os.environ.get("SOUNDMIND_BROWSER") or next(installed, None)
    if program is None:
        pytest.skip("no Chromium or Chrome on the PATH; SOUNDMIND_BROWSER can name one")
    browser = Browser(program, tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def live_folder(tmp_path_factory):
    """The labs' scripts with their data, as the site has them."""
    folder = tmp_path_factory.mktemp("live") / "live"
    live.write(folder)
    return folder


@pytest.fixture
def lab_page(live_folder, browser, tmp_path):
    """A function that opens a page of labs alone, from their HTML, and returns the browser."""

    def open_page(body: str = ""):
        script = f'<script src="{(live_folder / "live.js").as_uri()}"></script>'
        page = tmp_path / "page.html"
        page.write_text(f"<!doctype html><meta charset=utf-8>{script}{body}", encoding="utf-8")
        browser.open(page.as_uri())
        return browser

    return open_page


@pytest.fixture(scope="session")
def opened(built, read, browser):
    """What the browser found on each page.

    {page: {"requests", "complaints", "durations", "wide", "uncued", "axe", "axe, dark",
    "axe, phone"}}, the last three where axe-core is installed and for some of the pages.
    """
    axe = axe_core()
    found = {}
    for name in read:
        browser.open((built / name).as_uri())
        result = {"durations": browser.run(DURATIONS)}
        result["requests"] = browser.requested()
        result["complaints"] = browser.complaints()
        if axe and not ALIKE.match(name):
            browser.run(axe + ";0")
            result["axe"] = browser.run(AXE % "")
            if ALSO_DARK.match(name):
                browser.run('document.body.dataset.theme = "dark"; 0')
                result["axe, dark"] = browser.run(AXE % 'runOnly: ["color-contrast"]')
        browser.resize(width=390, height=800)
        browser.run(UNFOLD)
        result["wide"] = browser.run("document.documentElement.scrollWidth") > 390
        result["uncued"] = browser.run(UNCUED)
        if axe and ALSO_ON_A_PHONE.match(name):
            browser.run('document.body.dataset.theme = "light"; 0')
            result["axe, phone"] = browser.run(AXE % "")
        found[name] = result
    return found


def axe_core() -> str | None:
    """The script of axe-core, if it is installed."""
    package = importlib.util.find_spec("axe_core_python")
    if package is None:
        return None
    return (Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8")
