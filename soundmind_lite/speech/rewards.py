"""The two rewards for spoken answers: they judge the speech, not the text that was spoken."""

from functools import wraps

from ..rewards import Completion, check_references, completion_text
from .spoken import CASCADE, Voice, spoken_verdict


def audio_format_reward(
    completions: list[Completion], *, voice: Voice = CASCADE, **columns
) -> list[float]:
    """0.5 if the transcript of the spoken completion ends with an answer, else 0.0 (λ2).

    `voice` speaks the completion, and Whisper transcribes the speech; the transcript must end with
    "Answer: entailed" or "Answer: not entailed". A completion that can't be spoken gets 0.0.
    """
    texts = [completion_text(completion) for completion in completions]
    earned = []
    for speech in voice(texts, "ending", **columns):
        has_answer = speech is not None and spoken_verdict(speech.transcript) is not None
        earned.append(0.5 if has_answer else 0.0)
    return earned


def audio_length_reward(
    completions: list[Completion],
    reference_seconds: list[float],
    *,
    voice: Voice = CASCADE,
    **columns,
) -> list[float]:
    """0.75 · min(1, T / T_ref), T in seconds of speech that voice activity detection finds (λ5).

    Silence gets 0.0, and so does a completion that can't be spoken. Raises ValueError unless each
    of the `reference_seconds` is a positive number.
    """
    check_references("reference_seconds", reference_seconds, unit="seconds")
    speeches = voice([completion_text(completion) for completion in completions], **columns)
    earned = []
    for speech, reference in zip(speeches, reference_seconds, strict=True):
        earned.append(0.75 * min(1.0, speech.seconds / reference) if speech else 0.0)
    return earned


AUDIO_REWARDS = (audio_format_reward, audio_length_reward)
# The trainer of a run calls `begin` as soon as completions are sampled.
audio_format_reward.begin = CASCADE.begin
audio_length_reward.begin = CASCADE.begin


def spoken_by(voice: Voice | None, reward):
    """An audio reward whose completions are spoken by `voice`; any other reward unchanged."""
    if voice is None or reward not in AUDIO_REWARDS:
        return reward

    @wraps(reward, updated=())  # without the reward's attributes: `begin` is the cascade's
    def with_voice(completions, **columns):
        return reward(completions, voice=voice, **columns)

    if hasattr(voice, "begin"):
        with_voice.begin = voice.begin
    return with_voice
