"""A completion as speech: what is said, how long the speech is, and what is heard of it.

Under the tiny profile the thinker's text is spoken by hibari-tts: a cascade of a model that writes and a voice that reads. Each text is spoken
once; several rewards and the evaluation share it.
"""
import re
from collections import OrderedDict
from dataclasses import dataclass

from . import speech
from .answers import CLOSE, OPEN

VOICE = "hibari-tts 0.2.1 reads the text (a cascade)"
MAX_WORDS, MAX_CHARACTERS = 600, 4500  # about four minutes of speech; what is longer is not spoken and earns nothing
ENDING = 8.0  # seconds; all that the form of an answer needs, and the ASR's time stays bounded whatever was said before
KEPT = 4096  # texts whose speech is remembered, as figures and words, for the other rewards
WORDS_PER_SECOND = 164 / 60  # ALR's questions are spoken at 164 words a minute; used where a row has no spoken answer
# What Whisper tiny.en writes for "entailed": a word of logic that it rarely met. Nothing else is mended.
MISHEARD = {"and tailed": "entailed", "in tailed": "entailed", "intailed": "entailed", "entail": "entailed", "and tail": "entailed"}
HEARD_ANSWER = re.compile(r"\banswer(?: is)? (not entailed|entailed)$")


@dataclass(frozen=True)
class Speech:
    """A spoken text: what was said, seconds of detected speech, and what the ASR heard of its last `ENDING` seconds (None until asked).

    The samples are not kept; the same text gives the same samples again.
    """

    said: str
    seconds: float
    ending: str | None = None


def spoken_text(text: str) -> str:
    """What is said of a completion: its words without the tags, with the answer as two words a person would say."""
    thought, close, rest = text.replace(OPEN, " ").partition(CLOSE)
    pause = "" if thought.rstrip().endswith((".", "!", "?")) or not thought.strip() else "."
    return " ".join((thought.rstrip() + pause + " " + rest.replace(CLOSE, " ") if close else thought).replace("not-entailed", "not entailed").split())


def heard_verdict(transcript: str) -> str | None:
    """The verdict that a transcript ends with, or None. It never guesses: the last words must be "answer entailed" or "answer not entailed".

    >>> heard_verdict("So nothing follows. Answer, not and tailed.")
    'not-entailed'
    """
    words = speech.normalised(transcript)
    tail = " ".join(words.split()[-6:])
    for heard, meant in MISHEARD.items():
        tail = re.sub(rf"\b{heard}$", meant, tail)
    match = HEARD_ANSWER.search(tail)
    return match and match[1].replace(" ", "-")


_kept: OrderedDict[str, Speech | None] = OrderedDict()


def speech_of(text: str, with_ending: bool = False) -> Speech | None:
    """The speech of a completion's text, or None if nothing in it can be spoken or it is longer than four minutes (`MAX_WORDS`)."""
    said = spoken_text(text)
    found = _kept.pop(said, ...)
    if found is ... or (found and with_ending and found.ending is None):
        found = _spoken(said, with_ending)
    _kept[said] = found
    if len(_kept) > KEPT:
        _kept.popitem(last=False)
    return found


def transcript_of(said: str) -> str:
    """What the ASR hears of the whole spoken text."""
    return speech.transcribe(*speech.speak(said))


def _spoken(said: str, with_ending: bool) -> Speech | None:
    if not said or len(said) > MAX_CHARACTERS or len(said.split()) > MAX_WORDS:
        return None
    try:
        audio, rate = speech.speak(said)
    except ValueError:  # a sentence without anything that the voice can read
        return None
    ending = speech.transcribe(audio[-int(ENDING * rate) :], rate) if with_ending else None
    return Speech(said, speech.speech_seconds(audio, rate), ending)
