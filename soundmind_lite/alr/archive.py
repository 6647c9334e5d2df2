"""A local zip as a source: annotations are read inside it, clips are extracted to a cache."""

import hashlib
import os
import re
import shutil
import zipfile
from contextlib import contextmanager
from functools import lru_cache
from lzma import LZMAError
from pathlib import Path
from zlib import error as ZlibError

from .sources import UNWRITABLE, WRITABLE, Folder, SourceError, cache_folder, reported

ANNOTATIONS = re.compile(r"(.*/)?(train|dev|test)(\.jsonl|/metadata\.jsonl)", re.IGNORECASE)


class DamagedError(SourceError):
    """A file that is damaged inside its archive."""


class Zip(Folder):
    """A local zip. Annotations are read inside it; clips are extracted to a cache folder."""

    fetched_at_once = 1  # a zip is one open file

    def __init__(self, name: str):
        path = Path(name)
        if path.suffix.lower() != ".zip":
            raise ValueError(f"{name} is a file, but no zip; give a folder, a zip or a hub id")
        state = path.stat()  # another archive at the same path is another source
        self.key = f"{path.resolve()} {state.st_mtime_ns} {state.st_size}"
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:8]
        folder = re.sub(r"\W+", "-", self.key)[-60:] + "-" + digest
        super().__init__(name, cache_folder("~/.cache/soundmind_lite") / folder)
        try:
            _opened(name, self.key)
        except zipfile.BadZipFile as error:
            raise SourceError(f"{name}: not a complete zip ({error}); fetch it again") from error

    def read(self, name: str) -> bytes | None:
        archive, members = _opened(self.name, self.key)
        if name not in members:
            return None
        with self.reading(name):
            return archive.read(members[name])

    def sizes(self, names) -> dict[str, int]:
        members = _opened(self.name, self.key)[1]
        return {name: members[name].file_size for name in names if name in members}

    def missing(self, paths: list[str]) -> list[str]:
        names = [Path(path).relative_to(self.root).as_posix() for path in paths]
        extracted = super().sizes(names)
        return [name for name, size in self.sizes(names).items() if extracted.get(name) != size]

    def fetch_one(self, name: str) -> str | None:
        archive, members = _opened(self.name, self.key)
        path = self.root / name
        part = path.with_name(f"{path.name}.{os.getpid()}.part")  # processes may extract the same
        with reported(str(self.root), WRITABLE):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.reading(name):
                with archive.open(members[name]) as content, part.open("wb") as file:
                    shutil.copyfileobj(content, file)
                part.replace(path)
        except DamagedError as error:
            return str(error)
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def reading(self, name: str):
        """A context that names the member in its errors."""
        damage = (zipfile.BadZipFile, ZlibError, LZMAError, EOFError, RuntimeError, OSError)
        try:
            yield
        except damage as error:
            number = getattr(error, "errno", None)
            if number is not None:  # the system's; bz2's has no number
                remedy = WRITABLE if number in UNWRITABLE else "what is here already stays"
                raise SourceError(f"{self.name}/{name}: {error}; {remedy}") from error
            remedy = "fetch the archive again"
            if isinstance(error, NotImplementedError) or "encrypted" in str(error):
                remedy = "make the archive again, as a plain zip without a password"
            what = f"can't be read from the archive ({error}); {remedy}"
            raise DamagedError(f"{self.name}/{name}: {what}") from error


@lru_cache(4)
def _opened(path: str, key: str) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """A zip, and its members by their names below the folder that holds the annotations.

    Archives often have folders around everything, and a Mac's have notes in `__MACOSX`. Those of
    older Windows tools have backslashes; on Windows DEV.JSONL and Question.WAV are the files that
    we look for, so the first and the last part of a name are known in small letters, too. The id
    between them stays as it is.
    """
    archive = zipfile.ZipFile(path)
    members = {info.filename.replace("\\", "/"): info for info in archive.infolist()}
    members = {name: info for name, info in members.items() if not name.startswith("__MACOSX/")}
    tops = {found[1] or "" for found in map(ANNOTATIONS.fullmatch, members) if found}
    if not tops:
        what = "the zip holds no train.jsonl, dev.jsonl, test.jsonl or metadata.jsonl"
        raise SourceError(f"{path}: {what}")
    highest = min(top.count("/") for top in tops)
    tops = sorted(top for top in tops if top.count("/") == highest)
    if len(tops) > 1:
        what = f"the zip holds annotations in several folders, {', '.join(tops)}"
        raise SourceError(f"{path}: {what}; make a zip of one data set")
    below = {n[len(tops[0]) :]: info for n, info in members.items() if n.startswith(tops[0])}
    small = {_in_small_letters(name): info for name, info in below.items()}
    return archive, small | below


def _in_small_letters(name: str) -> str:
    """The name with its first and last part, split and file, in small letters."""
    first, *middle = name.split("/")
    last = [middle.pop().lower()] if middle else []
    return "/".join([first.lower(), *middle, *last])
