// The plan of a run on a card: a port of `plan` of soundmind_lite/scale/planner.py, whose names and
// words it keeps. Not ported: `measured_step`, which a page has none of, and `within`.
"use strict";
soundmind.planner = (() => {
  const constants = () => soundmind.data.planner.planner;

  // A whole number with commas, as Python's {:,}.
  const with_commas = number => number.toLocaleString("en-US");

  // What to lower first: the weights if they are too much, else the largest part of the peak.
  function advice_of(profile, memory, limit_gb) {
    if (soundmind.memory.sum(memory.lasting) <= limit_gb) {
      const largest = soundmind.memory.largest(memory.phases[memory.peak]);
      let remedy = soundmind.data.planner.memory.REMEDIES[largest];
      if (profile.gradient_checkpointing) {
        remedy = remedy.replace(/, or set gradient_checkpointing=True$/, "");
      }
      return `${largest}: ${remedy}`;
    }
    return `weights: take a smaller model${profile.load_in_4bit ? "" : ", or 4-bit weights"}`;
  }

  // What the run doesn't do with the whole data.
  function left_out_of(profile) {
    const { is_alr, rows_of, used_rows } = soundmind.timing;
    const { ANSWER_TOKENS } = constants();
    const [train, test] = rows_of(profile);
    const [fetched, measured] = used_rows(profile);
    const seen = Math.min(fetched, profile.max_steps * profile.prompts_per_step);
    const left = (some, all, what) => `${with_commas(some)} of ${with_commas(all)} ${what}`;
    const found = [];
    if (seen < train) found.push(left(train - seen, train, "training questions"));
    if (profile.eval === "none") found.push("all measurements, before and after training");
    else if (measured < test) found.push(left(test - measured, test, "test questions"));
    if (profile.eval === "short") {
      found.push("sampled answers to the test questions (greedy ones alone are measured)");
    }
    if (is_alr(profile) && profile.max_completion_length < ANSWER_TOKENS) {
      const longest = `${with_commas(profile.max_completion_length)} tokens`;
      const mean = `ALR's have ${with_commas(ANSWER_TOKENS)} on average`;
      found.push(`answers beyond ${longest} (${mean})`);
    }
    return found;
  }

  // The plan of a run, with the fields of Python's Plan. `profile` and `card` are those of the
  // data, the profile's sizes changed as you like; `price` is for an hour of a card.
  function plan(profile, card, options = {}) {
    const { memory_of } = soundmind.memory;
    const { clip_seconds, download_seconds, evaluation_seconds, step_seconds } = soundmind.timing;
    const processes = options.processes ?? constants().PROCESSES[profile.name] ?? 1;
    const sizes = { audio_seconds: options.audio_seconds ?? clip_seconds(profile), processes };
    const memory = memory_of(profile, processes);
    const one_step = step_seconds(profile, card, sizes);
    const evaluation_hours = evaluation_seconds(profile, card, sizes) / 3600;
    const download_hours = download_seconds(profile) / 3600;
    const training_hours = one_step * profile.max_steps / 3600;
    const hours = download_hours + evaluation_hours + training_hours;
    const price = options.price ?? null;
    return {
      profile: profile.name,
      card: card.name,
      memory,
      parts: memory.parts,
      peak: memory.peak,
      total_gb: memory.total_gb,
      limit_gb: card.memory_gb,
      fits: memory.total_gb <= card.memory_gb,
      steps: profile.max_steps,
      step_seconds: one_step,
      evaluation_hours,
      download_hours,
      training_hours,
      hours,
      processes,
      price,
      cost: price === null ? null : price * hours * processes,
      basis: "the card's data sheet, not measured",
      advice: advice_of(profile, memory, card.memory_gb),
      left_out: left_out_of(profile),
    };
  }

  return { plan };
})();
