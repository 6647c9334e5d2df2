// The reward lab: edit a completion and see what each reward term pays for it, and why.
// options: {completion, label, reference_length}, the reference in words.
"use strict";
soundmind.labs.reward_lab = async options => {
  for (const name of ["python", "rewards", "marked"]) await soundmind.script(name);
  const { make, slider, choice, bar } = soundmind;
  const { VERDICTS, explain, reasoningOf } = soundmind.rewards;
  const { fixed } = soundmind.python;
  let { label = 1, reference_length: reference = 20 } = options;
  const given = reasoningOf(options.completion) || "All birds are fish, so no bird is a stone.";

  // Completions to begin with that earn differently, as [words on the button, completion].
  const starts = () => {
    const right = VERDICTS[label], wrong = VERDICTS[1 - label];
    const padding = Array(reference).fill("so").join(" ");
    return [
      ["right", `<think>${given}</think>\nAnswer: ${right}`],
      ["no thought", `Answer: ${right}`],
      ["wrong", `<think>${given}</think>\nAnswer: ${wrong}`],
      ["never closed", `<think>${given}\nAnswer: ${right}`],
      ["padded", `<think>${padding}</think>\nAnswer: ${right}`],
    ];
  };

  const text = make("textarea", { rows: 5, spellcheck: "false", oninput: () => show() });
  const card = make("div", { class: "lab-text lab-frame" });
  const terms = make("div", { class: "lab-terms" });
  const sum = make("p", { class: "lab-sum", "aria-live": "polite" });

  function row(term) {
    const reward = `${fixed(term.reward, 2)} of ${term.maximum}`;
    return make("div", { class: "lab-term" },
      make("strong", {}, term.name), make("span", {}, reward),
      bar(term.reward, term.maximum, term.name), make("span", { class: "lab-note" }, term.reason));
  }

  function show() {
    const found = explain(text.value, label, reference);
    card.replaceChildren(...soundmind.marked(text.value));
    terms.replaceChildren(...found.map(row));
    const total = what => found.reduce((sofar, term) => sofar + term[what], 0);
    sum.textContent = `sum ${fixed(total("reward"), 2)} of ${total("maximum")}`;
  }

  const buttons = starts().map(([words], i) => make("button", {
    type: "button",
    onclick: () => {
      text.value = starts()[i][1];
      show();
    },
  }, words));
  const chosen = value => {
    label = Number(value);
    show();
  };
  const moved = value => {
    reference = value;
    show();
  };
  text.value = options.completion;
  show();
  return make("div", { class: "lab" },
    make("div", { class: "lab-buttons", role: "group", "aria-label": "Completions to begin with" },
      make("span", {}, "Begin with"), ...buttons),
    make("label", {}, "Completion", text),
    make("div", { class: "lab-controls" },
      choice("label", [...VERDICTS.entries()], label, chosen),
      slider("reference length, words", { min: 1, max: 100, value: reference }, moved)),
    sum, terms,
    card, soundmind.markedNote());
};
