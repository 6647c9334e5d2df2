"""What a sound file's own structure says: is all of it there, and is it one recording?

Decoders stop at the end of a file without an error, so each check here compares the lengths that
are written in a file with the bytes that it has.
"""

import re
import string
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from ..audio import AudioError

SLACK = 0.1  # seconds; encoders pad, and decoders drop, up to two frames
EXACT = 0.001  # seconds; the same for formats without frames
UNKNOWN_SIZE = 0x7F000000  # bytes; recorders write such sizes before they know the right one
TAGS = (b"ID3", b"TAG", b"APETAGEX")  # of title and artist, before or after the audio
AGAIN = "fetch or export it again"
CHUNK_NAME = frozenset((string.ascii_letters + string.digits + " ").encode())
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the bits of a byte
MP3_RATES = (44_100, 48_000, 32_000)  # Hz; MPEG 2 halves them, MPEG 2.5 halves them again
MP3_KBPS = {  # of a frame, by MPEG's version and the layer; the first index stands for another rate
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MP4_NAMES = (
    b"ftyp moov mdat moof mfra free skip wide uuid sidx styp meta udta emsg pdin prft ssix"
).split()
# the names of Matroska's elements, in hexadecimal
MATROSKA = "1a45dfa3 114d9b74 1549a966 1654ae6b 1c53bb6b 1941a469 1043a770 1254c367 ec bf"
MATROSKA_CLUSTER = "e7 a3 a0 ab a7 af 5854"  # the elements in one
MATROSKA_PARENTS = (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75")  # a segment, a cluster in it
MATROSKA_NAMES = {*map(bytes.fromhex, f"{MATROSKA} {MATROSKA_CLUSTER}".split()), *MATROSKA_PARENTS}
# in the first frame of an MP3: how many frames follow; joined files have several such headers
FRAME_COUNT = re.compile(
    rb"(?:Xing|Info)\0\0\0[\1\3\5\7\x09\x0b\r\x0f](.{4})|VBRI.{10}(.{4})", re.S
)


@dataclass
class Layout:
    """How to read a file."""

    kind: str = "other"  # or "wav", "ogg", "caf", which libsndfile reads best
    unfinished: bool = False  # the recorder never wrote the length
    tag: int = 0  # bytes at the front that not all decoders skip
    following: int | None = None  # byte at which another recording begins, joined to the first


def layout(file: BinaryIO) -> Layout:
    """The layout of a file; AudioError if it is cut or damaged, or has more audio than it says."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:3] == b"ID3":  # a tag, which not all decoders skip before a WAV
        at = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
        file.seek(at)
        if file.read(4) in (b"RIFF", b"OggS"):
            return Layout(tag=at)
    if head[:4] == b"FORM":
        at = 8 + int.from_bytes(head[4:8])
        file.seek(at)
        if file.read(4) == b"FORM":
            return Layout(following=at)
    if head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE":
        return _wav(file, size, order="<" if head[:4] == b"RIFF" else ">")
    if head[:4] == b"OggS":
        return _ogg(file, size)
    if head[4:8] == b"ftyp":
        _check_mp4(file, size)
    return Layout("caf" if head[:4] == b"caff" else "other")


def cut(promised: float, held: float) -> AudioError:
    """The error for a file that has fewer seconds than it says."""
    return AudioError(
        f"cut or damaged: its header promises {promised:.2f} s and {held:.2f} s are there; {AGAIN}"
    )


def promised_frames(content: bytes, decoded: int) -> int | None:
    """The MP3 frames that the headers in a file count, None without such a header.

    In joined files each header counts the frames of its part, but some tools let the first count
    all: so it is believed if that many were `decoded`.
    """
    counts = [int.from_bytes(match[1] or match[2]) for match in FRAME_COUNT.finditer(content)]
    if not counts or abs(counts[0] - decoded) <= len(counts):
        return counts[0] if counts else None
    return sum(counts)


def is_partial_mp3_frame(frame: bytes) -> bool:
    """Whether a frame of MP3 (or MP2) has fewer bytes than its own header says."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] < 0xE0:
        return False
    halvings = {3: 0, 2: 1, 0: 2}.get(frame[1] >> 3 & 3)  # of the rate
    layer = 4 - (frame[1] >> 1 & 3)
    rate, bits = frame[2] >> 2 & 3, frame[2] >> 4
    if halvings is None or layer not in (2, 3) or rate == 3 or bits in (0, 15):
        return False
    version = 1 if halvings == 0 else 2
    samples = 576 if (version, layer) == (2, 3) else 1152
    rate = MP3_RATES[rate] >> halvings
    return len(frame) < samples // 8 * MP3_KBPS[version, layer][bits] * 1000 // rate


def check_matroska(file: BinaryIO, *, is_all: bool) -> None:
    """AudioError if a Matroska or WebM file ends within an element.

    Browsers record without a length, and then the elements are all there is to go by: unless
    `is_all`, they must reach to the end of the file.
    """
    size = file.seek(0, 2)
    at = 0
    while at < size:
        file.seek(at)
        header = file.read(12)
        width = 9 - header[0].bit_length()  # bytes of the name, counted by its leading zeros
        name, rest = header[:width], header[width:]
        if name not in MATROSKA_NAMES or not rest or not rest[0]:
            break  # no element begins here
        digits = 9 - rest[0].bit_length()
        length = int.from_bytes(rest[:digits]) & ((1 << 7 * digits) - 1)
        at += width + digits
        if name not in MATROSKA_PARENTS:
            at += length
    if at > size:
        raise AudioError(f"cut: {size:,} of at least {at:,} bytes are there; {AGAIN}")
    if at < size and not is_all:
        raise AudioError(f"damaged: no audio follows after {at:,} of {size:,} bytes; {AGAIN}")


def _wav(file: BinaryIO, size: int, *, order: str) -> Layout:
    at, rate = 12, 0  # bytes a second
    while True:
        name, length = _chunk(file, at, order)
        if name is None:
            return Layout("wav")  # no audio: the decoder says what is wrong
        at += 8
        if name == b"fmt ":
            rate = struct.unpack(f"{order}I", file.read(16)[8:12].ljust(4, b"\0"))[0]
        if name == b"data":
            break
        at += length + length % 2
    held = size - at
    if length == 0 and held and not _is_chunk(*_chunk(file, at, order), room=held):
        return Layout("wav", unfinished=True)
    if length >= held:
        if length < UNKNOWN_SIZE and length - held > EXACT * rate:
            if rate:
                raise cut(length / rate, held / rate)
            raise AudioError(f"cut: {held:,} of {length:,} bytes of audio are there; {AGAIN}")
        return Layout("wav")
    counted = length / max(rate, 1)  # seconds
    at += length + length % 2  # what follows the audio
    while at < size:
        name, length = _chunk(file, at, order)
        if name in (b"RIFF", b"RIFX"):
            return Layout("wav", following=at)
        if not _is_chunk(name, length, room=size - at) or name == b"data":
            break
        at += 8 + length + length % 2
    file.seek(min(at, size))
    rest = file.read()
    if len(rest) > SLACK * rate > 0 and rest.strip(b"\0") and not rest.startswith(TAGS):
        what = f"its header counts {counted:.2f} s, and {len(rest) / rate:.2f} s more follow"
        raise AudioError(f"{what}; {AGAIN}")
    return Layout("wav")


def _chunk(file: BinaryIO, at: int, order: str) -> tuple[bytes | None, int]:
    """Name and length of the chunk at a byte of a WAV, None at the end of the file."""
    file.seek(at)
    header = file.read(8)
    if len(header) < 8:
        return None, 0
    return struct.unpack(f"{order}4sI", header)


def _is_chunk(name: bytes | None, length: int, *, room: int) -> bool:
    return name is not None and CHUNK_NAME.issuperset(name) and 8 + length <= room


def _ogg(file: BinaryIO, size: int) -> Layout:
    at, last, ended = 0, {}, False
    is_first = True  # pages that begin a stream stand at the front
    streams = 0
    while at < size:
        file.seek(at)
        header = file.read(27)
        if header[:4] != b"OggS":
            break
        lengths = file.read(header[26]) if len(header) == 27 else b""
        body = file.read(sum(lengths))
        if len(header) < 27 or len(lengths) < header[26] or len(body) < sum(lengths):
            raise AudioError(f"cut: it ends within a page, after {at:,} bytes; {AGAIN}")
        begins, ended = bool(header[5] & 2), bool(header[5] & 4)
        if begins and not is_first:
            return Layout(following=at)
        is_first, streams = begins, streams + begins
        stream, number, checksum = struct.unpack("<III", header[14:26])
        if _ogg_checksum(header[:22] + bytes(4) + header[26:] + lengths + body) != checksum:
            raise AudioError(f"damaged: the checksum of its page at byte {at:,} is wrong; {AGAIN}")
        if number > last.get(stream, number) + 1:
            raise AudioError(f"damaged: pages are missing before byte {at:,}; {AGAIN}")
        last[stream] = number
        at += len(header) + len(lengths) + len(body)
    if at < size and not ended:
        raise AudioError(f"damaged: no audio follows after {at:,} of {size:,} bytes; {AGAIN}")
    return Layout("ogg" if streams == 1 else "other")


def _ogg_checksum(page: bytes) -> int:
    """The CRC-32 of Ogg: zlib's with the bits of bytes and result in reverse, and no inversion."""
    reverse = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reverse:032b}"[::-1], 2)


def _check_mp4(file: BinaryIO, size: int) -> None:
    at, names = 0, []
    while at + 8 <= size:
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8))
        if length == 0:
            length = size - at
        if length < 8 or (name not in MP4_NAMES and at + length > size):
            break  # bytes behind the file
        if at + length > size:
            what = f"cut: {size:,} of at least {at + length:,} bytes are there"
            raise AudioError(f"{what}; {AGAIN}")
        names.append(name)
        at += length
    if b"moov" not in names:
        raise AudioError(f"cut, or never finished by its recorder: it has no index (moov); {AGAIN}")
    if names.count(b"ftyp") > 1:
        what = f"{names.count(b'ftyp')} recordings joined in one file, of which players play one"
        raise AudioError(f"{what}; convert each of them")
