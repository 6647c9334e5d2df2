"""A completion as speech: the words that are spoken, their duration and their transcript.

A *voice* is a function of completions that returns a `Speech` for each; rewards and evaluation take
any. With `CASCADE`, hibari-tts reads the thinker's text. A full checkpoint speaks by itself
(`talker.Talker`).
"""

import re
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .. import speech
from ..audio import SAMPLE_RATE, load_clip
from ..data import ALRFormatError, reasoning_words, row_name
from ..rewards import CLOSE, OPEN
from .workers import workers_here

# About four minutes of speech. A longer text is not spoken and gets no reward.
MAX_WORDS, MAX_CHARACTERS = 600, 4500
# Seconds at the end that contain the answer, without long pauses; transcribing no more bounds the
# ASR's time.
ENDING = 8.0
KEPT = 4096  # texts whose seconds and transcripts are kept for the other rewards
IDLE = 120  # seconds after which unused worker processes end
# ALR's questions are spoken at 164 words a minute; used where a row has no spoken answer.
WORDS_PER_SECOND = 164 / 60
# What Whisper tiny.en writes for "entailed", a term that it rarely met in training. Nothing else is
# corrected.
ASR_ERRORS = {
    "and tailed": "entailed",
    "in tailed": "entailed",
    "intailed": "entailed",
    "entail": "entailed",
    "and tail": "entailed",
}
# Whisper often fills the pause after "answer" with "it".
SPOKEN_ANSWER = re.compile(r"\banswer(?: is| it| it is| it's)? (not entailed|entailed)$")


def reference_seconds(row: dict) -> float:
    """Seconds of speech of a row's own answer: in its clip, or estimated from its words.

    Raises ALRFormatError for a clip without speech, AudioError for one that can't be used.
    """
    if row["answer_audio"] is None:
        return (reasoning_words(row) + 2) / WORDS_PER_SECOND  # and the two words of the answer
    clip = load_clip(row_name(row), row["answer_audio"])
    seconds = speech.speech_seconds(clip, SAMPLE_RATE)
    if not seconds:
        what = f"no speech is detected in {row['answer_audio']}"
        raise ALRFormatError(f"row {row_name(row)}: {what}; leave the row out")
    return seconds


@dataclass(frozen=True)
class Speech:
    """A spoken text. The samples are not kept; the same text gives the same samples again."""

    said: str  # the words as they were given to the voice
    seconds: float  # of detected speech
    transcript: str | None = None  # of the part that was asked for, or None


class Voice(Protocol):
    """Speaks completions.

    `transcribe` is None, "ending" (the last `ENDING` seconds) or "whole"; `columns` are those of
    the rows, as TRL passes them to rewards. The result is None for a completion that can't be
    spoken, or would take more than four minutes.
    """

    name: str

    def __call__(
        self, completions: list[str], transcribe: str | None = None, **columns
    ) -> list[Speech | None]: ...

    def aloud(self, completion: str, conversation: list[dict]) -> tuple[np.ndarray, int]: ...


def spoken_text(text: str) -> str:
    """The words of a completion that are spoken: no tags, "not-entailed" as two words.

    >>> spoken_text("<think>So be it</think> Answer: not-entailed")
    'So be it. Answer: not entailed'
    """
    thought, close, rest = text.replace(OPEN, " ").partition(CLOSE)
    if close:
        thought = thought.rstrip()
        has_end = not thought or thought.endswith((".", "!", "?"))
        pause = "" if has_end else "."
        thought = f"{thought}{pause} {rest.replace(CLOSE, ' ')}"
    return " ".join(thought.replace("not-entailed", "not entailed").split())


def spoken_verdict(transcript: str) -> str | None:
    """The verdict at the end of a transcript, or None.

    It never guesses: the last words must be "answer entailed" or "answer not entailed", with at
    most "is", "it", "it is" or "it's" after "answer".

    >>> spoken_verdict("So nothing follows. Answer, not and tailed.")
    'not-entailed'
    """
    words = speech.normalised(transcript).split()
    tail = " ".join(words[-6:])
    for written, meant in ASR_ERRORS.items():
        tail = re.sub(rf"\b{written}$", meant, tail)
    match = SPOKEN_ANSWER.search(tail)
    return match and match[1].replace(" ", "-")


def measured(said: str, audio, *, sample_rate: int, transcribe: str | None) -> Speech:
    """The `Speech` of a waveform: the seconds of speech in it, and its transcript if asked for."""
    spans = speech.speech_spans(audio, sample_rate)
    seconds = speech.seconds_in(spans)
    if transcribe is None:
        return Speech(said, seconds)
    ending = {"ending": ENDING, "whole": None}[transcribe]
    return Speech(said, seconds, speech.transcribe(audio, sample_rate, ending=ending, spans=spans))


def read_aloud(said: str, transcribe: str | None = None) -> Speech | None:
    """A text as hibari-tts reads it, or None if it can't be spoken or is too long."""
    if not said or len(said) > MAX_CHARACTERS or len(said.split()) > MAX_WORDS:
        return None
    try:
        audio, sample_rate = speech.speak(said)
    except speech.Unreadable:
        return None
    return measured(said, audio, sample_rate=sample_rate, transcribe=transcribe)


class Cascade:
    """The voice of a thinker without a talker: the thinker writes and hibari-tts reads.

    Each text is spoken once and its `Speech` kept for the other rewards.
    """

    name = "hibari-tts 0.2.1 reads the text (a cascade)"

    def __init__(self):
        # By text and transcribed part. None: the text can't be spoken.
        self._kept: OrderedDict[tuple[str, str | None], Speech | Future | None] = OrderedDict()

    def begin(self, completions: list[str], transcribe: str | None = "ending") -> None:
        """Starts to speak in worker processes, as many as may run; a later call collects.

        Processes, since voice, detector and ASR crash each other in threads of one process.
        """
        from joblib.externals.loky import get_reusable_executor

        texts = dict.fromkeys(spoken_text(completion) for completion in completions)
        new = [said for said in texts if said and self._key(said, transcribe) is None]
        if not new:
            return
        environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        workers = get_reusable_executor(max_workers=workers_here(), timeout=IDLE, env=environment)
        for said in new:
            self._keep(said, transcribe, workers.submit(read_aloud, said, transcribe))

    def __call__(
        self, completions: list[str], transcribe: str | None = None, **columns
    ) -> list[Speech | None]:
        return [self._speech_of(spoken_text(text), transcribe) for text in completions]

    def aloud(self, completion: str, conversation: list[dict]) -> tuple[np.ndarray, int]:
        """The samples of a completion, float32, and their rate in Hz; ValueError if it can't be
        spoken."""
        return speech.speak(spoken_text(completion))

    def _speech_of(self, said: str, transcribe: str | None) -> Speech | None:
        key = self._key(said, transcribe)
        found = read_aloud(said, transcribe) if key is None else self._kept[key]
        if isinstance(found, Future):
            found = found.result()
        self._keep(said, transcribe, found)
        return found

    def _key(self, said: str, transcribe: str | None) -> tuple[str, str | None] | None:
        """The key of a kept text, or None. Without `transcribe` any transcribed part will do."""
        parts = (transcribe,) if transcribe else (None, "ending", "whole")
        keys = [(said, part) for part in parts]
        return next((key for key in keys if key in self._kept), None)

    def _keep(self, said: str, transcribe: str | None, found: Speech | Future | None) -> None:
        key = (said, transcribe)
        self._kept[key] = found
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


CASCADE = Cascade()
