// Whoever uses a keyboard must be able to scroll what is wider than the page: such boxes, and only they, can be focused.
"use strict";
const BOXES = "article pre, article .table-wrapper, article .output.text_html, article .formula";
function reachable() {
  for (const box of document.querySelectorAll(BOXES)) {
    if (box.scrollWidth > box.clientWidth + 1) {
      box.tabIndex = 0;
      if (!box.hasAttribute("role")) {
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", box.tagName === "PRE" ? "text, scrolls sideways" : "table, scrolls sideways");
      }
    } else if (box.getAttribute("role") === "group") {
      box.removeAttribute("tabindex");
      box.removeAttribute("role");
      box.removeAttribute("aria-label");
    }
  }
}
addEventListener("load", reachable);
addEventListener("resize", reachable);
