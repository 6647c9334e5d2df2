"""Forty kinds of bad or odd clips. Each is an error that quotes the file, or is read as it should
be; none passes silently."""

import json
import os
import struct
import sys

import numpy as np
import pytest
import soundfile
from conftest import good_row

from soundmind_lite import data
from soundmind_lite.alr.bad_rows import SkippedRows
from soundmind_lite.audio import MAX_AMPLITUDE, SAMPLE_RATE, AudioError, load_audio

SECOND = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32) * 0.5


def wav(path, audio=SECOND, rate=SAMPLE_RATE, **options):
    soundfile.write(path, audio, rate, **options)
    return path


def written(path, content: bytes):
    path.write_bytes(content)
    return path


def cut(path, keep: int):
    return written(path, wav(path).read_bytes()[:keep])


def header(path, **changed):
    """A WAV header written by hand, with fields that lie, before half a second of 16-bit sound."""
    data = (SECOND[:8000] * 32767).astype("<i2").tobytes()
    field = (
        dict(
            riff=b"RIFF",
            wave=b"WAVE",
            format=1,
            channels=1,
            rate=SAMPLE_RATE,
            bits=16,
            size=len(data),
        )
        | changed
    )
    block = max(1, field["channels"] * field["bits"] // 8)
    form = struct.pack(
        "<HHIIHH",
        field["format"],
        field["channels"],
        field["rate"],
        (field["rate"] * block) & 0xFFFFFFFF,
        block,
        field["bits"],
    )
    return written(
        path,
        field["riff"]
        + struct.pack("<I", 36 + len(data))
        + field["wave"]
        + b"fmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", field["size"])
        + data,
    )


def linked(path, target):
    path.symlink_to(target)
    return path


def folder(path):
    path.mkdir()
    return path


def pipe(path):
    os.mkfifo(path)
    return path


def raw_floats(path, audio):
    return wav(path, np.asarray(audio, np.float32), subtype="FLOAT")


REFUSED = {
    "missing": lambda p: p,
    "a directory": folder,
    "a FIFO": pipe,
    "a link to nothing": lambda p: linked(p, p.with_name("gone.wav")),
    "a link to itself": lambda p: linked(p, p),
    "empty": lambda p: written(p, b""),
    "one byte": lambda p: written(p, b"R"),
    "text": lambda p: written(p, b"Major premise is"),
    "HTML of a login page": lambda p: written(p, b"<!doctype html><title>Sign in</title>" * 50),
    "a git-lfs pointer": lambda p: written(
        p, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 42\n"
    ),
    "a ZIP": lambda p: written(p, b"PK\x03\x04" + bytes(200)),
    "a PNG": lambda p: written(p, b"\x89PNG\r\n\x1a\n" + bytes(200)),
    "zeros, no header": lambda p: written(p, bytes(32_000)),
    "random bytes": lambda p: written(p, np.random.default_rng(0).bytes(32_000)),
    "header cut in the middle": lambda p: cut(p, 20),
    "header alone": lambda p: cut(p, 44),
    "cut after 10 ms": lambda p: cut(p, 44 + 320),
    "cut in half": lambda p: cut(p, 44 + SAMPLE_RATE),
    "cut at 99 %": lambda p: cut(p, 44 + int(0.99 * 2 * SAMPLE_RATE)),
    "one channel inverted": lambda p: wav(p, np.stack([SECOND, -SECOND], 1)),
    "zero frames": lambda p: wav(p, SECOND[:0]),
    "one sample": lambda p: wav(p, SECOND[:1]),
    "40 ms": lambda p: wav(p, SECOND[:640]),
    "rate 0": lambda p: header(p, rate=0),
    "no channels": lambda p: header(p, channels=0),
    "unknown format": lambda p: header(p, format=0x7777),
    "no RIFF": lambda p: header(p, riff=b"JUNK"),
    "no WAVE": lambda p: header(p, wave=b"JUNK"),
    "NaN": lambda p: raw_floats(p, np.where(np.arange(SAMPLE_RATE) == 5000, np.nan, SECOND)),
    "all NaN": lambda p: raw_floats(p, np.full(8000, np.nan)),
    "infinite": lambda p: raw_floats(p, np.where(np.arange(SAMPLE_RATE) == 5000, np.inf, SECOND)),
    "minus infinite": lambda p: raw_floats(
        p, np.where(np.arange(SAMPLE_RATE) == 5000, -np.inf, SECOND)
    ),
    "integers saved as floats": lambda p: raw_floats(p, SECOND * 32767),
    "1e30": lambda p: raw_floats(p, SECOND * 1e30),
    "13 s where 12 are allowed": lambda p: wav(p, np.tile(SECOND, 13)),
    "three hours": lambda p: wav(p, np.zeros(3 * 3600 * 1000, np.int16), 1000),
    "a rate that makes it too short": lambda p: header(p, rate=2_000_000_000),
    "a name that is too long": lambda p: p.with_name("x" * 300 + "question.wav"),
    "NaN in one of two channels": lambda p: raw_floats(
        p, np.stack([SECOND, np.full_like(SECOND, np.nan)], 1)
    ),
}
READ = {  # what it is read as: seconds, and the largest sample
    "plain": (lambda p: wav(p), 1, 0.5),
    "8 bits": (lambda p: wav(p, subtype="PCM_U8"), 1, 0.5),
    "24 bits": (lambda p: wav(p, subtype="PCM_24"), 1, 0.5),
    "64-bit floats": (lambda p: wav(p, subtype="DOUBLE"), 1, 0.5),
    "mu-law": (lambda p: wav(p, subtype="ULAW"), 1, 0.5),
    "stereo": (lambda p: wav(p, np.stack([SECOND, SECOND], 1)), 1, 0.5),
    "one silent channel": (lambda p: wav(p, np.stack([SECOND, 0 * SECOND], 1)), 1, 0.25),
    "six channels": (lambda p: wav(p, np.stack([SECOND] * 6, 1)), 1, 0.5),
    "8 kHz": (lambda p: wav(p, SECOND[::2], 8000), 1, 0.5),
    "96 kHz": (lambda p: wav(p, np.repeat(SECOND, 6), 96_000), 1, 0.5),
    "silence": (lambda p: wav(p, 0 * SECOND), 1, 0.0),
    "a constant": (lambda p: wav(p, 0 * SECOND + 0.3), 1, 0.3),
    "clipped": (lambda p: raw_floats(p, SECOND * 3), 1, 1.5),
    "a header that promises too much": (lambda p: header(p, size=2**31 - 1), 0.5, 0.5),
    "bytes behind the end": (lambda p: written(p, wav(p).read_bytes() + b"junk" * 9), 1, 0.5),
    "FLAC called WAV": (lambda p: wav(p, format="FLAC"), 1, 0.5),
    "OGG called WAV": (lambda p: wav(p, format="OGG"), 1, 0.5),
    "a link to a clip": (lambda p: linked(p, wav(p.with_name("other.wav"))), 1, 0.5),
}


@pytest.mark.tried("kinds of clips that can't be used", "an error that names the file")
@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_its_name(kind, tmp_path):
    if kind == "a FIFO" and sys.platform == "win32":
        pytest.skip("Windows has no FIFO in folders")
    path = REFUSED[kind](tmp_path / "question.wav")
    with pytest.raises(AudioError, match=r"question\.wav"):
        load_audio(path, 12.0)


@pytest.mark.tried("kinds of odd clips that can be used", "heard right: length and loudness")
@pytest.mark.parametrize("kind", READ)
def test_read_as_it_should_be(kind, tmp_path):
    make, seconds, peak = READ[kind]
    audio = load_audio(make(tmp_path / "question.wav"), 12.0)
    assert audio.dtype == np.float32
    assert len(audio) == pytest.approx(seconds * SAMPLE_RATE, rel=0.01)
    assert np.abs(audio).max() == pytest.approx(peak, abs=0.06)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() < MAX_AMPLITUDE


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "No such file"),
        ("a directory", "not a file"),
        ("a link to itself", "symbolic link"),
    ],
)
def test_what_is_no_file_is_told_apart(kind, words, tmp_path):
    with pytest.raises(AudioError, match=words):
        load_audio(REFUSED[kind](tmp_path / "question.wav"))


def test_there_are_forty_kinds():
    assert len(REFUSED) + len(READ) >= 40


@pytest.mark.tried("clips without permission to read them", "an error that names the file", each=2)
def test_no_permission(open_folder, nobody):
    closed, clip = folder(open_folder / "closed"), wav(open_folder / "question.wav")
    wav(closed / "question.wav")
    closed.chmod(0)
    clip.chmod(0)
    for path in (clip, closed / "question.wav"):
        with nobody(), pytest.raises(AudioError, match=r"question\.wav: Permission denied"):
            load_audio(path)
    closed.chmod(0o700)


@pytest.fixture
def all_kinds(tmp_path):
    """A split whose rows have a clip of each refused kind, between two that are good; and the names
    of the bad ones."""
    names = {
        f"{i:02}": kind
        for i, kind in enumerate(REFUSED, 1)
        if kind != "a name that is too long" and (kind != "a FIFO" or sys.platform != "win32")
    }
    for name in ("00", *names, "99"):
        (tmp_path / "dev" / name).mkdir(parents=True)
        REFUSED.get(names.get(name), wav)(tmp_path / "dev" / name / "question.wav")
    lines = [json.dumps(good_row(name)) for name in ("00", *names, "99")]
    (tmp_path / "dev.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path, [f"dev/{name}" for name in names]


@pytest.mark.tried(
    "data sets with all kinds of bad clips, at once and streamed",
    "stopped at the first, by its row; or all left out and listed",
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_set_with_all_of_them(all_kinds, streaming):
    """`on_bad_row="skip"` leaves the good ones and lists the others; "raise" stops at the first."""
    root, bad = all_kinds
    options = dict(streaming=streaming, max_seconds=12)
    with pytest.warns(SkippedRows) as told:
        kept = list(data.load_alr(root, "dev", on_bad_row="skip", **options))
    assert [row["id"] for row in kept] == ["00", "99"]
    assert sorted(name for warning in told for name, _ in warning.message.rows) == bad
    with pytest.raises(AudioError, match=r"row dev/01: .*No such file"):
        list(data.load_alr(root, "dev", streaming=streaming, max_seconds=12))


@pytest.mark.tried("clips that change after they were read", "read again")
def test_a_clip_that_is_written_to_is_another_clip(tmp_path):
    path = wav(tmp_path / "question.wav")
    before = load_audio(path)
    wav(path, SECOND[::-1])
    os.utime(path, ns=(0, 0))
    assert not np.array_equal(load_audio(path), before)
