"""What a hand does on a page of labs: waits for what it expects, clicks, presses keys.

Clicks and keys come from the browser's input, as a person's do, so that players may play.
"""

import json

CODES = {"ArrowLeft": 37, "ArrowRight": 39}
UNTIL = """new Promise((done, failed) => {
  const wait = () => (%s) ? done() : setTimeout(wait, 20);
  setTimeout(() => failed(new Error("waited in vain for " + %s)), 30000);
  wait();
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


def text_of(page, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)}).innerText")
