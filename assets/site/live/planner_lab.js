// The planner: choose profile, card and sizes, and see memory, time and cost before any download.
// The controls of `widgets.planner_lab` and the words of `show.plan_card`.
"use strict";
(() => {
  const { make } = soundmind;
  const gb = size => `${soundmind.python.fixed(size, 1)} GB`;

  // A row of the table: what, how much, and its bar.
  const row = (name, amount, size, widest, kind = "") => make("tr", {},
    make("th", { scope: "row" }, name), make("td", {}, amount),
    make("td", {}, soundmind.bar(size, widest, kind)));

  function table(plan) {
    const widest = Math.max(plan.total_gb, plan.limit_gb);
    const parts = Object.entries(plan.parts).map(([name, size]) =>
      row(name, gb(size), size, widest));
    const verdict = `${plan.peak}: ${plan.fits ? "fits" : "will not fit"}`;
    const total = `${soundmind.python.fixed(plan.total_gb, 1)} of ${gb(plan.limit_gb)}`;
    const last = row(verdict, total, plan.total_gb, widest, plan.fits ? "good" : "bad");
    last.className = "plan-total";
    const caption = make("caption", {}, `Memory of the phase that needs most: ${plan.peak}`);
    return make("table", { class: "plan-parts" }, caption, make("tbody", {}, ...parts, last));
  }

  // The plan in words.
  function sentences(plan) {
    const { fixed, general } = soundmind.python;
    const cost = plan.cost === null
      ? "" : `, ${fixed(plan.cost, 2)} at ${general(plan.price)} an hour`;
    const advice = plan.fits ? "" : ` Lower this first: ${plan.advice}.`;
    const steps = `(${plan.steps} steps of ${fixed(plan.step_seconds, 0)} s)`;
    const hours = `download ${fixed(plan.download_hours, 1)}, `
      + `evaluation ${fixed(plan.evaluation_hours, 1)}, `
      + `training ${fixed(plan.training_hours, 1)} ${steps}`;
    const total = `at most ${fixed(plan.hours, 1)} hours${cost}: ${hours}`;
    return [
      `${plan.profile} on ${plan.card}: ${total}. Time from ${plan.basis}.${advice}`,
      `Left out: ${plan.left_out.join("; ") || "nothing"}.`,
    ];
  }

  // The label of a number to type; an empty one is null.
  function number(label, value, changed) {
    const input = make("input", { type: "number", min: 0, step: 0.1, value, oninput: () =>
      changed(input.value === "" ? null : Number(input.value)) });
    return make("label", { class: "lab-control" }, make("span", {}, label), input);
  }

  soundmind.labs.planner_lab = async ({ profile = "l4", card = "T4" } = {}) => {
    const { profiles, cards } = await soundmind.load("planner");
    for (const name of ["python", "memory", "timing", "planner"]) await soundmind.script(name);
    const chosen = { profile, card, price: 1 };
    const sizes = {}, sliders = {};
    const parts = make("div");
    const words = make("p", { role: "status", "aria-live": "polite" });
    const left_out = make("p", { class: "lab-note" });

    function redraw() {
      const sized = { ...profiles[chosen.profile], ...sizes };
      const plan = soundmind.planner.plan(sized, cards[chosen.card], { price: chosen.price });
      parts.replaceChildren(table(plan));
      [words.textContent, left_out.textContent] = sentences(plan);
    }
    const choose = (into, name) => value => {
      into[name] = value;
      redraw();
    };
    function slider(label, name, range) {
      sizes[name] = profiles[profile][name];
      const start = { ...range, value: sizes[name] };
      sliders[name] = soundmind.slider(label, start, choose(sizes, name));
      return sliders[name];
    }
    // A profile comes with its own sizes.
    function take(name) {
      chosen.profile = name;
      for (const [size, control] of Object.entries(sliders)) {
        sizes[size] = profiles[name][size];
        control.querySelector("input").value = sizes[size];
        control.querySelector("output").textContent = sizes[size];
      }
      redraw();
    }
    const names = Object.values(profiles).map(({ name, where }) => [name, `${name}: ${where}`]);
    const controls = make("div", { class: "lab-controls" },
      soundmind.choice("profile", names, profile, take),
      soundmind.choice("card", Object.keys(cards).map(name => [name, name]), card,
        choose(chosen, "card")),
      number("price of an hour", chosen.price, choose(chosen, "price")),
      slider("longest clip, s", "max_audio_seconds", { min: 60, max: 180, step: 10 }),
      slider("answers to a question (G)", "num_generations", { min: 2, max: 16, step: 2 }),
      slider("new tokens", "max_completion_length", { min: 256, max: 4096, step: 256 }),
      slider("eval batch", "per_device_eval_batch_size", { min: 1, max: 32 }));
    redraw();
    return make("div", { class: "lab planner" }, controls, parts, words, left_out);
  };
})();
