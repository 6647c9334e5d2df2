// The rollout player over the shipped run: choose a step and a question, hear it, and see its eight
// answers with rewards and advantages, as `show.rollout_group` shows them in a notebook.
"use strict";
(() => {
  const { make } = soundmind;
  const dataOf = step => soundmind.load(`rollouts_${String(step).padStart(2, "0")}`);
  const signed = number => `${number < 0 ? "" : "+"}${number.toFixed(2)}`;

  function answerCard({ text, rewards, advantage }, rank, terms, largest) {
    const kept = "\u00a0"; // a space at which no line ends
    const earned = terms.map(([name], i) => `${name} ${rewards[i].toFixed(2)}`)
      .map(words => words.replaceAll(" ", kept)).join(", ");
    return make("li", {},
      make("strong", {}, `${rank}. advantage ${signed(advantage)}`),
      soundmind.signedBar(advantage, largest),
      make("p", { class: "lab-note" }, earned),
      make("p", { class: "lab-text" }, ...soundmind.marked(text)));
  }

  // A question with its player and its answers. The scale is one for all groups: no advantage in
  // standard deviations can be larger than `possible`.
  function group({ id, clip, question, label, answers }, terms) {
    const possible = (answers.length - 1) / Math.sqrt(answers.length);
    const largest = Math.max(possible, ...answers.map(answer => Math.abs(answer.advantage)));
    const player = { controls: true, preload: "none", "aria-label": `question ${id}` };
    return [
      make("audio", { ...player, src: soundmind.file(clip) }),
      make("details", {}, make("summary", {}, "Transcript"), make("p", {}, question)),
      make("p", {}, "The label says ", make("strong", {}, label), "."),
      make("ol", { class: "lab-cards" }, ...answers.map((answer, i) =>
        answerCard(answer, i + 1, terms, largest))),
    ];
  }

  // The step that a key asks for, or null. Fields and players have a use of their own for arrows.
  function stepOfKey(event, step) {
    if (event.target.closest("input, select, audio, textarea")) return null;
    if (event.altKey || event.ctrlKey || event.metaKey) return null;
    return { ArrowLeft: step - 1, ArrowRight: step + 1 }[event.key] ?? null;
  }

  soundmind.labs.rollout_player = async () => {
    for (const name of ["python", "rewards", "marked", "reward_chart"]) await soundmind.script(name);
    const { rewards, terms } = await soundmind.load("rollouts");
    const steps = rewards.length;
    const maximum = terms.reduce((sum, [, most]) => sum + most, 0);
    let step = 1, place = 0, questions = await dataOf(1);

    const chart = soundmind.rewardChart(rewards, maximum, go);
    const slider = soundmind.slider("step", { min: 1, max: steps, value: 1 }, go);
    const stepButton = (sign, words, by) => make("button",
      { type: "button", "aria-label": words, onclick: () => go(step + by) }, sign);
    const back = stepButton("←", "previous step", -1);
    const forth = stepButton("→", "next step", 1);
    const choice = soundmind.choice("question", [], 0, value => {
      place = Number(value);
      showGroup();
    });
    const status = make("p", { "aria-live": "polite" });
    const shown = make("div");

    function showGroup() {
      shown.replaceChildren(...group(questions[place], terms));
    }
    function showStep() {
      slider.querySelector("input").value = step;
      slider.querySelector("output").textContent = step;
      back.disabled = step === 1;
      forth.disabled = step === steps;
      chart.show(step);
      status.textContent = `Step ${step} of ${steps}: mean reward `
        + `${rewards[step - 1].toFixed(2)} of ${maximum}`;
      choice.querySelector("select").replaceChildren(...questions.map(({ id, conclusion }, i) =>
        make("option", { value: i, selected: i === place }, `${id}: ${conclusion}?`)));
      showGroup();
    }
    // Shows a step as soon as its data are here, unless another was asked for meanwhile.
    async function go(wanted) {
      if (wanted < 1 || wanted > steps) return;
      step = wanted;
      try {
        const found = await dataOf(wanted);
        if (step !== wanted) return;
        questions = found;
        showStep();
        if (step < steps) await dataOf(step + 1); // the next is here before it is asked for
      } catch (error) {
        status.textContent = `The answers of this step aren't here: ${error.message}`;
      }
    }
    const lab = make("div", { class: "lab" },
      make("div", { class: "lab-controls" }, slider, make("span", {}, back, " ", forth), choice),
      status, chart.element, shown, soundmind.markedNote());
    lab.addEventListener("keydown", event => {
      const wanted = stepOfKey(event, step);
      if (wanted === null) return;
      event.preventDefault();
      go(wanted);
    });
    showStep();
    return lab;
  };
})();
