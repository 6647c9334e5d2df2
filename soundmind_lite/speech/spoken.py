"""A completion as speech: what is said, how long the speech is, and what is heard of it.

A *voice* is a function of completions that gives a `Speech` for each; rewards and evaluation take any. `CASCADE` lets hibari-tts read the thinker's
text; a full checkpoint speaks itself (`talker.Talker`).
"""
import os
import re
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from .. import speech
from ..answers import CLOSE, OPEN

MAX_WORDS, MAX_CHARACTERS = 600, 4500  # about four minutes of speech; what is longer is not spoken and earns nothing
ENDING = 8.0  # seconds; all that the form of an answer needs, and the ASR's time stays bounded whatever was said before
KEPT = 4096  # texts whose speech is remembered, as figures and words, for the other rewards
IDLE = 120  # seconds after which unused speech workers end
WORDS_PER_SECOND = 164 / 60  # ALR's questions are spoken at 164 words a minute; used where a row has no spoken answer
# What Whisper tiny.en writes for "entailed": a word of logic that it rarely met. Nothing else is mended.
MISHEARD = {"and tailed": "entailed", "in tailed": "entailed", "intailed": "entailed", "entail": "entailed", "and tail": "entailed"}
HEARD_ANSWER = re.compile(r"\banswer(?: is| it| it is| it's)? (not entailed|entailed)$")  # Whisper often puts "it" into the pause after "answer"


@dataclass(frozen=True)
class Speech:
    """A spoken text: what was said, seconds of detected speech, and what the ASR heard if it was asked ("ending": of the last `ENDING` seconds,
    "whole": of all). The samples are not kept; the same text gives the same samples again.
    """

    said: str
    seconds: float
    heard: str | None = None


class Voice(Protocol):
    """Speaks completions. `hear` is None, "ending" or "whole"; `columns` are those of the rows, as TRL hands them to rewards.

    A completion that can't be spoken, or would take more than four minutes, is None.
    """

    name: str

    def __call__(self, completions: list[str], hear: str | None = None, **columns) -> list[Speech | None]: ...


def spoken_text(text: str) -> str:
    """What is said of a completion: its words without the tags, with the answer as two words a person would say."""
    thought, close, rest = text.replace(OPEN, " ").partition(CLOSE)
    pause = "" if thought.rstrip().endswith((".", "!", "?")) or not thought.strip() else "."
    return " ".join((thought.rstrip() + pause + " " + rest.replace(CLOSE, " ") if close else thought).replace("not-entailed", "not entailed").split())


def heard_verdict(transcript: str) -> str | None:
    """The verdict that a transcript ends with, or None. It never guesses: the last words must be "answer entailed" or "answer not entailed", with at
    most "is", "it", "it is" or "it's" after "answer".

    >>> heard_verdict("So nothing follows. Answer, not and tailed.")
    'not-entailed'
    """
    words = speech.normalised(transcript)
    tail = " ".join(words.split()[-6:])
    for heard, meant in MISHEARD.items():
        tail = re.sub(rf"\b{heard}$", meant, tail)
    match = HEARD_ANSWER.search(tail)
    return match and match[1].replace(" ", "-")


def measured(said: str, audio, sample_rate: int, hear: str | None) -> Speech:
    """The seconds of speech in a waveform, and what is heard of it."""
    part = {None: None, "ending": audio[-int(ENDING * sample_rate) :], "whole": audio}[hear]
    heard = None if part is None else speech.transcribe(part, sample_rate)
    return Speech(said, speech.speech_seconds(audio, sample_rate), heard)


def read_aloud(said: str, hear: str | None = None) -> Speech | None:
    """A text as hibari-tts reads it, or None if nothing in it can be spoken or it is longer than `MAX_WORDS`."""
    if not said or len(said) > MAX_CHARACTERS or len(said.split()) > MAX_WORDS:
        return None
    try:
        return measured(said, *speech.speak(said), hear)
    except speech.Unreadable:
        return None


class Cascade:
    """The voice of a thinker without a talker: it writes, and hibari-tts reads. Each text is spoken once and remembered for the other rewards."""

    name = "hibari-tts 0.2.1 reads the text (a cascade)"

    def __init__(self):
        self._kept: OrderedDict[tuple[str, str | None], Speech | Future | None] = OrderedDict()

    def begin(self, completions: list[str], hear: str | None = "ending") -> None:
        """Starts to speak in worker processes, one a core; a later call collects. Voice, detector and ASR in threads of one process crash each other."""
        from joblib.externals.loky import get_reusable_executor

        wanted = [said for said in dict.fromkeys(map(spoken_text, completions)) if said and self._known(said, hear) is ...]
        if wanted:
            workers = get_reusable_executor(max_workers=os.cpu_count(), timeout=IDLE, env={"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"})
            for said in wanted:
                self._keep(said, hear, workers.submit(read_aloud, said, hear))

    def __call__(self, completions: list[str], hear: str | None = None, **columns) -> list[Speech | None]:
        return [self._speech_of(spoken_text(text), hear) for text in completions]

    def _speech_of(self, said: str, hear: str | None) -> Speech | None:
        found = self._known(said, hear)
        if found is ...:
            found = read_aloud(said, hear)
        elif isinstance(found, Future):
            found = found.result()
        self._keep(said, hear, found)
        return found

    def _known(self, said: str, hear: str | None):
        """What is known of a text, or the Future of it, or Ellipsis; its seconds are known whatever was heard."""
        keys = ((said, h) for h in ((hear,) if hear else (None, "ending", "whole")))
        return next((self._kept[key] for key in keys if key in self._kept), ...)

    def _keep(self, said: str, hear: str | None, speech: Speech | Future | None) -> None:
        self._kept[said, hear] = speech
        self._kept.move_to_end((said, hear))
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


CASCADE = Cascade()
