"""What a reader does on a page of labs, and what the tests read there.

Clicks and keys come from the browser's input, as a person's do, so that players may play.
"""

import json

CODES = {"ArrowLeft": 37, "ArrowRight": 39}
UNTIL = """new Promise((done, failed) => {
  const wait = () => (%s) ? done() : setTimeout(wait, 20);
  setTimeout(() => failed(new Error("waited in vain for " + %s)), 30000);
  wait();
})"""
SET = """(([selector, number, value]) => {
  const field = document.querySelectorAll(selector)[number];
  field.value = value;
  field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input"));
})"""

MIDDLE = """(() => {
  const element = document.querySelector(%s);
  element.scrollIntoView({ block: "center", behavior: "instant" });
  const { left, top, width, height } = element.getBoundingClientRect();
  return [left + width * %s, top + height / 2];
})()"""


def until(page, condition: str) -> None:
    """Waits until a condition in JavaScript holds."""
    page.run(UNTIL % (condition, json.dumps(condition)))


def click(page, selector: str, *, across: float = 0.5) -> None:
    """Clicks the first element of that selector, at a share of its width."""
    x, y = page.run(MIDDLE % (json.dumps(selector), across))
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def press(page, key: str) -> None:
    page.key("rawKeyDown", key, code=CODES[key])
    page.key("keyUp", key, code=CODES[key])


def wait(page):
    """The page, as soon as its lab has taken the place of the picture."""
    until(page, "document.querySelector('.is-live')")
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


def text_of(page, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)}).innerText")
