"""How long a run takes, from a card's data sheet: an estimate that two real steps calibrate.

Every answer is taken to be as long as `max_completion_length` allows, an upper bound: one answer of
that length holds up its batch, and nobody has published how long the model's own answers are.
"""

from pathlib import Path

from ..profiles import ALR, OMNI_7B, Profile
from .cards import Card
from .memory import BYTES, NF4_BYTES, config_of, parameter_counts, prompt_tokens, share_of

# What plain transformers code reaches of a card's bandwidth and TFLOP/s: guesses
DECODE_SHARE, TRAIN_SHARE = 0.85, 0.30
# Seconds to launch the kernels of a layer, whatever the card; bitsandbytes launches more of them.
# With them a token takes 28 ms on an H100 (7B, 16 bits), 108 on a T4 (3B) and 120 on an L4 (7B).
LAUNCH, LAUNCH_4BIT = 1e-3, 3e-3
# Measurements of a run (before, after, another row's audio), and what each samples
MEASUREMENTS, ANSWERS = 3, {"full": 2, "short": 1, "none": 0}
# Rows of the train and the test split; other data are planned like ALR
ROWS = {ALR: (5184, 656), "mini": (240, 240)}
CLIP_SECONDS = {ALR: 62.0, "mini": 7.0}  # of a question, on average
# A connection's GB a second, and seconds for each file besides: assumptions
CONNECTION_GB, FILE_SECONDS = 0.05, 0.2
CLIP_GB = 48_000 / 1e9  # a second of 24 kHz, 16 bit; ALR's 6,446 questions have 19 GB in all
# A run fetches the whole checkpoint. The 7B's files have 22.4 GB in the hub's listing, 4.5 more
# than its thinker; other checkpoints are taken to have as much more.
CHECKPOINT_GB = {OMNI_7B: 22.4}
TALKER_GB = 4.5


def rows_of(profile: Profile) -> tuple[int, int]:
    """Training and test rows that there are."""
    return ROWS.get(profile.data, ROWS[ALR])


def used_rows(profile: Profile) -> tuple[int, int]:
    """Training and test rows that a run fetches; no test rows where nothing is measured."""
    train, test = rows_of(profile)
    if profile.train_rows is not None:
        train = min(train, profile.train_rows)
    if profile.test_rows is not None:
        test = min(test, profile.test_rows)
    return train, test if profile.eval != "none" else 0


def clip_seconds(profile: Profile) -> float:
    """The mean length of a question, at most the profile's longest."""
    return min(CLIP_SECONDS.get(profile.data, CLIP_SECONDS[ALR]), profile.max_audio_seconds)


def token_seconds(profile: Profile, card: Card, *, rows: int, cached_tokens: float) -> float:
    """Seconds in which each of `rows` gets one token, after reading `cached_tokens` in all.

    Either the launch of the kernels or the memory is the limit. In 16 bits a token reads all
    weights; bitsandbytes unpacks 4-bit weights for each token: it reads them, writes 16 bits and
    reads those.
    """
    counts, text = parameter_counts(profile.model), config_of(profile.model).text_config
    size = BYTES[profile.dtype]
    head_size = text.hidden_size // text.num_attention_heads
    cache = 2 * text.num_hidden_layers * text.num_key_value_heads * head_size * size
    linear = NF4_BYTES + 2 * size if profile.load_in_4bit else size
    moved = counts["linear"] * linear + counts["head"] * size + cached_tokens * cache
    launch = LAUNCH_4BIT if profile.load_in_4bit else LAUNCH
    return max(text.num_hidden_layers * launch, moved / (card.bandwidth * 1e9 * DECODE_SHARE))


def compute_seconds(profile: Profile, card: Card, tokens: float) -> float:
    """Seconds of a forward pass over `tokens`."""
    counts = parameter_counts(profile.model)
    operations = 2 * (counts["all"] - counts["vision"]) * tokens
    return operations / (card.tflops * 1e12 * TRAIN_SHARE)


def step_seconds(
    profile: Profile, card: Card, *, audio_seconds: float, processes: int = 1
) -> float:
    """Seconds of a training step: decoding, prefill, a reference pass, and a policy pass.

    The backward half of the policy pass counts twice, and with checkpointing the forward half runs
    again. `shared_prefix` computes a prompt once for all its completions, except in a policy pass
    with checkpointing.
    """
    share = share_of(profile, processes)
    prompt, completion = prompt_tokens(audio_seconds), profile.max_completion_length
    prefill = share.prompts * prompt
    scored = prefill + share.completions * completion
    if profile.gradient_checkpointing:
        policy = 4 * share.completions * (prompt + completion)
    else:
        policy = 3 * scored
    cached = prefill + share.completions * completion / 2
    token = token_seconds(profile, card, rows=share.completions, cached_tokens=cached)
    return completion * token + compute_seconds(profile, card, prefill + scored + policy)


def evaluation_seconds(
    profile: Profile, card: Card, *, audio_seconds: float, processes: int = 1
) -> float:
    """Seconds of a run's measurements: before, after, and with another row's audio."""
    rows = -(-used_rows(profile)[1] // processes)
    batch = min(profile.per_device_eval_batch_size, max(1, rows))
    calls = MEASUREMENTS * ANSWERS[profile.eval] * -(-rows // batch)
    prompt, completion = prompt_tokens(audio_seconds), profile.max_completion_length
    cached = batch * (prompt + completion / 2)
    token = token_seconds(profile, card, rows=batch, cached_tokens=cached)
    return calls * (completion * token + compute_seconds(profile, card, batch * prompt))


def checkpoint_gb(model: str) -> float:
    """GB of a checkpoint to fetch; 0 for a folder."""
    if Path(model).is_dir():
        return 0.0
    thinker = 2 * parameter_counts(model)["all"] / 1e9
    return CHECKPOINT_GB.get(model, thinker + TALKER_GB)


def download_gb(profile: Profile) -> float:
    """GB to fetch: the checkpoint, and the questions of the rows in use."""
    clips = sum(used_rows(profile)) if profile.data == ALR else 0
    return checkpoint_gb(profile.model) + clips * CLIP_GB * clip_seconds(profile)


def download_seconds(profile: Profile) -> float:
    """Seconds of the download, on the assumed connection."""
    files = sum(used_rows(profile)) if profile.data == ALR else 0
    return download_gb(profile) / CONNECTION_GB + files * FILE_SECONDS


def calibrate(profile: Profile, train_dataset, *, output_dir: Path) -> float:
    """Seconds of a step on this machine: the second of two real training steps.

    `train_dataset` comes from `data.training_rows`.
    """
    from .. import grpo, models

    model, processor = models.load(profile)
    trainer = grpo.trainer_for(
        profile,
        model,
        processing_class=processor,
        train_dataset=train_dataset,
        output_dir=output_dir,
        max_steps=2,
        save_strategy="no",
    )
    trainer.train()
    times = [entry["step_time"] for entry in trainer.state.log_history if "step_time" in entry]
    return times[-1]
