"""The algorithms that `train --algorithm` names: what each changes of TRL's GRPOConfig.

All take the rest from the profile, `beta` too, where their papers may choose otherwise. With one
update for each generation (`num_iterations=1`, the profiles' own) the ratio of the policies is 1:
what differs then is how a loss weighs completions and tokens, and not how it clips. So "dapo",
"cispo" and "vespo" then train as "grpo" does.
"""

from ..profiles import one_of

CONFIGS = {
    # TRL's defaults: advantages of a group over its std, the mean over all tokens of the batch
    "grpo": {},
    # Shao et al. 2024, 2402.03300: the mean over completions of their means over tokens
    "grpo_2024": {"loss_type": "grpo"},
    # Hu et al. 2025, 2501.03262: see `runs.reinforce`
    "reinforce++": {},
    # Liu et al. 2025, 2503.20783: no std, and every token over the longest length allowed
    "dr_grpo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
    # Yu et al. 2025, 2503.14476: clips further upwards; without its dynamic sampling
    "dapo": {"loss_type": "dapo", "epsilon_high": 0.28},
    # the mean over the tokens of a batch on its device
    "bnpo": {"loss_type": "bnpo"},
    # Chen et al. 2025, 2506.13585: clips the weights alone; the bound is that of 2510.13786
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
    # Zheng et al. 2025, 2507.18071: one ratio for a whole completion
    "gspo": {
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "epsilon": 3e-4,
        "epsilon_high": 4e-4,
    },
    # 2511.20347: a smooth gate in place of clipping
    "sapo": {"loss_type": "sapo"},
    # 2602.05261: GSPO with each completion weighted by its length
    "luspo": {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    # a smooth weight for whole completions, in place of clipping
    "vespo": {"loss_type": "vespo"},
}


def options(algorithm: str) -> dict:
    """What `grpo.trainer_for` takes for an algorithm; ValueError lists the names there are."""
    fields = CONFIGS[one_of(CONFIGS, algorithm, what="algorithm")]
    own = algorithm if algorithm == "reinforce++" else "grpo"  # the trainer's part of it
    return {"algorithm": own, **fields}
