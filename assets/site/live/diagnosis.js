// A port of check_rollouts of soundmind_lite/course/diagnosis.py, with the same words: why is my
// reward 0? tests/publish/test_web_doctor.py holds it to the Python. It needs rewards.js.
"use strict";
soundmind.diagnosis = (() => {
  const { fixed, percent } = soundmind.python;
  const { completionText, formatFault } = soundmind.rewards;
  const FEW = 0.1; // share of completions, or of groups with a spread, that teaches little
  const NOTHING = 0.01; // reward below which a term counts as not paid
  const FIELDS = ["step", "id", "group", "completion", "advantage"]; // the others are rewards

  const finding = (what, ok, remedy = "") => ({ what, ok, remedy });
  const inWords = ({ what, ok, remedy }) => ok ? `OK   ${what}` : `--   ${what}: ${remedy}`;

  // The rollouts of a run's completions.jsonl. Throws an Error that names the first line that
  // isn't one.
  function readLines(text) {
    const lines = text.split("\n").map((line, i) => [line.trim(), i + 1]).filter(([line]) => line);
    if (!lines.length) throw new Error("there are no lines; choose a run's completions.jsonl");
    return lines.map(([line, number]) => rollout(line, number));
  }

  function rollout(line, number) {
    let read = null;
    try {
      read = JSON.parse(line);
    } catch {
      // said below
    }
    if (read === null || typeof read !== "object" || Array.isArray(read)) {
      throw new Error(`line ${number} is not a JSON object: ${line.slice(0, 40)}`);
    }
    for (const name of ["step", "id", "completion", "advantage"]) {
      if (!(name in read)) {
        throw new Error(`line ${number} lacks "${name}", which completions.jsonl has in each line`);
      }
    }
    if (typeof read.advantage !== "number") {
      const given = JSON.stringify(read.advantage);
      throw new Error(`line ${number}: "advantage" is no number: ${given}`);
    }
    if (typeof read.completion !== "string" && read.completion?.[0]?.content === undefined) {
      throw new Error(`line ${number}: "completion" is neither a text nor a list of messages`);
    }
    for (const name of rewardNames([read])) {
      const value = read[name];
      if (value !== null && typeof value !== "number") {
        throw new Error(`line ${number}: "${name}" is no number: ${JSON.stringify(value)}`);
      }
    }
    return read;
  }

  // The names of a run's rewards: all that a rollout holds beside its fields.
  function rewardNames(rollouts) {
    const names = new Set(rollouts.flatMap(Object.keys));
    return [...names].filter(name => !FIELDS.includes(name));
  }

  // The groups of all steps, as lists of rollouts. A group is named by its row's id, with its
  // number where the id alone doesn't tell groups apart.
  function groupsOf(rollouts) {
    const steps = new Map();
    for (const rollout of rollouts) {
      const { step, id } = rollout;
      const name = "group" in rollout ? `${id ?? "without id"}, group ${rollout.group}` : id;
      if (!steps.has(step)) steps.set(step, new Map());
      const groups = steps.get(step);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(rollout);
    }
    return [...steps.values()].flatMap(groups => [...groups.values()]);
  }

  // The most frequent value and its count; the first of several that occur as often.
  function mostCommon(values) {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].reduce((best, entry) => entry[1] > best[1] ? entry : best);
  }

  // Reward terms that rarely pay, zero-std groups, and the most frequent format fault.
  function checkRollouts(rollouts) {
    const findings = rewardNames(rollouts).map(name =>
      term(name, rollouts.map(rollout => rollout[name] ?? null)));
    findings.push(zeroStdGroups(rollouts));
    const faults = rollouts.map(rollout => formatFault(completionText(rollout.completion)))
      .filter(fault => fault !== null);
    if (faults.length) {
      const [fault, count] = mostCommon(faults);
      const what = `most frequent format fault: ${fault} (${count} of ${rollouts.length})`;
      findings.push(finding(what, count < rollouts.length / 2, "show the model the format"));
    }
    return findings;
  }

  function term(name, given) {
    const values = given.filter(value => value !== null);
    if (!values.length) {
      const remedy = "it never applies; read its condition, and the columns that it looks at";
      return finding(`${name}: None for all ${given.length} completions`, false, remedy);
    }
    const share = condition => values.filter(condition).length / values.length;
    const paid = share(value => value > NOTHING), taken = share(value => value < -NOTHING);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const penalises = values.some(value => value < 0);
    let what = `pays for ${percent(paid)} of the completions`;
    if (penalises) {
      what = paid ? `${what}, takes from ${percent(taken)}`
        : `takes from ${percent(taken)} of the completions`;
    }
    if (values.length < given.length) {
      what += ` that it applies to (${values.length} of ${given.length})`;
    }
    what = `${name}: ${what}, ${fixed(mean, 2)} on average`;
    if (new Set(values).size === 1) {
      return finding(what, paid === 1, "constant, so it teaches nothing");
    }
    if (penalises && !paid) return finding(what, true); // to take from few is what a penalty is for
    if (penalises) {
      const usual = mostCommon(values)[1] / values.length;
      return finding(what, 1 - usual >= FEW, "almost always the same; read the completions");
    }
    const most = values.reduce((one, other) => Math.max(one, other));
    const remedy = paid
      ? "too rare to learn from; read completions, or warm-start the model"
      : `never above ${fixed(most, 3)}; check the column that it compares with, `
        + "then read completions";
    return finding(what, paid >= FEW, remedy);
  }

  function zeroStdGroups(rollouts) {
    const groups = groupsOf(rollouts);
    const rounded = rollout => Number(fixed(rollout.advantage, 6));
    const flat = groups.filter(group => new Set(group.map(rounded)).size === 1).length;
    const remedy = "all completions of a question earn the same: no advantage, no gradient; if "
      + "they earn much, read them: is the task solved, or the reward hacked?";
    const what = `zero-std groups: ${flat} of ${groups.length}`;
    return finding(what, flat < (1 - FEW) * groups.length, remedy);
  }

  return { readLines, groupsOf, rewardNames, checkRollouts, inWords };
})();
