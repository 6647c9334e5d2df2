"""Sound files of two encoders, whole and damaged: all of a clip is loaded, or the cause is named.

libsndfile and FFmpeg (by soundfile and PyAV) write two seconds of a sweep in the encodings that
recorders, phones, browsers and speech services use; each is decoded and compared with the sweep.
"""

import io
import json
import re
import struct

import av
import numpy as np
import pytest
import soundfile
import soxr
from conftest import good_row
from datasets import Audio, Dataset

from soundmind_lite.alr import layout
from soundmind_lite.audio import SAMPLE_RATE, AudioError, load_audio
from soundmind_lite.data import load_alr

SECONDS = 2.0
TIME = np.arange(int(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
# from 200 to 1000 Hz, swelling and fading: a part that is missing, moved or doubled shows
SWEEP = 0.5 * np.sin(2 * np.pi * (200 + 200 * TIME) * TIME) * np.sin(np.pi * TIME / SECONDS) ** 2


def sweep(rate: int, channels: int) -> np.ndarray:
    """The sweep as (samples, channels)."""
    return np.stack([soxr.resample(SWEEP, SAMPLE_RATE, rate)] * channels, 1)


def by_soundfile(rate: int, channels: int = 1, **how) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sweep(rate, channels), rate, **how)
    return file.getvalue()


def by_ffmpeg(container: str, codec: str, rate: int, channels: int = 1, **options) -> bytes:
    file = io.BytesIO()
    names = ["mono", "stereo"]
    with av.open(file, "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = names[channels - 1]
        samples = np.ascontiguousarray(sweep(rate, channels).T, np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=names[channels - 1])
        frame.sample_rate = rate
        stream.codec_context.open()
        convert = av.AudioResampler(
            format=stream.format,
            layout=stream.layout,
            rate=rate,
            frame_size=stream.codec_context.frame_size or None,
        )
        for piece in [*convert.resample(frame), *convert.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return file.getvalue()


ENCODINGS = {  # name → (how it is made, seconds that the encoder may add)
    "wav 16 bit": (lambda: by_soundfile(16_000, format="WAV"), 0),
    "wav 24 bit": (lambda: by_soundfile(48_000, 2, format="WAVEX", subtype="PCM_24"), 0),
    "wav mu-law": (lambda: by_soundfile(8_000, format="WAV", subtype="ULAW"), 0),
    "wav GSM": (lambda: by_soundfile(8_000, format="WAV", subtype="GSM610"), 0.1),
    "wav big-endian": (lambda: by_soundfile(16_000, format="WAV", endian="BIG"), 0),
    "rf64": (lambda: by_soundfile(16_000, format="RF64"), 0),
    "w64": (lambda: by_soundfile(16_000, format="W64"), 0),
    "aiff": (lambda: by_soundfile(44_100, 2, format="AIFF"), 0),
    "au": (lambda: by_soundfile(16_000, format="AU"), 0),
    "caf": (lambda: by_soundfile(16_000, format="CAF"), 0),
    "caf ALAC": (lambda: by_soundfile(16_000, format="CAF", subtype="ALAC_16"), 0),
    "flac": (lambda: by_soundfile(16_000, format="FLAC"), 0),
    "flac 24 bit": (lambda: by_soundfile(48_000, 2, format="FLAC", subtype="PCM_24"), 0),
    "ogg Vorbis": (lambda: by_soundfile(22_050, 2, format="OGG"), 0),
    "ogg Opus": (lambda: by_soundfile(16_000, format="OGG", subtype="OPUS"), 0),
    "mp3": (lambda: by_soundfile(24_000, format="MP3"), 0),
    "mp3 VBR": (lambda: by_soundfile(44_100, 2, format="MP3", bitrate_mode="VARIABLE"), 0),
    "PyAV wav": (lambda: by_ffmpeg("wav", "pcm_s16le", 8_000), 0),
    "PyAV wav ADPCM": (lambda: by_ffmpeg("wav", "adpcm_ms", 22_050), 0.1),
    "PyAV aiff": (lambda: by_ffmpeg("aiff", "pcm_s16be", 16_000), 0),
    "PyAV flac": (lambda: by_ffmpeg("flac", "flac", 48_000, 2), 0),
    "PyAV ogg Opus": (lambda: by_ffmpeg("ogg", "libopus", 48_000), 0),
    "PyAV mp3": (lambda: by_ffmpeg("mp3", "libmp3lame", 24_000), 0),
    "PyAV mp3 bare": (lambda: by_ffmpeg("mp3", "libmp3lame", 24_000, write_xing="0"), 0.1),
    "PyAV m4a": (lambda: by_ffmpeg("ipod", "aac", 44_100, 2), 0.1),
    "PyAV m4a ALAC": (lambda: by_ffmpeg("ipod", "alac", 44_100), 0),
    "PyAV mp4": (lambda: by_ffmpeg("mp4", "aac", 16_000), 0.2),
    "PyAV mp4 in fragments": (
        lambda: by_ffmpeg("mp4", "aac", 48_000, movflags="frag_keyframe+empty_moov"),
        0.1,
    ),
    "PyAV aac": (lambda: by_ffmpeg("adts", "aac", 24_000), 0.15),
    "PyAV 3gp AMR": (lambda: by_ffmpeg("3gp", "libopencore_amrnb", 8_000), 0.1),
    "PyAV amr": (lambda: by_ffmpeg("amr", "libopencore_amrnb", 8_000), 0.1),
    "PyAV webm": (lambda: by_ffmpeg("webm", "libopus", 48_000), 0),
    "PyAV webm of a browser": (lambda: by_ffmpeg("webm", "libopus", 48_000, 2, live="1"), 0),
}


def made(name: str) -> bytes:
    return ENCODINGS[name][0]()


def correlation(audio: np.ndarray) -> float:
    """Of the clip and the sweep, at the delay at which it is largest."""
    size = len(audio) + len(SWEEP)
    spectrum = np.fft.rfft(audio, size) * np.conj(np.fft.rfft(SWEEP, size))
    return float(np.fft.irfft(spectrum, size).max() / np.linalg.norm(audio) / np.linalg.norm(SWEEP))


@pytest.mark.tried("encodings of two encoders", "all of the clip, and the right sound")
@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_is_decoded_completely(name, tmp_path):
    path = tmp_path / "question.wav"  # the content counts, not the name
    path.write_bytes(made(name))
    audio = load_audio(path, 12.0)
    assert SECONDS - 0.02 <= len(audio) / SAMPLE_RATE <= SECONDS + 0.02 + ENCODINGS[name][1]
    assert correlation(audio) > 0.97
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(np.sqrt(np.mean(SWEEP**2)), rel=0.2)


@pytest.mark.tried("cut encodings", "an error that names the file", each=3)
@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "PyAV amr"])
def test_a_cut_file_is_refused(name, tmp_path):
    """A bare AMR has no header but its frames', so that it can be cut between two of them."""
    content = made(name)
    path = tmp_path / "question.mp3"
    for part in (0.1, 0.5, 0.9):
        path.write_bytes(content[: int(part * len(content)) - 3])
        with pytest.raises(AudioError, match=r"question\.mp3: ") as error:
            load_audio(path, 12.0)
        message = str(error.value)
        assert re.search("cut|damaged|not a readable", message)
        assert "\n" not in message
        for seconds in re.findall(r"([\d.]+) s\b", message):
            assert float(seconds) < 2 * SECONDS


def test_a_cut_file_is_refused_with_both_lengths():
    for name in ("wav 16 bit", "mp3", "flac", "PyAV webm", "au", "aiff"):
        content = made(name)
        clip = {"path": "a.bin", "bytes": content[: len(content) // 2]}
        with pytest.raises(AudioError) as error:
            load_audio(clip)
        promised, held = re.findall(r"([\d.]+) s\b", str(error.value))
        assert float(promised) == pytest.approx(SECONDS, abs=0.12)
        assert 0.3 * SECONDS < float(held) < 0.6 * SECONDS


JOINED = [
    ("mp3", "mp3"),
    ("mp3", "mp3 VBR"),
    ("PyAV mp3 bare", "PyAV mp3 bare"),
    ("ogg Opus", "PyAV ogg Opus"),
    ("ogg Vorbis", "ogg Vorbis"),
    ("flac", "flac"),
    ("wav 16 bit", "wav 24 bit"),
    ("wav 16 bit", "wav mu-law"),
    ("aiff", "aiff"),
    ("PyAV aac", "PyAV aac"),
    ("PyAV webm", "PyAV webm"),
]


@pytest.mark.tried("files joined end to end", "both are loaded")
@pytest.mark.parametrize(("first", "second"), JOINED)
def test_joined_files_are_loaded_to_the_end(first, second):
    audio = load_audio({"path": "joined", "bytes": made(first) + made(second)}, 12.0)
    spare = 0.15 + ENCODINGS[first][1] + ENCODINGS[second][1]
    assert 2 * SECONDS - 0.05 <= len(audio) / SAMPLE_RATE <= 2 * SECONDS + spare
    assert correlation(audio[: len(audio) // 2]) > 0.97
    assert correlation(audio[len(audio) // 2 - 400 :]) > 0.97


def test_many_joined_files_are_loaded():
    content = by_soundfile(8_000, format="WAV", subtype="ULAW")
    audio = load_audio({"path": "joined", "bytes": 1_200 * content})
    assert len(audio) == 1_200 * SECONDS * SAMPLE_RATE


def test_the_boxes_of_a_vendor_are_skipped():
    content = made("PyAV m4a")
    assert content.count(b"\0\0\0\x08free") == 1  # an empty box before the audio
    audio = load_audio({"path": "a", "bytes": content.replace(b"\x08free", b"\x08beam")})
    np.testing.assert_array_equal(audio, load_audio({"path": "a", "bytes": content}))


def test_joined_m4a_files_are_refused():
    with pytest.raises(AudioError, match=r"a\.m4a: 2 recordings joined in one file"):
        load_audio({"path": "a.m4a", "bytes": 2 * made("PyAV m4a")})


@pytest.mark.parametrize("name", ["mp3", "flac", "PyAV m4a", "PyAV webm", "wav 16 bit", "ogg Opus"])
def test_a_limit_is_told_from_the_true_length(name):
    with pytest.raises(AudioError, match=r"a: [12]\.\d s long, the profile's limit is 1\.5 s"):
        load_audio({"path": "a", "bytes": made(name)}, 1.5)


def with_sizes(content: bytes, *, riff: int, data: int) -> bytes:
    """A WAV of libsndfile's, whose header is 44 bytes, with other sizes in it."""
    changed = bytearray(content)
    changed[4:8], changed[40:44] = struct.pack("<I", riff), struct.pack("<I", data)
    return bytes(changed)


@pytest.mark.tried("recordings that were never closed", "all of the clip is loaded")
@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0, 0),
        (36, 0),
        (64_036, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFF024, 0x7FFFF000),
        (0x80000024, 0x80000000),
    ],
)
def test_a_recording_that_was_never_closed_is_loaded(riff, data):
    content = made("wav 16 bit")
    closed = load_audio({"path": "a.wav", "bytes": content})
    unfinished = with_sizes(content, riff=riff, data=data)
    audio = load_audio({"path": "a.wav", "bytes": unfinished}, 12.0)
    np.testing.assert_array_equal(audio, closed)


def test_a_header_that_counts_half_of_the_audio_is_named():
    half = with_sizes(made("wav 16 bit"), riff=36 + 32_000, data=32_000)
    with pytest.raises(AudioError, match=r"a\.wav: its header counts 1\.00 s, and 1\.00 s more"):
        load_audio({"path": "a.wav", "bytes": half})


def test_a_flac_without_a_length_is_loaded():
    content = bytearray(made("flac"))
    whole = load_audio({"path": "a.flac", "bytes": bytes(content)})
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    content[22:26] = bytes(4)
    for limit in (12.0, None):
        audio = load_audio({"path": "a.flac", "bytes": bytes(content)}, limit)
        np.testing.assert_array_equal(audio, whole)
    with pytest.raises(AudioError, match=r"a\.flac: cut: it ends within its audio"):
        load_audio({"path": "a.flac", "bytes": bytes(content[: len(content) // 2])})


ID3 = b"ID3\x04\0\0\0\0\x20\0" + bytes(4096)  # a tag with room for a title
TAG = b"TAG" + b"title".ljust(125, b"\0")


@pytest.mark.tried("files with tags or bytes around the audio", "the clip alone is loaded")
@pytest.mark.parametrize(
    ("name", "before", "behind"),
    [
        *[(name, ID3, b"") for name in ("mp3", "PyAV aac", "flac", "wav 16 bit", "ogg Opus")],
        *[(name, b"", TAG) for name in ("mp3", "PyAV mp3 bare", "PyAV aac", "flac")],
        *[(name, b"", TAG) for name in ("wav 16 bit", "ogg Opus", "PyAV m4a", "PyAV webm")],
        *[(name, b"", b"junk" * 99) for name in ("mp3", "flac", "ogg Vorbis", "wav 16 bit")],
        *[(name, b"", b"junk" * 99) for name in ("PyAV m4a", "PyAV webm", "PyAV aac")],
    ],
)
def test_tags_and_trailing_bytes_are_not_audio(name, before, behind):
    plain = load_audio({"path": "a", "bytes": made(name)})
    audio = load_audio({"path": "a", "bytes": before + made(name) + behind}, 12.0)
    assert len(audio) == pytest.approx(len(plain), abs=0.03 * SAMPLE_RATE)
    np.testing.assert_allclose(audio[:30_000], plain[:30_000], atol=1e-3)


@pytest.mark.tried("files with a hole or an empty end", "an error that names the file", each=2)
@pytest.mark.parametrize(
    "name",
    [
        *("mp3", "flac", "ogg Opus", "ogg Vorbis", "PyAV m4a", "PyAV webm"),
        *("PyAV webm of a browser", "PyAV mp3 bare"),
    ],
)
def test_a_part_that_was_never_downloaded_is_named(name):
    content = made(name)
    third, half = len(content) // 3, len(content) // 2
    hole = content[:third] + bytes(half - third) + content[half:]
    empty_end = content[:third] + bytes(len(content) - third)
    for damaged in (hole, empty_end):
        with pytest.raises(AudioError, match=r"a\.bin: (cut|damaged)"):
            load_audio({"path": "a.bin", "bytes": damaged}, 12.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"Major premise is", "it begins with b'Major premise is'"),
        (b"<!doctype html><title>Sign in</title>" * 50, "it begins with b'<!doctype html><'"),
        (b"#EXTM3U\n#EXTINF:2,\nfile:///{}\n#EXT-X-ENDLIST\n", "it begins with b'#EXTM3U"),
        (b"ffconcat version 1.0\nfile '{}'\n", "it begins with b'ffconcat version"),
    ],
)
def test_what_is_no_sound_says_how_it_begins(tmp_path, content, words):
    """The last two are playlists, which FFmpeg would follow to any file of the machine."""
    clip = tmp_path / "other.wav"
    clip.write_bytes(made("wav 16 bit"))
    path = tmp_path / "question.wav"
    path.write_bytes(content.replace(b"{}", str(clip).encode()))
    with pytest.raises(AudioError) as error:
        load_audio(path)
    assert f"question.wav: not a readable sound file ({words}" in str(error.value)
    assert "M4A, AAC and WebM can be read" in str(error.value)


@pytest.mark.parametrize("name", ["PyAV m4a", "PyAV webm", "mp3", "flac", "wav 16 bit"])
def test_every_form_of_a_clip_is_the_same(name, tmp_path):
    path = tmp_path / "clip.bin"
    path.write_bytes(made(name))
    both = {"path": str(path), "bytes": path.read_bytes()}
    column = Dataset.from_dict({"audio": [str(path)]}).cast_column("audio", Audio(decode=False))
    audio = load_audio(path)
    for clip in (
        str(path),
        both,
        both | {"bytes": None},
        both | {"path": None},
        column[0]["audio"],
    ):
        np.testing.assert_array_equal(load_audio(clip), audio)


@pytest.mark.parametrize("name", ["wav 16 bit", "PyAV m4a"])
def test_a_damaged_clip_is_refused_in_every_form(name, tmp_path):
    path = tmp_path / "clip.bin"
    content = made(name)
    path.write_bytes(content[: len(content) // 2])
    both = {"path": str(path), "bytes": path.read_bytes()}
    for clip in (path, str(path), both, both | {"bytes": None}):
        with pytest.raises(AudioError, match=r"clip\.bin: cut"):
            load_audio(clip)


@pytest.mark.parametrize("factor", [-1.0, -0.9])
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_channels_that_cancel_are_named(factor, container):
    file = io.BytesIO()
    soundfile.write(file, np.stack([SWEEP, factor * SWEEP], 1), SAMPLE_RATE, format=container)
    with pytest.raises(AudioError, match=r"its 2 channels cancel each other.* save one channel"):
        load_audio({"path": "a", "bytes": file.getvalue()})


@pytest.mark.parametrize(
    "gains", [(1, 0), (1, 1), (1, 0.3), (1, -0.3), (0, 0, 1, 0, 0, 0), (1, 1, 1, 1), (0, 0)]
)
def test_channels_that_do_not_cancel_are_averaged(gains):
    file = io.BytesIO()
    samples = np.stack([gain * SWEEP for gain in gains], 1)
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    audio = load_audio({"path": "a", "bytes": file.getvalue()})
    np.testing.assert_allclose(audio, np.mean(gains) * SWEEP, atol=1e-5)


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("suffix", layout.SUFFIXES)
def test_a_clip_of_any_suffix_is_found(suffix, change, tmp_path):
    (tmp_path / "dev" / "1").mkdir(parents=True)
    (tmp_path / "dev.jsonl").write_text(json.dumps(good_row("1")))
    clip = tmp_path / "dev" / "1" / ("question" + change(suffix))
    clip.write_bytes(made("wav 16 bit"))
    answer = clip.with_name("answer_1" + change(suffix))
    answer.write_bytes(made("wav 16 bit"))
    [row] = load_alr(tmp_path, "dev", audio="both")
    assert row["question_audio"].lower() == str(clip).lower()
    assert row["answer_audio"].lower() == str(answer).lower()
    assert len(load_audio(row["question_audio"])) == SECONDS * SAMPLE_RATE


def test_a_clip_of_an_unknown_suffix_is_named(tmp_path):
    (tmp_path / "dev" / "1").mkdir(parents=True)
    (tmp_path / "dev.jsonl").write_text(json.dumps(good_row("1")))
    (tmp_path / "dev" / "1" / "question.voc").write_bytes(b"")
    [row] = load_alr(tmp_path, "dev")
    with pytest.raises(AudioError, match=r"question\.wav: No such file.*but question\.voc is"):
        load_audio(row["question_audio"])
