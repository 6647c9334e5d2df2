"""What the voice would leave out of a sentence, or misread, without an error.

hibari-tts reads English. Emoji, signs that it doesn't know and most other scripts it skips, of some
alphabets it spells a few letters, and it stops in the middle of a very long word.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import takewhile

import regex

# Nobody reads these aloud: formatting, and what a decoder writes for bytes that are no character.
SILENT = "`\ufffd"
# The longest run of letters that its network for unknown words takes in.
LONGEST_WORD = 24
LONG_WORD = re.compile(rf"[^\W\d_]{{{LONGEST_WORD + 1},}}")
# The voice drops the address of a Markdown link, and the asterisk of a product.
LEFT_OUT = re.compile(r"\]\(\S*|\d ?\* ?\d")
CURRENCY = "Sc"  # read with an amount, and nothing by itself


def plain(text: str) -> str:
    """The text with accents composed and without invisible characters, such as soft hyphens."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(c for c in composed if unicodedata.category(c) != "Cf")


def fault(voice, sentence: str) -> str | None:
    """What is wrong with a sentence for the voice, such as "reads nothing in '😀'", or None."""
    left_out = LEFT_OUT.search(sentence)
    if left_out:
        return f"reads nothing in {left_out[0]!r:.60}"
    words = sentence.split()
    for i, word in enumerate(words):
        unread = _unread(voice, words, i)
        if unread:
            return f"reads nothing in {_run(word, unread)!r:.60}"
        foreign = {character for character in word if _is_foreign(character)}
        if foreign:
            return f"can't read {_run(word, foreign)!r:.60}"
    for match in LONG_WORD.finditer(sentence):
        if voice.phonemize(match[0]) == voice.phonemize(match[0][:-2]):
            return f"reads only {LONGEST_WORD} letters of {match[0]!r:.60}"
    return None


def _unread(voice, words: list[str], i: int) -> set[str]:
    """The characters of word `i` that the voice skips."""
    found = {c for c in words[i] if not _is_silent(c) and not _is_read(voice, c)}
    return {c for c in found if not _is_amount(voice, words, i=i, sign=c)}


def _is_silent(character: str) -> bool:
    """True for punctuation, spaces and what else nobody reads aloud."""
    return character in SILENT or unicodedata.category(character)[0] in "PZ"


@lru_cache(maxsize=4096)
def _is_read(voice, character: str) -> bool:
    if character.isascii() and character.isalnum():
        return True
    return bool(voice.phonemize(character))


def _is_amount(voice, words: list[str], *, i: int, sign: str) -> bool:
    """True if the voice says more with a currency sign than without it, as in "$5" and "$ 5"."""
    if unicodedata.category(sign) != CURRENCY:
        return False
    after = words[i + 1 : i + 2]
    with_sign = voice.phonemize(" ".join([words[i], *after]))
    without = voice.phonemize(" ".join([words[i].replace(sign, ""), *after]))
    return with_sign != without


def _is_foreign(character: str) -> bool:
    """True for a letter of another alphabet than the Latin one; the micro sign is read."""
    if character.isascii() or character == "µ" or not character.isalpha():
        return False
    return "LATIN" not in unicodedata.name(character, "")


def _run(word: str, characters: set[str]) -> str:
    """The first part of a word, as its reader sees it, that holds nothing but these characters."""
    graphemes = regex.findall(r"\X", word)
    hit = [not characters.isdisjoint(grapheme) for grapheme in graphemes]
    start = hit.index(True)
    length = len(list(takewhile(bool, hit[start:])))
    return "".join(graphemes[start : start + length])
