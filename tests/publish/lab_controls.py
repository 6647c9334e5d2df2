"""What the tests of the labs do in a page: wait for a lab, set a field, read texts."""

import json

LIVE = """new Promise(done => {
  const look = () => document.querySelector(".is-live") ? done(0) : setTimeout(look, 20);
  look();
})"""
SET = """(([selector, number, value]) => {
  const field = document.querySelectorAll(selector)[number];
  field.value = value;
  field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input"));
})"""


def wait(page):
    """The page, as soon as its lab has taken the place of the picture."""
    page.run(LIVE)
    return page


def load(page, *names: str):
    """The page, with these scripts of the labs' folder."""
    for name in names:
        page.run(f"soundmind.script('{name}')")
    return page


def choose(page, selector: str, value, number: int = 0) -> None:
    """Sets a field, the first that the selector finds or another, as a reader would."""
    page.run(f"{SET}({json.dumps([selector, number, value])})")


def texts(page, selector: str) -> list[str]:
    """The text of each element that the selector finds."""
    found = f"[...document.querySelectorAll({json.dumps(selector)})]"
    return page.run(f"{found}.map(element => element.textContent)")


def error_of(page, call: str) -> str:
    """The message of the error that a call throws."""
    return page.run(f"(() => {{ try {{ {call} }} catch (error) {{ return error.message }} }})()")
