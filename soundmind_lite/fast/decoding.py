"""Sound files as arrays, decoded once and remembered, or exactly why not."""

import io
import os
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np

from ..audio import AudioError, check_length, named, resampled
from . import containers
from .remember import DECODED  # decoding is slow: the clips used last stay in memory

CANCELLED = 0.5  # of what one channel alone would leave in the mean of all
# a list, because FFmpeg also opens playlists, which name other files
FFMPEG_FORMATS = (
    *("aac", "aiff", "amr", "asf", "au", "caf", "flac", "matroska", "mov", "mp3"),
    *("mp4", "ogg", "w64", "wav", "webm", "wv"),
)
ENDLESS = 2**63 - 1  # frames: libsndfile knows no length
ESTIMATED = ("aac", "amr", "ogg")  # FFmpeg guesses their length
READABLE = "WAV, FLAC, OGG, Opus, MP3, M4A, AAC and WebM can be read"


def from_file(path: Path, max_seconds: float | None) -> np.ndarray:
    """The clip of a file, decoded once while it stays as it is."""
    state = check_file(path)  # a file that has changed since is decoded again
    key = (str(path.resolve()), state.st_mtime_ns, state.st_size)
    return DECODED.get(key, lambda: decoded(path, str(path), max_seconds)).copy()


def check_file(path: str | Path):
    """The `stat` of a clip's file; AudioError if it isn't a file that can be read."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a file")
        path.open("rb").close()
        return path.stat()
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        why = getattr(error, "strerror", None) or error
        remedy = "was the audio of this row downloaded?"
        others = _of_that_name(path) if isinstance(error, FileNotFoundError) else []
        if others:
            remedy = f"but {others[0]} is there: name that file, or convert it to {path.name}"
        raise AudioError(f"{path}: {why}; {remedy}") from error


def _of_that_name(path: Path) -> list[str]:
    """The files beside a missing one that differ from it in their suffix alone."""
    with suppress(OSError):  # the folder may be missing, too
        names = sorted(os.listdir(path.parent))
        return [name for name in names if Path(name).stem == path.stem and name != path.name]
    return []


def decoded(source: Path | io.BytesIO, name: str, max_seconds: float | None) -> np.ndarray:
    """The clip in a sound file, as `audio.load_audio` returns it; `name` stands in its errors.

    libsndfile reads WAV and OGG, FFmpeg all else; what the first can't read the second tries. All
    of the file is decoded, or an AudioError says what is missing.
    """
    try:
        with _opened(source) as file:
            parts = _parts(file, name, max_seconds)
    except MemoryError as error:
        raise AudioError(f"{name}: too long for this machine's memory; give max_seconds") from error
    with named(name):
        clips = [resampled(mono(part.samples), part.rate) for part in parts]
    return clips[0] if len(clips) == 1 else np.concatenate(clips)


def mono(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels, (samples, channels) → (samples,).

    Raises AudioError if the channels cancel each other, as they do when one of them is inverted.
    """
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]
    audio = samples.mean(axis=1)
    loudest = np.sqrt(np.square(samples, dtype=np.float64).mean(axis=0)).max()
    left = np.sqrt(np.square(audio, dtype=np.float64).mean())
    if left < CANCELLED * loudest / channels:
        what = f"its {channels} channels cancel each other"
        levels = f"rms {loudest:.4f} in the loudest, {left:.4f} in their mean"
        raise AudioError(f"{what} ({levels}); save one channel as a mono file")
    return audio


@dataclass
class _Part:
    """A part of a clip at one sample rate."""

    samples: np.ndarray  # (samples, channels), float32
    rate: int  # Hz


def _opened(source: Path | io.BytesIO):
    return source.open("rb") if isinstance(source, Path) else nullcontext(source)


def _parts(file, name: str, max_seconds: float | None) -> list[_Part]:
    """What a file holds, of all recordings that are joined in it."""
    parts = []
    while True:
        with named(name):
            layout = containers.layout(file)
        file.seek(layout.tag)
        if layout.tag:
            file = io.BytesIO(file.read())
        elif layout.following:
            first = io.BytesIO(file.read(layout.following))
            file = io.BytesIO(file.read())
            parts += _read(first, containers.layout(first), name, max_seconds)
        else:
            return parts + _read(file, layout, name, max_seconds)


def _read(file, layout, name: str, max_seconds: float | None) -> list[_Part]:
    """What a recording holds, by the first of the two decoders that can read it."""
    readers = [_by_ffmpeg, _by_libsndfile]
    if layout.kind != "other" and not layout.unfinished:
        readers.reverse()
    problems = []
    for reader in readers:
        file.seek(0)
        try:
            return reader(file, layout, name, max_seconds)
        except AudioError:
            raise
        except (OSError, EOFError, RuntimeError, TypeError, ValueError) as error:
            problems.append(error)  # both libraries raise all of these
    file.seek(0)
    head = file.read(16)
    why = f"it begins with {head!r}" if head else "it is empty"
    if readers[0] is _by_libsndfile:
        why = str(getattr(problems[0], "error_string", problems[0])).rstrip(".")
    raise AudioError(f"{name}: not a readable sound file ({why}); {READABLE}") from problems[0]


def _by_libsndfile(file, layout, name: str, max_seconds: float | None) -> list[_Part]:
    import soundfile

    source = getattr(file, "name", file)  # by its path: C reads faster than Python does for it
    with soundfile.SoundFile(source) as sound:
        if sound.format == "MP3" or sound.frames == ENDLESS:
            raise ValueError("for FFmpeg")  # libsndfile finds MP3 in AAC, and plays noise
        promised, rate = sound.frames, sound.samplerate
        check_length(name, promised / rate, limit=max_seconds)
        samples = sound.read(dtype="float32", always_2d=True)
    if len(samples) < promised - containers.SLACK * rate:
        with named(name):
            raise containers.cut(promised / rate, len(samples) / rate)
    return [_Part(samples, rate)]


def _by_ffmpeg(file, layout, name: str, max_seconds: float | None) -> list[_Part]:
    import av

    options = {"format_whitelist": ",".join(FFMPEG_FORMATS), "protocol_whitelist": ""}
    with av.open(file, container_options=options, metadata_errors="ignore") as container:
        stream = container.streams.best("audio")
        if stream is None or stream.codec_context is None:
            raise ValueError("no audio that can be decoded")
        packets = list(container.demux(stream))
        seconds = float(sum(_seconds(packet) for packet in packets))
        if max_seconds is not None and seconds > max_seconds + containers.SLACK:
            check_length(name, seconds, limit=max_seconds)
        decoder = _Decoder()
        for packet in packets:
            decoder.add(packet)
        with named(name):
            if not layout.unfinished:
                _check_complete(file, container, stream, decoder)
            return decoder.parts()


def _seconds(packet) -> Fraction:
    return (packet.duration or 0) * packet.time_base if packet.time_base else Fraction(0)


class _Decoder:
    """The audio of FFmpeg's packets, and what couldn't be decoded."""

    def __init__(self):
        self.frames: list[tuple[tuple, np.ndarray]] = []  # ((rate, channels), samples)
        self.packets = 0  # that were decoded
        self.seconds = 0.0  # of these packets
        self.decoded = 0.0  # seconds that came out of them
        self.bytes = 0  # of these packets
        self.lost = 0  # bytes that are neither audio nor a tag
        self.is_cut = False  # the file ends within a packet
        self.last = None  # packet with any bytes
        self.last_failed = False
        self.resamplers = {}

    def add(self, packet) -> None:
        import av

        self.is_cut |= packet.is_corrupt
        if packet.size:
            self.last, self.last_failed = packet, False
        try:
            frames = packet.decode()
        except av.FFmpegError:
            if not bytes(packet).startswith(containers.TAGS):
                self.lost += packet.size
                self.last_failed = True
            return
        self.bytes += packet.size
        self.packets += packet.size > 0
        self.seconds += float(_seconds(packet))
        for frame in frames:
            self.decoded += frame.samples / frame.rate
            key = (frame.rate, frame.layout.nb_channels)
            self.frames += [(key, part) for part in self.as_floats(frame)]

    def as_floats(self, frame) -> list[np.ndarray]:
        """The samples of a frame, (samples, channels) each."""
        import av

        key = (frame.format.name, frame.layout.name, frame.rate)
        if key not in self.resamplers:
            self.resamplers[key] = av.AudioResampler(format="fltp")
        return [part.to_ndarray().T for part in self.resamplers[key].resample(frame)]

    def parts(self) -> list[_Part]:
        """The audio, a part for each run of frames with the same rate and channels."""
        found = []
        for (rate, _), run in groupby(self.frames, key=lambda frame: frame[0]):
            found.append(_Part(np.concatenate([samples for _, samples in run]), rate))
        if not found:
            raise ValueError("no audio in it could be decoded")
        return found


def _check_complete(file, container, stream, decoder: _Decoder) -> None:
    """AudioError if less was decoded than a file promises, or parts of it are no audio."""
    kind, promised = container.format.name, None
    held = max(decoder.seconds, decoder.decoded)
    slack = containers.SLACK
    is_cut = decoder.is_cut
    if kind == "mp3":
        file.seek(0)
        frames = containers.promised_frames(file.read(), decoder.packets)
        if frames is not None and decoder.packets:
            promised = held * frames / decoder.packets
            slack = 1.5 * held / decoder.packets  # some encoders count the frame of the header
        is_cut = containers.is_partial_mp3_frame(bytes(decoder.last or b""))
    elif kind not in ESTIMATED and stream.duration:
        promised = float(stream.duration * stream.time_base)
    elif kind not in ESTIMATED and container.duration and len(container.streams) == 1:
        promised = container.duration / 1e6
    if promised is None and kind != "mp3":  # in an MP3 these may be bytes behind the audio
        is_cut = is_cut or decoder.last_failed
    if stream.codec_context.name.startswith("pcm_"):
        slack = containers.EXACT
    if promised is not None and held < promised - slack:
        raise containers.cut(promised, held)
    if is_cut:
        what = f"cut: it ends within its audio, after {held:.2f} s"
        raise AudioError(f"{what}; {containers.AGAIN}")
    if "matroska" in kind:
        containers.check_matroska(file, is_all=promised is not None)
    if promised is None and decoder.lost * held > containers.SLACK * decoder.bytes:
        what = f"damaged: {decoder.lost:,} bytes of its audio can't be decoded, {held:.2f} s can"
        raise AudioError(f"{what}; {containers.AGAIN}")
