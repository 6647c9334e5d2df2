"""What the voice can't read is refused and named, and all else is read."""

import pytest

from soundmind_lite import speech
from soundmind_lite.speech import reading

# What stands in an English sentence, and the part that is named.
LEFT_OUT = [
    ("Fine 😀.", "😀"),
    ("Fine. Then a 🚀 flies.", "🚀"),
    ("All cats are 猫.", "猫"),
    ("cats猫 are dogs", "猫"),
    ("नमस्ते friends", "नमस्ते"),
    ("مرحبا to all", "مرحبا"),
    ("한국 is far", "한국"),
    ("Пётр is a cat", "Пётр"),
    ("α comes first", "α"),
    ("Nguyễn is a poet", "ễ"),
    ("x\u0304 is a mean", "x\u0304"),
    ("It costs $", "$"),
    ("It costs 5 €", "€"),
    ("₿ 5 it is", "₿"),
    ("5 \u2212 3", "\u2212"),
    ("3 * 4", "3 * 4"),
    ("A ∧ B", "∧"),
    ("∴ all cats are dogs", "∴"),
    ("3 ≤ 4", "≤"),
    ("Cats™ are dogs", "™"),
    ("see [the cats](http://cats.org)", "](http://cats.org)"),
    ("a\x00b", "\\x00"),
    ("a" * 40, "a" * 40),
]


@pytest.mark.parametrize(("text", "part"), LEFT_OUT)
def test_what_would_be_left_out_is_refused_and_named(text, part):
    with pytest.raises(speech.Unreadable, match="write it out in English words") as raised:
        speech.speak(text)
    message = str(raised.value)
    named = message.partition(" (of '")[0]
    assert f"'{part}'" in named
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        "\"Quoted\" — it's (fine)…", "It’s Zoë's naïve café in Łódź.", "It costs $5, £3 or € 7.",
        "50 % of 3.14 & 5°C", "cats → dogs", "½ of x²", "5 µm", "5 < 6", "#1 of C++", "a | b",
        "**bold** and/or `code`", "• an item", "antidisestablishmentarianism", "ＡＬＬ cats",
        "at 7:30 pm on 5th May 2024, 1,234 came", "cut off here\ufffd",
    ],
)  # fmt: skip
def test_what_is_read_is_not_refused(text):
    assert reading.fault(speech._voice(), reading.plain(text)) is None


def test_accents_are_composed_and_invisible_characters_go():
    """Without it the voice reads "caf" and "ca t s"."""
    assert reading.plain("cafe\u0301 ca\u00adts\u200b \ufeffdogs") == "café cats dogs"
    first, _ = speech.speak("café cats")
    second, _ = speech.speak("cafe\u0301 ca\u00adts")
    assert first.tolist() == second.tolist()


def test_plain_sentences_are_read_without_a_second_look():
    """The samples of ordinary English are those of hibari-tts itself."""
    sentence = "Major premise: all poets are robins, 3 of 4."
    audio, _ = speech.speak(sentence, seed=3)
    assert audio.tolist() == speech._voice()(sentence, speed=1.0, seed=3).tolist()
