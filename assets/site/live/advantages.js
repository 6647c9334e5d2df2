// Advantages as TRL 1.16 computes them (grpo_trainer.py, multi_objective_aggregation
// "sum_then_normalize"). tests/publish/test_web_advantages.py holds this to the trainer itself.
"use strict";
soundmind.advantages = (() => {
  const EPSILON = 1e-4; // TRL adds it to the std, so that equal rewards give 0 and not 0/0
  const ZERO = 1e-8; // up to here torch.isclose takes a std for 0

  const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;

  // The standard deviation with n - 1, as torch.std has it; 0 for a single value.
  function std(values) {
    if (values.length < 2) return 0;
    const centre = mean(values);
    const squares = values.map(value => (value - centre) ** 2);
    return Math.sqrt(squares.reduce((sum, value) => sum + value, 0) / (values.length - 1));
  }

  // What a batch of groups, lists of summed rewards, earns under scale_rewards: "group", "batch" or
  // "none". `means`, `stds` and `flat`, whether TRL counts the group as zero-std, have an entry for
  // each group; `stds` are what the flag looks at, and "none" doesn't divide by them.
  function ofBatch(groups, scaleRewards) {
    const ofAll = std(groups.flat());
    const means = groups.map(mean);
    const stds = groups.map(group => scaleRewards === "batch" ? ofAll : std(group));
    const flat = stds.map(value => value <= ZERO);
    const advantages = groups.map((group, i) => group.map(reward => {
      const centred = reward - means[i];
      return scaleRewards === "none" ? centred : centred / (stds[i] + EPSILON);
    }));
    return { means, stds, flat, advantages };
  }

  return { EPSILON, ZERO, mean, std, ofBatch };
})();
