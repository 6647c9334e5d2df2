// The doctor of rewards: reads a run's completions.jsonl in the page and says what rarely pays.
"use strict";
soundmind.labs.doctor_lab = async () => {
  for (const name of ["python", "rewards", "diagnosis"]) await soundmind.script(name);
  const examples = await soundmind.load("doctor_examples");
  const { make, choice } = soundmind;
  const { readLines, groupsOf, checkRollouts } = soundmind.diagnosis;

  const status = make("p", { class: "lab-sum", "aria-live": "polite" });
  const list = make("ul", { class: "lab-findings" });
  const lines = make("textarea", {
    rows: 8, spellcheck: "false", wrap: "off", oninput: () => show(lines.value, "these lines"),
  });

  function item({ what, ok, remedy }) {
    const sign = make("span", { class: `lab-verdict ${ok ? "right" : "wrong"}` }, ok ? "OK" : "--");
    const words = make("span", {}, what);
    if (!ok) words.append(":", make("br"), make("strong", {}, remedy));
    return make("li", {}, sign, words);
  }

  // The findings on the text of a completions.jsonl; `source` says whose lines they are.
  function show(text, source) {
    list.replaceChildren();
    try {
      const rollouts = readLines(text);
      const findings = checkRollouts(rollouts);
      const open = findings.filter(({ ok }) => !ok).length;
      status.textContent = `${source}. ${rollouts.length} completions in `
        + `${groupsOf(rollouts).length} groups; ${open} of ${findings.length} findings to act on`;
      list.replaceChildren(...findings.map(item));
    } catch (error) {
      status.textContent = `${source}: ${error.message}`;
    }
  }

  function example(number) {
    const { name, rollouts } = examples[number];
    lines.value = rollouts.map(rollout => JSON.stringify(rollout)).join("\n");
    show(lines.value, name);
  }

  async function opened(event) {
    const [file] = event.target.files;
    if (!file) return;
    lines.value = ""; // a whole run would make the field slow
    show(await file.text(), file.name);
  }

  const file = make("input", { type: "file", accept: ".jsonl,.json,.txt", onchange: opened });
  example(0);
  return make("div", { class: "lab" },
    make("div", { class: "lab-controls" },
      choice("example", examples.map(({ name }, i) => [i, name]), 0, example),
      make("label", { class: "lab-control" }, make("span", {}, "or your completions.jsonl"), file)),
    status, list,
    make("details", {}, make("summary", {}, "The lines: edit them, or paste your own"),
      make("label", {}, "Lines of completions.jsonl", lines)),
    make("p", { class: "lab-note" }, "Your file is read in this page and goes nowhere."));
};
