// A completion with the parts underlined that two reward terms read, for the labs that show one.
// It needs rewards.js.
"use strict";
(() => {
  const { make } = soundmind;
  const READ = {
    length: "the words that the length term counts",
    answer: "the line that the answer term reads",
  };
  const underlined = (term, text, title = null) =>
    make("span", { class: `reads ${term}`, title }, text);

  // The text as a list of strings and elements.
  soundmind.marked = text => soundmind.rewards.marked(text).map(([part, term]) =>
    term ? underlined(term, part, READ[term]) : part);

  // What the underlines mean.
  soundmind.markedNote = () => make("p", { class: "lab-note" },
    underlined("length", "Dotted"), `: ${READ.length}. `,
    underlined("answer", "Solid"), `: ${READ.answer}.`);
})();
