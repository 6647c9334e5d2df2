// Boxes that are wider than the page: a keyboard can reach and scroll them, and site.css lets them
// fade out on the side where more is. Tables whose rows become cards on a phone. And printed
// columns, whose lines mustn't be wrapped.
"use strict";
// the lessons' table comes from the README, the ledger's from data
const CARDS = "table.cards, #the-course table, #the-paper-ledger table";
const BOXES = "article pre, article .table-wrapper, article .output.text_html, article .formula";

/** Does a printed text stand in columns? Two of its lines do, or it draws a line between them. */
function inColumns(text) {
  return text.includes("│") || text.split("\n").filter(line => /\S {4,}\S/.test(line)).length > 1;
}

/** Where a box has more to show: "end", "start", or null if everything is in sight. */
function more(box) {
  const hidden = box.scrollWidth - box.clientWidth;
  if (hidden <= 1) return null;
  return box.scrollLeft < hidden - 1 ? "end" : "start";
}

function mark(box) {
  const where = more(box);
  if (where) {
    box.dataset.more = where;
    box.tabIndex = 0;
    if (!box.hasAttribute("role")) {
      box.setAttribute("role", "group");
      const what = box.tagName === "PRE" ? "text" : "table";
      box.setAttribute("aria-label", `${what}, scrolls sideways`);
    }
  } else if (box.dataset.more) {
    delete box.dataset.more;
    for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
  }
}

/** Makes a table's rows cards on a phone (site.css); their cells get the names of the columns. */
function makeCards(table) {
  table.classList.add("cards");
  const names = [...table.querySelectorAll("thead th")].map(cell => cell.textContent.trim());
  for (const row of table.tBodies[0].rows) {
    [...row.cells].forEach((cell, i) => { cell.dataset.column = names[i] ?? ""; });
  }
}

addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(CARDS).forEach(makeCards);
  for (const printed of document.querySelectorAll("article .output.stream pre")) {
    printed.classList.toggle("columns", inColumns(printed.textContent));
  }
  const watch = new ResizeObserver(changes => changes.forEach(change => mark(change.target)));
  for (const box of document.querySelectorAll(BOXES)) {
    watch.observe(box);
    box.addEventListener("scroll", () => mark(box), { passive: true });
  }
});
