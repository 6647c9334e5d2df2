"""The rule rewards of SoundMind, in TRL's form `fn(completions, **columns) -> list[float]`.

A completion is a string or a conversation of one message. Every function reads a completion in linear time and never raises on
its content; a column that makes no sense (a label of 2, a reference length of 0) raises ValueError, since that is a fault in the data.
Weights are the paper's: answer 2.0 (λ3), text format 1.0 (λ1), text length 1.0 (λ4), audio format 0.5 (λ2), audio length 0.75 (λ5).
"""
import math
from functools import wraps
from numbers import Real

from .answers import ANSWER_LINE, CLOSE, OPEN, Completion, completion_text, has_text_format, parse_answer, reasoning_of
from .prompts import VERDICTS
from .speech.spoken import CASCADE, Voice, heard_verdict

__all__ = [
    "ANSWER_LINE", "AUDIO_REWARDS", "CLOSE", "OPEN", "TEXT_REWARDS", "answer_reward", "audio_format_reward", "audio_length_reward", "completion_text",
    "has_text_format", "parse_answer", "reasoning_of", "text_format_reward", "text_length_reward",
]


def answer_reward(completions: list[Completion], label: list[int], **_) -> list[float]:
    """2.0 if the parsed answer is the label's verdict, else 0.0 (λ3). `label`: 1 entailed, 0 not-entailed.

    >>> answer_reward(["Answer: entailed", "I think it is entailed"], label=[1, 1])
    [2.0, 0.0]
    """
    for value in label:
        if value not in (0, 1):
            raise ValueError(f"label must be 1 (entailed) or 0 (not-entailed), got {value!r}")
    return [2.0 if parse_answer(completion_text(c)) == VERDICTS[int(y)] else 0.0 for c, y in zip(completions, label, strict=True)]


def text_format_reward(completions: list[Completion], **_) -> list[float]:
    """1.0 for the format that the prompt asks for, else 0.0 (λ1). It does not look at which answer is given.

    >>> text_format_reward(["<think>Why.</think>\\nAnswer: entailed", "Answer: entailed"])
    [1.0, 0.0]
    """
    return [float(has_text_format(completion_text(c))) for c in completions]


def text_length_reward(completions: list[Completion], reference_length: list[float], **_) -> list[float]:
    """min(1, L / L_ref), with L the words of reasoning inside the closed thought and L_ref those of the row's own reasoning (λ4).

    >>> text_length_reward(["<think>one two</think>"], reference_length=[4])
    [0.5]
    """
    _check_references("reference_length", reference_length, "words")
    lengths = [len(reasoning_of(completion_text(c)).split()) for c in completions]
    return [min(1.0, words / reference) for words, reference in zip(lengths, reference_length, strict=True)]


def audio_format_reward(completions: list[Completion], voice: Voice = CASCADE, **columns) -> list[float]:
    """0.5 if the spoken completion is heard to end with "Answer: entailed" or "Answer: not entailed", else 0.0 (λ2).

    What is judged is the sound: the completion is spoken by `voice` and transcribed again. One that can't be spoken earns nothing.
    """
    speeches = voice([completion_text(c) for c in completions], "ending", **columns)
    return [0.5 if speech and heard_verdict(speech.heard) else 0.0 for speech in speeches]


def audio_length_reward(completions: list[Completion], reference_seconds: list[float], voice: Voice = CASCADE, **columns) -> list[float]:
    """0.75 · min(1, T / T_ref), with T the seconds of speech that voice-activity detection finds in the spoken completion (λ5).

    Silence earns nothing, and neither does a completion that can't be spoken.
    """
    _check_references("reference_seconds", reference_seconds, "seconds")
    speeches = voice([completion_text(c) for c in completions], **columns)
    return [0.75 * min(1.0, speech.seconds / reference) if speech else 0.0 for speech, reference in zip(speeches, reference_seconds, strict=True)]


def spoken_by(voice: Voice, reward):
    """An audio reward whose completions are spoken by `voice`; any other reward as it is."""
    if reward not in AUDIO_REWARDS:
        return reward

    @wraps(reward)
    def with_voice(completions, **columns):
        return reward(completions, voice=voice, **columns)

    if hasattr(voice, "begin"):
        with_voice.begin = voice.begin
    return with_voice


def _check_references(name: str, values: list[float], unit: str) -> None:
    for value in values:
        if not (isinstance(value, Real) and math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number of {unit}, got {value!r}")


TEXT_REWARDS = (answer_reward, text_format_reward, text_length_reward)
AUDIO_REWARDS = (audio_format_reward, audio_length_reward)
audio_format_reward.begin = audio_length_reward.begin = CASCADE.begin  # AudioGRPOTrainer calls it as soon as completions are sampled
