"""Where ALR's files lie: a folder, the published zip, or the hub. Annotations are read at once, a clip is fetched only when it is wanted.

Everything that isn't a local folder goes through fsspec, so a zip, the hub and any other store take the same way. Clips are fetched file by file into
a cache; a fetch that was stopped goes on with the files that are missing.
"""
import contextlib
import hashlib
import lzma
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NoReturn

import fsspec

from ..audio import AudioError

CACHE = Path(os.environ.get("SOUNDMIND_CACHE", Path.home() / ".cache" / "soundmind_lite"))
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SAFE_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
# of a URL: user and password, and the query, up to a chained URL; both often hold a key
USER, QUERY = re.compile(r"(?<=://)[^/\s?'\"]*@"), re.compile(r"(://(?:(?!::[\w+]+://)[^\s?'\"])*)(\?(?:(?!::[\w+]+://)[^\s'\"])*)")
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)  # what an archive gives that was cut, spoiled or locked
KEEP_FREE_GB = 1.0  # what must stay free on the disk
FETCHES = 8  # files that are fetched side by side


class SourceError(OSError):
    """Files of a data set that aren't there, or don't fit on the disk."""


@dataclass(frozen=True)
class Source:
    """A data set's files: a file system, the folder in it, and where fetched clips are kept (None if the files are local)."""

    fs: fsspec.AbstractFileSystem
    root: str = field(repr=False)
    cache: Path | None
    name: str
    hidden: tuple[str, ...] = field(default=(), repr=False)  # what an URL holds for its host alone

    def path(self, *parts: str) -> str:
        return "/".join((self.root.rstrip("/"), *parts)).lstrip("/" if self.cache else "")

    def read(self, *parts: str) -> bytes | None:
        """The bytes of a file, or None if it isn't there; SourceError if the place can't be reached."""
        if self.cache is None and (place := Path(self.path(*parts))).exists() and not place.is_file():
            raise SourceError(f"{place}: not a file")
        try:
            return self.fs.cat_file(self.path(*parts))
        except (FileNotFoundError, KeyError, IsADirectoryError):
            return None
        except PermissionError as error:
            raise SourceError(f"{self.shown(*parts)}: {error.strerror or error}") from (None if self.hidden else error)
        except DAMAGED as error:
            raise SourceError(f"{self.shown(*parts)}: can't be read from the archive ({error}); fetch the archive again") from error
        except Exception as error:
            fail(self.name, error, self.hidden, "; is it a folder that isn't there, or a hub id without a network?")

    def shown(self, *parts: str) -> str:
        """A name of the file for a person."""
        return "/".join((self.name, *parts))


def open_source(source: str | Path) -> Source:
    """The source of a folder, of a zip file, of a hub id ("owner/name") or of any fsspec URL; ValueError if it is none of these."""
    text = str(source)
    if not text.strip():
        raise ValueError("the source is empty; give 'mini', a folder, a zip or a hub id (owner/name)")
    if "://" not in text and Path(text).is_dir():
        return Source(fsspec.filesystem("file"), text, None, text)
    if "://" not in text and Path(text).is_file():
        if Path(text).suffix.lower() != ".zip":
            raise ValueError(f"{text} is a file, but no zip; give a folder, a zip or a hub id")
        try:
            fs = fsspec.filesystem("zip", fo=text)
        except zipfile.BadZipFile as error:
            raise SourceError(f"{text}: not a whole zip ({error}); fetch it again") from error
        state = Path(text).stat()  # another archive in the same place is another source
        return Source(fs, _root_in(fs), _cache_of(f"{Path(text).resolve()} {state.st_mtime_ns} {state.st_size}"), text)
    if "://" in text:
        hidden = secrets_of(text)
        try:
            fs, root = fsspec.core.url_to_fs(text)
        except Exception as error:
            fail(without_secrets(text), error, hidden)
        return Source(fs, root, _cache_of(text), without_secrets(text), hidden)
    if HUB_ID.fullmatch(text):
        fs, root = fsspec.core.url_to_fs(f"hf://datasets/{text}")
        return Source(fs, root, _cache_of(text), text)
    raise ValueError(f"{text!r} is neither 'mini' nor a folder, a zip or a hub id (owner/name)")


def without_secrets(text: str, hidden: tuple[str, ...] = ()) -> str:
    """A text whose URLs have lost user, password and query, which often hold a key; and without the parts that are `hidden`, wherever they stand.

    >>> without_secrets("GET https://<user>:<password>@host/alr.zip?token=abc failed")
    'GET https://host/alr.zip failed'
    """
    for part in hidden:
        text = text.replace(part, "")
    return QUERY.sub(r"\1", USER.sub("", text))


def secrets_of(url: str) -> tuple[str, ...]:
    """The parts of a URL that are for its host alone, the long ones first."""
    users, queries = USER.findall(url), [query for _, query in QUERY.findall(url)]
    values = [value for part in (*users, *queries) for value in re.split(r"[:?&=@]", part) if len(value) > 5]
    return tuple(sorted({*users, *queries, *values} - {"?", ""}, key=len, reverse=True))


def fail(name: str, error: Exception, hidden: tuple[str, ...], remedy: str = "") -> NoReturn:
    """Raises an error of a file system as SourceError: short and without secrets, which a trace of its cause would tell as well."""
    raise SourceError(f"{name}: {type(error).__name__}: {without_secrets(str(error), hidden):.200}{remedy}") from (None if hidden else error)


def _cache_of(name: str) -> Path:
    return CACHE / (re.sub(r"\W+", "-", without_secrets(name))[-60:] + "-" + hashlib.sha256(name.encode()).hexdigest()[:8])


def _root_in(fs) -> str:
    """The folder inside a zip that holds the splits: archives often have one folder around everything."""
    for name in sorted(fs.find("")):
        path = PurePosixPath(name)
        if path.name in ("train.jsonl", "dev.jsonl", "test.jsonl"):
            return str(path.parent).removeprefix(".")
        if path.name == "metadata.jsonl" and path.parent.name in ("train", "dev", "test"):
            return str(path.parent.parent).removeprefix(".")
    raise SourceError("the zip holds no train.jsonl, dev.jsonl, test.jsonl or metadata.jsonl")


def safe_relative(path: str) -> bool:
    """True for a relative path whose every part is a plain name: nothing that could leave the folder."""
    return bool(path) and all(SAFE_PART.fullmatch(part) for part in path.split("/"))


@cache
def sizes(source: Source, split: str) -> dict[str, int]:
    """Bytes of each file of a split, by its path below the source's root. One listing, kept. SourceError if the place can't be reached."""
    start = len(source.path("")) if source.root else 0
    try:
        found = source.fs.find(source.path(split), detail=True)
    except Exception as error:
        fail(source.name, error, source.hidden)
    return {name[start:].lstrip("/"): info["size"] for name, info in found.items()}


def local_path(source: Source, name: str) -> Path:
    """Where a file lies, or will lie once it was fetched."""
    return Path(source.root) / name if source.cache is None else source.cache / name


def fetch(source: Source, name: str) -> Path:
    """Brings one file here and returns its path; a file that is here already with its full size stays. Never leaves half a file.

    AudioError if it is damaged in an archive, SourceError if the place can't be reached or the disk is full.
    """
    target = local_path(source, name)
    if source.cache is None:
        return target
    size = sizes(source, name.split("/")[0]).get(name)
    if size is None:
        return target  # what is missing is told when it is heard or audited
    if not (target.is_file() and target.stat().st_size == size):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")  # processes may fetch the same file
        try:
            source.fs.get_file(source.path(name), str(part))
            os.replace(part, target)
        except Exception as error:
            if isinstance(error, DAMAGED) or ("zip" in source.fs.protocol and getattr(error, "errno", 0) is None):  # an OSError without a number is bz2's
                raise AudioError(f"{source.shown(name)}: can't be read from the archive ({error}); fetch the archive again") from error
            fail(source.shown(name), error, source.hidden, "; what is here already stays")
        finally:
            part.unlink(missing_ok=True)
    return target


def missing(source: Source, split: str, names: Iterable[str]) -> tuple[list[str], int]:
    """Files that were not fetched yet, and their bytes."""
    if source.cache is None:
        return [], 0
    there = sizes(source, split)
    todo = [n for n in names if n in there and not ((p := local_path(source, n)).is_file() and p.stat().st_size == there[n])]
    return todo, sum(there[n] for n in todo)


def fetch_all(source: Source, split: str, names: list[str]) -> None:
    """Fetches what is missing, with a progress bar; SourceError before the first byte if the disk can't hold it.

    What is damaged in an archive is left out here, and told by `fetch` when its row is reached.
    """
    from tqdm.auto import tqdm

    def fetch_whole(name):
        with contextlib.suppress(AudioError):
            fetch(source, name)

    todo, size = missing(source, split, names)
    if not todo:
        return
    try:
        source.cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"{source.cache}: {error.strerror}; set SOUNDMIND_CACHE to a folder that can be written") from error
    free = shutil.disk_usage(source.cache).free
    if size + KEEP_FREE_GB * 1e9 > free:
        raise SourceError(
            f"{source.name}, {split}: {size / 1e9:.1f} GB in {len(todo)} files are still to be fetched and {source.cache} has {free / 1e9:.1f} GB free; "
            "use streaming=True, free some space, or set SOUNDMIND_CACHE to another disk"
        )
    workers = 1 if "zip" in source.fs.protocol else FETCHES  # a zip is one open file
    with ThreadPoolExecutor(workers) as pool:
        fetching = pool.map(fetch_whole, todo)
        for _ in tqdm(fetching, total=len(todo), desc=f"{source.name} {split}, {size / 1e9:.2f} GB", unit="file"):
            pass
