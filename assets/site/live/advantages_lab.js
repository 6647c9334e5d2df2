// The advantage calculator: move the rewards of one or two questions' completions and see the
// advantages that GRPO makes of them, for each of TRL's scale_rewards.
"use strict";
soundmind.labs.advantages_lab = async () => {
  for (const name of ["python", "advantages"]) await soundmind.script(name);
  const presets = await soundmind.load("advantage_presets");
  const { make, slider, choice, signedBar } = soundmind;
  const { EPSILON, ZERO, std, ofBatch } = soundmind.advantages;
  const { fixed } = soundmind.python;
  const MOST = 8, HIGHEST = 4; // completions of a question; the three rewards together
  const SCALES = [
    ["group", '"group": by the std of the group'],
    ["batch", '"batch": by the std of the batch'],
    ["none", '"none": not at all'],
  ];
  let groups = [], scale = "group", size = MOST, rows = [];

  // f"{x:+.2f}", but 0 without a sign
  const signed = number => {
    const shown = fixed(number, 2);
    return Number(shown) === 0 ? "0.00" : `${number < 0 ? "" : "+"}${shown}`;
  };
  const chosen = make("div");
  const result = make("p", { class: "lab-sum", "aria-live": "polite" });

  // One completion: its reward to move, and its advantage.
  function row(group, i) {
    const start = { min: 0, max: HIGHEST, step: 0.01, value: Number(fixed(group[i], 2)) };
    const control = slider(`reward ${i + 1}`, start, value => {
      group[i] = value;
      show();
    });
    const bar = make("span"), advantage = make("output");
    const element = make("div", { class: "advantage-row" }, control, bar, advantage);
    return { element, bar, advantage };
  }

  function build() {
    rows = groups.map(group => Array.from({ length: size }, (_, i) => row(group, i)));
    chosen.replaceChildren(...rows.map((ofGroup, i) => {
      const words = make("p", { class: "lab-note" });
      ofGroup.words = words;
      return make("fieldset", { class: "lab-group" }, make("legend", {}, `question ${i + 1}`),
        ...ofGroup.map(({ element }) => element), words);
    }));
    show();
  }

  // The formula with the group's figures, and what it means if all earn the same.
  function about(group, mean, divisor) {
    const centred = `r − ${fixed(mean, 2)}`;
    const own = `mean ${fixed(mean, 2)}, std ${fixed(std(group), 2)}`;
    const whose = scale === "batch" ? `, std of the batch ${fixed(divisor, 2)}` : "";
    const scaled = `(${centred}) / (${fixed(divisor, 2)} + ${EPSILON})`;
    const formula = scale === "none" ? centred : scaled;
    const flat = std(group) > ZERO ? ""
      : " All its completions earn the same: no advantage, no gradient.";
    return `${own}${whose}: A = ${formula}.${flat}`;
  }

  function show() {
    const batch = groups.map(group => group.slice(0, size));
    const { means, stds, flat, advantages } = ofBatch(batch, scale);
    // one scale for all, at least the most that an advantage in stds of its group can be
    const largest = Math.max((size - 1) / Math.sqrt(size), ...advantages.flat().map(Math.abs));
    rows.forEach((ofGroup, i) => {
      ofGroup.words.textContent = about(batch[i], means[i], stds[i]);
      ofGroup.forEach(({ bar, advantage }, j) => {
        bar.replaceChildren(signedBar(advantages[i][j], largest));
        advantage.textContent = signed(advantages[i][j]);
      });
    });
    const all = advantages.flat(), zero = flat.filter(Boolean).length / flat.length;
    result.textContent = `Advantages from ${signed(Math.min(...all))} to `
      + `${signed(Math.max(...all))}; frac_reward_zero_std ${fixed(zero, 2)}`;
  }

  function begin(number) {
    groups = presets[number].groups.map(group => [...group]);
    build();
  }
  const scaled = value => {
    scale = value;
    show();
  };
  const sized = value => {
    size = value;
    build();
  };
  begin(0);
  return make("div", { class: "lab" },
    make("div", { class: "lab-controls" },
      choice("rewards of", presets.map(({ name }, i) => [i, name]), 0, begin),
      choice("scale_rewards, divide", SCALES, scale, scaled),
      slider("completions, G", { min: 2, max: MOST, value: MOST }, sized)),
    result, chosen,
    make("p", { class: "lab-note" }, "A is the advantage, r the reward, summed over the reward ",
      "functions. The std divides by G − 1, as TRL's does. frac_reward_zero_std is the share of ",
      "groups whose std TRL logs as 0."));
};
